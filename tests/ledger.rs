//! The writer against a real log: what concurrency, races and other processes may not do.

pub mod customer;
mod faults;
mod forwarded;
mod history;
mod loading;
mod log;
mod once;
pub mod priced;
pub mod writers;
