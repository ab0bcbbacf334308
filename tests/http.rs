//! The HTTP API over TCP, with a real ledger, real views and a real database behind it.

mod access;
pub mod client;
mod credits;
mod denials;
mod environments;
mod forward_auth;
mod key_limits;
mod keys;
mod leaks;
mod proxies;
mod rotation;
mod service;
mod spending;
pub mod stage;
mod usage;
