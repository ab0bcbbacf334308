//! How the installation stands: each shard's log, and how far behind it everything else is. Found out where the rooms are
//! put together.

use std::pin::Pin;

use keyledger_events::{Position, Shard, Timestamp};

use crate::log::{Head, ReadError};
use crate::views::{Halted, ViewError};

/// Finds out how things stand. Bounded in time by the implementor.
pub trait Lookout: std::fmt::Debug + Send + Sync {
    fn look(&self) -> Pin<Box<dyn Future<Output = Result<Vec<ShardStanding>, LookoutError>> + Send + '_>>;
}

/// Nothing can be said about how things stand: the database cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum LookoutError {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Views(#[from] ViewError),
}

/// One shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardStanding {
    pub shard: Shard,
    pub head: Head,
    pub relay: RelayStanding,
    pub projections: Vec<ProjectionStanding>,
}

/// How far the bus has the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelayStanding {
    /// The last position in the stream. `None`: the bus cannot be asked now.
    pub position: Option<Position>,
    /// Why this process's relay publishes nothing.
    pub fault: Option<String>,
}

/// How far a view has the log, whichever process folds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectionStanding {
    pub name: String,
    pub checkpoint: Position,
    /// Time of the last event folded; 1970 before the first.
    pub recorded_at: Timestamp,
    /// Why it has stopped there.
    pub halted: Option<Halted>,
}

impl ShardStanding {
    /// Events that a reader at a position has still to hear of. A position that was read a moment after the head may be
    /// past it.
    pub fn behind(&self, position: Position) -> u64 {
        self.head.position.0.saturating_sub(position.0)
    }
}
