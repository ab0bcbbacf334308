//! The HTTP API over TCP, with a real ledger, real views and a real database behind it.

mod access;
mod accounts;
pub mod client;
mod corrections;
mod credits;
mod denials;
mod environments;
mod forward_auth;
mod grants;
mod key_limits;
mod keys;
mod leaks;
mod plans;
mod proxies;
mod reconcile;
mod refunds;
mod rotation;
mod service;
mod spending;
pub mod stage;
mod statement;
mod terminal;
mod thresholds;
mod usage;
