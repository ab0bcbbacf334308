//! Benchmarks: figures with a baseline from the same machine in the same minute, since absolute ones mean little.
//!
//! In: a database that may be filled, and how long to measure. Out: a table.
//!
//! Not here: tuning, and tests; nothing fails for being slow.

mod baseline;
mod commands;
mod gateway;
mod measure;
mod nginx;
mod pages;
mod visitor;

pub use commands::{CommandsOptions, commands};
pub use gateway::{GatewayBench, gateway};
pub use measure::Figures;
pub use pages::{PagesBench, pages};
