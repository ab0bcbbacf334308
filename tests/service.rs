//! The whole service as its operators run it: real processes, killed without warning.

mod bench;
mod client;
mod dev;
mod journal;
mod killed;
mod outage;
mod process;
mod readme;
mod secrets;
mod streams;
mod two;
