//! The sealer: grows a shard's tree from its log and signs how it stands.
//!
//! In: the log, and what was signed before. Out: full tiles, signed checkpoints, and the same on the bus.
//!
//! Promise: nothing is signed that does not begin with everything that was signed before, by this sealer (as its own file
//! remembers it, which no right on the database can change) and by any other (as the newest checkpoint says). Otherwise it
//! stops, loudly. Under load a checkpoint is at most 10,000 events or half a second behind. Any number of sealers may run.
//!
//! Not here: what events say.

mod grow;
mod memory;
mod signers;
mod wire;
mod witnesses;

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use keyledger_events::Position;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::note::VerifierKey;
use super::tree::{StoreError, Tree, TreeError};
use crate::bus::Bus;
use crate::config::ClientTls;

pub use grow::{Missing, check_against};
pub use memory::{Memory, MemoryError};
pub use signers::{Signers, SignersError, origin};
pub use wire::last_published;

/// What a sealer needs.
#[derive(Debug)]
pub struct SealerOptions {
    pub tree: Tree,
    pub signers: Signers,
    /// Where this sealer's own memory is: a directory that is not the database's.
    pub state_dir: PathBuf,
    pub bus: Option<Bus>,
    pub witnesses: Vec<WitnessOptions>,
    /// Tells of commits of this process, so that a burst is sealed before the next look.
    pub committed: Option<watch::Receiver<Position>>,
}

/// Somebody else who signs that checkpoints extend each other.
#[derive(Debug, Clone)]
pub struct WitnessOptions {
    /// Before `/add-checkpoint`.
    pub url: Uri,
    pub tls: Option<ClientTls>,
    pub key: VerifierKey,
}

/// How a sealer stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SealerStatus {
    /// Events under the last checkpoint.
    pub size: u64,
    /// Why nothing is signed any more.
    pub fault: Option<String>,
}

/// A running sealer. It ends with the token that it was started with.
#[derive(Debug, Clone)]
pub struct SealerHandle {
    status: watch::Receiver<SealerStatus>,
}

impl SealerHandle {
    pub fn status(&self) -> SealerStatus {
        self.status.borrow().clone()
    }
}

/// Why a round of sealing ended.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The log is not what was signed. Only a person can say what happened.
    #[error("{0}")]
    Fault(String),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("the sealer's memory: {0}")]
    Memory(#[from] MemoryError),
}

impl From<StoreError> for SealError {
    fn from(error: StoreError) -> SealError {
        SealError::Tree(error.into())
    }
}

impl SealError {
    /// Whether waiting does not cure it.
    fn is_fault(&self) -> bool {
        match self {
            SealError::Fault(_) | SealError::Memory(_) => true,
            SealError::Tree(TreeError::EventMissing { .. } | TreeError::TileMissing { .. }) => true,
            SealError::Tree(TreeError::Log(_) | TreeError::Store(_) | TreeError::Beyond { .. }) => false,
        }
    }
}

const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(500);

/// Starts sealing, for ever: through restarts of Postgres and NATS.
pub fn start(options: SealerOptions, stop: CancellationToken) -> SealerHandle {
    let (tell, status) = watch::channel(SealerStatus::default());
    tokio::spawn(async move {
        let mut sealer = grow::Sealer::new(options, tell, &stop);
        loop {
            let Some(Err(error)) = stop.run_until_cancelled(sealer.session()).await else {
                return;
            };
            let wait = if error.is_fault() {
                sealer.note_fault(&error);
                PAUSE_AFTER_FAULT
            } else {
                tracing::debug!(%error, "the sealer waits");
                PAUSE
            };
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    });
    SealerHandle { status }
}
