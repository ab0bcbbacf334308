//! The customer's pages over TCP, as a browser without a script uses them.

pub mod activity;
pub mod browser;
pub mod credits;
mod doors;
mod held_wire;
mod key_page;
mod key_use;
mod keys;
mod live;
pub mod operator;
mod plans;
mod prices;
mod rounds;
mod statements;
mod then;
mod webhooks;
