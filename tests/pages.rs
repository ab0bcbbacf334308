//! The customer's pages over TCP, as a browser without a script uses them.

pub mod browser;
mod doors;
mod keys;
