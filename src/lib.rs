//! Keyledger: a ledger for API keys and usage credits. The README's code tour names the rooms and their walls.

pub mod clock;
pub mod http;
pub mod ledger;
pub mod local;
pub mod log;
pub mod migrate;
pub mod tokens;
