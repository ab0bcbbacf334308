//! The HTTP API over TCP, with a real ledger, real views and a real database behind it.

mod access;
mod accounts;
mod batch;
pub mod client;
mod corrections;
mod credits;
mod denials;
mod environments;
mod event_stream;
mod forward_auth;
mod grants;
mod idempotency;
mod key_limits;
mod keys;
mod leaks;
mod plans;
pub mod prices;
mod proxies;
mod refunds;
mod rotation;
mod service;
mod spending;
pub mod stage;
mod thresholds;
mod usage;
