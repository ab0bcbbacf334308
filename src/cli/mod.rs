//! What the commands do, one file each.

pub mod archive;
pub mod audit;
pub mod bench;
pub mod calls;
pub mod config;
pub mod dev;
pub mod ready_file;
pub mod rebuild;
pub mod reconcile;
pub mod replay;
pub mod reprice;
pub mod serve;
pub mod signals;
pub mod sockets;
pub mod telemetry;
pub mod token;
pub mod views;
