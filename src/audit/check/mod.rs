//! The check of a live log: everything that an export is checked for, and what stands beside the log.
//!
//! In: a database, and what is known of the log from elsewhere. Out: what is wrong, where, and up to which position all is
//! good.
//!
//! Promise: nothing is believed that can be computed again from the events' own bytes; what was signed, and is known from
//! outside the database, decides what the bytes have to be.
//!
//! Not here: views and snapshots, which others compare with the log.

mod sealed;
mod stream;
mod walk;

pub use stream::check_stream;

use serde::Serialize;

use super::note::{Checkpoint, VerifierKey};
use super::tree::{StoreError, Tree, TreeError};
use crate::log::ReadError;

/// What the log is checked against.
#[derive(Debug)]
pub struct CheckOptions {
    pub tree: Tree,
    /// One of these must have signed every checkpoint. Empty: signatures are not looked at, and that is told.
    pub keys: Vec<VerifierKey>,
    /// Checkpoints that come from elsewhere, and are believed.
    pub known: Vec<Known>,
}

/// A checkpoint from outside the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Such as "the sealer's memory".
    pub from: String,
    pub checkpoint: Checkpoint,
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The first position that it may concern. `None`: it is beside the log.
    pub position: Option<u64>,
    pub what: String,
}

/// What a check came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub events: u64,
    pub checkpoints: u64,
    /// Events under the newest checkpoint that is true.
    pub sealed: u64,
    /// Up to here nothing is wrong with the log itself.
    pub last_good: u64,
    /// In the order in which they were found; the first hundred.
    pub findings: Vec<Finding>,
    /// All of them.
    pub found: u64,
}

/// The check came to no end: nothing is known about what it has not seen.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("the bus cannot be asked: {0}")]
    Bus(String),
}

impl From<StoreError> for CheckError {
    fn from(error: StoreError) -> CheckError {
        CheckError::Tree(error.into())
    }
}

const FINDINGS_KEPT_MAX: usize = 100;

impl Checked {
    pub(super) fn find(&mut self, position: Option<u64>, what: impl Into<String>) {
        self.found += 1;
        if self.findings.len() < FINDINGS_KEPT_MAX {
            self.findings.push(Finding {
                position,
                what: what.into(),
            });
        }
        if let Some(position) = position {
            self.last_good = self.last_good.min(position.saturating_sub(1));
        }
    }
}

/// Checks a shard's log from its first event to where its head stands now. Tells after every page how many events were
/// read, and how many there are.
pub async fn check_log(options: &CheckOptions, progress: impl FnMut(u64, u64)) -> Result<Checked, CheckError> {
    walk::walk(options, progress).await
}
