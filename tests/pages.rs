//! The customer's pages over TCP, as a browser without a script uses them.

pub mod activity;
pub mod browser;
mod doors;
mod keys;
mod live;
pub mod operator;
