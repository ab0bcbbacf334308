//! The writer against a real log: what concurrency, races and other processes may not do.

mod customer;
mod log;
mod writers;
