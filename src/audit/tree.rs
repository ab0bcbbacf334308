//! A shard's tree as it is kept: full tiles in Postgres, what is right of them in memory.
//!
//! In: the events of the log and the tiles made of them. Out: hashes of whole subtrees, roots, proofs.
//!
//! Promise: the tiles are made from the log alone and can be made again; 32 bytes an event, and a 255th more. A proof
//! costs one statement. Tiles are those of C2SP `tlog-tiles`: 256 hashes, eight levels of the tree each.

mod edge;
mod store;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use keyledger_events::Shard;

use super::merkle::{self, Hash, Node};
use crate::log::{Log, ReadError};

pub use edge::{Edge, FullTile, TILE_BITS, TILE_HASHES};
pub use store::{SealedCheckpoint, StoreError, TileStore};

/// Answers out of a shard's tree. Cheap to clone; clones share what they remember.
#[derive(Debug, Clone)]
pub struct Tree {
    log: Log,
    store: TileStore,
    /// What is right of the full tiles, at the size that was asked for last.
    edge: Arc<Mutex<Option<Arc<Edge>>>>,
}

/// Why a question to the tree has no answer.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tree is not that large.
    #[error("the tree has {size} events")]
    Beyond { size: u64 },
    #[error("tile {index} of level {level} is missing")]
    TileMissing { level: u8, index: u64 },
    /// The log has a gap, or ends before what was sealed of it.
    #[error("position {position} is missing in the log")]
    EventMissing { position: u64 },
}

impl Tree {
    pub fn new(log: Log, store: TileStore) -> Tree {
        Tree {
            log,
            store,
            edge: Arc::default(),
        }
    }

    pub fn shard(&self) -> Shard {
        self.log.shard()
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    pub fn store(&self) -> &TileStore {
        &self.store
    }

    /// The hashes that prove that leaf `index` is in the tree of `size` leaves, from the leaf up.
    pub async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, TreeError> {
        let path = merkle::inclusion(index, size).ok_or(TreeError::Beyond { size })?;
        self.roots(&path, size).await
    }

    /// The hashes that prove that the tree of `new` leaves begins with the tree of `old` ones.
    pub async fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, TreeError> {
        let proof = merkle::consistency(old, new).ok_or(TreeError::Beyond { size: new })?;
        self.roots(&proof, new).await
    }

    /// The root of the tree of `size` leaves.
    pub async fn root(&self, size: u64) -> Result<Hash, TreeError> {
        let whole = 0..size;
        let roots = self.roots(std::slice::from_ref(&whole), size).await?;
        Ok(roots.first().copied().unwrap_or_else(merkle::empty_root))
    }

    /// The hashes of the whole subtrees that a range of leaves consists of, from left to right.
    pub async fn beside(&self, leaves: Range<u64>, size: u64) -> Result<Vec<Hash>, TreeError> {
        let nodes = merkle::whole_subtrees(leaves);
        self.hashes(&nodes, size).await
    }

    /// The hashes of a tile, 256 at most: what of it is in the tree of `size` leaves.
    pub async fn tile(&self, level: u8, index: u64, size: u64) -> Result<Vec<Hash>, TreeError> {
        let bits = u32::from(level) * u32::from(TILE_BITS);
        let above = size.checked_shr(bits).unwrap_or(0);
        let first = index.checked_mul(TILE_HASHES).filter(|first| *first < above);
        let first = first.ok_or(TreeError::Beyond { size })?;
        let end = above.min(first + TILE_HASHES);
        let level = level * TILE_BITS;
        let nodes: Vec<Node> = (first..end).map(|index| Node { level, index }).collect();
        self.hashes(&nodes, size).await
    }

    /// The roots over ranges of leaves of the tree of `size` leaves.
    pub(in crate::audit) async fn roots(&self, ranges: &[Range<u64>], size: u64) -> Result<Vec<Hash>, TreeError> {
        let parts: Vec<Vec<Node>> = ranges.iter().cloned().map(merkle::whole_subtrees).collect();
        let nodes = parts.concat();
        let hashes = self.hashes(&nodes, size).await?;
        let mut rest = hashes.as_slice();
        let mut roots = Vec::with_capacity(parts.len());
        for part in &parts {
            let (of_part, others) = rest.split_at_checked(part.len()).unwrap_or((rest, &[]));
            roots.push(merkle::fold(of_part));
            rest = others;
        }
        Ok(roots)
    }

    /// The hashes of whole subtrees of the tree of `size` leaves, in their order.
    async fn hashes(&self, nodes: &[Node], size: u64) -> Result<Vec<Hash>, TreeError> {
        let edge = self.edge(size).await?;
        let mut found: Vec<Option<Hash>> = nodes.iter().map(|node| edge.hash(*node)).collect();
        let missing: Vec<Node> = nodes
            .iter()
            .zip(&found)
            .filter(|(_, hash)| hash.is_none())
            .map(|(node, _)| *node)
            .collect();
        let mut read = self.store.hashes(&missing).await?.into_iter();
        for (node, hash) in nodes.iter().zip(&mut found).filter(|(_, hash)| hash.is_none()) {
            *hash = read.next().flatten();
            if hash.is_none() {
                let level = node.level / TILE_BITS;
                let index = (node.index << (node.level % TILE_BITS)) >> TILE_BITS;
                return Err(TreeError::TileMissing { level, index });
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// The right edge of the tree of `size` leaves at least: the one that is at hand, or read anew.
    async fn edge(&self, size: u64) -> Result<Arc<Edge>, TreeError> {
        let at_hand = self.edge.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(edge) = at_hand.filter(|edge| edge.size() >= size) {
            return Ok(edge);
        }
        let edge = Arc::new(self.read_edge(size).await?);
        let mut kept = self.edge.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|kept| kept.size() < edge.size()) {
            *kept = Some(Arc::clone(&edge));
        }
        Ok(edge)
    }

    /// Puts the right edge together: the newest events' own hashes, and the roots of the tiles that stand left of them.
    pub async fn read_edge(&self, size: u64) -> Result<Edge, TreeError> {
        let mut edge = Edge::of_full_tiles(size, &self.store.edge_roots(size).await?)?;
        let bodies = self
            .log
            .read(keyledger_events::Position(edge.size()), edge::tail(size))
            .await?;
        for stored in bodies {
            if stored.position.0 != edge.size() + 1 {
                return Err(TreeError::EventMissing {
                    position: edge.size() + 1,
                });
            }
            edge.push(keyledger_events::leaf_hash(&stored.body), |_| {});
        }
        if edge.size() < size {
            return Err(TreeError::EventMissing {
                position: edge.size() + 1,
            });
        }
        Ok(edge)
    }
}
