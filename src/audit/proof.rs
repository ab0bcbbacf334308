//! That an event is in the log, by a checkpoint.

use keyledger_events::{Position, leaf_hash};

use super::merkle::Hash;
use super::tree::{SealedCheckpoint, Tree, TreeError};

/// All that is needed beside the log's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub position: Position,
    pub leaf: Hash,
    /// The canonical bytes.
    pub event: Vec<u8>,
    /// From the leaf up.
    pub path: Vec<Hash>,
    pub checkpoint: SealedCheckpoint,
}

/// Proves the event at a position by a checkpoint. `None` where the checkpoint does not cover it.
pub async fn prove(tree: &Tree, position: Position, checkpoint: SealedCheckpoint) -> Result<Option<Proof>, TreeError> {
    let Some(index) = position.0.checked_sub(1).filter(|index| *index < checkpoint.size) else {
        return Ok(None);
    };
    let (path, stored) = tokio::join!(
        tree.inclusion(index, checkpoint.size),
        tree.log().read(Position(index), 1)
    );
    let stored = stored?.into_iter().find(|stored| stored.position == position);
    let stored = stored.ok_or(TreeError::EventMissing { position: position.0 })?;
    Ok(Some(Proof {
        position,
        leaf: leaf_hash(&stored.body),
        event: stored.body,
        path: path?,
        checkpoint,
    }))
}
