//! What travels: commands with the sender and their number, and the answers to just that number.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Commands of one process, to the leader.
#[derive(Serialize, Deserialize)]
pub(super) struct Commands<'a> {
    pub from: u128,
    /// One more with each message, so that none is heeded twice.
    pub number: u64,
    /// By the sender's clock, so that none is heeded that was kept somewhere for long.
    pub sent_at_ms: u64,
    #[serde(borrow)]
    pub commands: &'a RawValue,
}

/// What became of them.
#[derive(Serialize, Deserialize)]
pub(super) struct Answers<'a> {
    pub to: u128,
    pub number: u64,
    /// In the order of the commands. `None`: nothing was done for any of them.
    #[serde(borrow)]
    pub answers: Option<&'a RawValue>,
}
