//! The customer's pages over TCP, as a browser without a script uses them.

pub mod browser;
pub mod credits;
mod doors;
mod key_use;
mod keys;
