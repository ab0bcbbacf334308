//! The whole service as its operators run it: real processes, killed without warning.

mod bench;
mod client;
mod clocks;
mod consumer;
mod dev;
mod gate;
mod handed_over;
mod journal;
mod killed;
mod led;
mod outage;
mod priced;
mod probed;
pub mod process;
mod readme;
mod repriced;
mod secrets;
mod settled;
mod slow;
mod stopped;
mod streams;
mod swept;
mod tokens;
mod told;
mod two;
