//! Keyledger: a ledger for API keys and usage credits. The README's code tour names the rooms and their walls.

pub mod bench;
pub mod bus;
pub mod clock;
pub mod config;
pub mod forward;
pub mod gateway;
pub mod http;
pub mod ledger;
pub mod local;
pub mod log;
pub mod migrate;
pub mod pages;
pub mod prices;
pub mod problem;
pub mod projector;
pub mod reconcile;
pub mod relay;
pub mod service;
pub mod sessions;
mod shown;
mod spreadsheet;
pub mod statements;
pub mod tokens;
pub mod views;
