//! Benchmarks: figures beside yardsticks from the same machine in the same minute, since absolute ones mean little.
//!
//! In: a database that may be filled, and what to measure with. Out: figures.
//!
//! Promise: every yardstick is a program that runs here, none a number from elsewhere; what a measurement wrote can be
//! checked as a history.
//!
//! Not here: tuning, and tests; nothing fails for being slow.

mod audit;
mod bank;
mod commands;
mod disk;
mod figure;
mod filled;
mod gateway;
mod grown;
mod hand_sql;
mod history;
mod http;
mod limit;
mod measure;
mod nginx;
mod pages;
mod peer;
mod pgbench;
mod processes;
mod project;
mod served;
mod start;
mod visitor;
mod wire;
mod workers;

use std::time::Duration;

pub use audit::{bench_key, commands_sealed, seal_and_prove};
pub use commands::{commands, commands_among_others, cycles};
pub use disk::disk;
pub use figure::{CpuSplit, Figure};
pub use filled::Filling;
pub use gateway::{GatewayBench, gateway};
pub use grown::grown;
pub use hand_sql::{Style, hand_sql};
pub use history::check_history;
pub use http::{echo, http};
pub use limit::limit;
pub use pages::{PagesBench, pages};
pub use peer::peer;
pub use pgbench::pgbench;
pub use processes::{READY, processes};
pub use project::{project, rebuild_all};
pub use start::{StartBench, start};

/// What a measurement is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Operations under way at once.
    pub callers: usize,
    pub accounts: usize,
    pub shards: u16,
    pub each: Duration,
}
