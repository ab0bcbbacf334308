//! Benchmarks: figures beside yardsticks from the same machine in the same minute, since absolute ones mean little.
//!
//! In: a database that may be filled, and what to measure with. Out: figures.
//!
//! Promise: every yardstick is a program that runs here, none a number from elsewhere.
//!
//! Not here: tuning, and tests; nothing fails for being slow.

mod bank;
mod commands;
mod figure;
mod gateway;
mod hand_sql;
mod http;
mod limit;
mod measure;
mod nginx;
mod pages;
mod pgbench;
mod project;
mod visitor;
mod wire;
mod workers;

use std::time::Duration;

pub use commands::{commands, cycles};
pub use figure::{CpuSplit, Figure};
pub use gateway::{GatewayBench, gateway};
pub use hand_sql::{Style, hand_sql};
pub use http::{echo, http};
pub use limit::limit;
pub use pages::{PagesBench, pages};
pub use pgbench::pgbench;
pub use project::{project, rebuild_all};

/// What a measurement is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Operations under way at once.
    pub callers: usize,
    pub accounts: usize,
    pub shards: u16,
    pub each: Duration,
}
