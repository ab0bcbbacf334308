//! The right edge of a tree: of each level of tiles the one that is not full yet.

use super::TreeError;
use crate::audit::merkle::{Grown, Hash, Node};

/// Levels of the tree in a tile.
pub const TILE_BITS: u8 = 8;
pub const TILE_HASHES: u64 = 1 << TILE_BITS;

/// A tile that will never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullTile {
    pub level: u8,
    pub index: u64,
    /// 256 hashes.
    pub hashes: Vec<Hash>,
    pub root: Hash,
}

/// The tiles that are not full, the lowest level first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

/// Events right of the last full tile.
pub(super) fn tail(size: u64) -> u32 {
    u32::try_from(size % TILE_HASHES).unwrap_or(0)
}

/// How many hashes a level has, and how many of them are in its full tiles.
fn counts(size: u64, level: u8) -> (u64, u64) {
    let bits = u32::from(level) * u32::from(TILE_BITS);
    let all = size.checked_shr(bits).unwrap_or(0);
    (all, all / TILE_HASHES * TILE_HASHES)
}

/// The tiles whose roots are the edge's hashes above level 0: `(level of the tiles, their indices)`.
pub(super) fn tiles_below_edge(size: u64) -> impl Iterator<Item = (u8, std::ops::Range<u64>)> {
    (1_u8..)
        .map(move |level| (level, counts(size, level)))
        .take_while(|(_, (all, _))| *all > 0)
        .map(|(level, (all, in_full))| (level - 1, in_full..all))
}

impl Edge {
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The edge of the tree of `size` leaves without those that are in no full tile: those are pushed afterwards.
    /// `roots` are those of the tiles that `tiles_below_edge` names, in order.
    pub(super) fn of_full_tiles(size: u64, roots: &[(u8, u64, Hash)]) -> Result<Edge, TreeError> {
        let mut levels = vec![Vec::new()];
        let mut roots = roots.iter();
        for (level, indices) in tiles_below_edge(size) {
            let mut hashes = Vec::new();
            for index in indices {
                match roots.next() {
                    Some((of_level, of_index, root)) if (*of_level, *of_index) == (level, index) => hashes.push(*root),
                    Some(_) | None => return Err(TreeError::TileMissing { level, index }),
                }
            }
            levels.push(hashes);
        }
        Ok(Edge {
            size: size / TILE_HASHES * TILE_HASHES,
            levels,
        })
    }

    /// Adds the next leaf, and hands on the tiles that it makes full.
    pub fn push(&mut self, leaf: Hash, mut full: impl FnMut(FullTile)) {
        let mut hash = leaf;
        let mut level = 0_u8;
        self.size += 1;
        loop {
            let at = usize::from(level);
            if self.levels.len() <= at {
                self.levels.push(Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(at) else { return };
            hashes.push(hash);
            if (hashes.len() as u64) < TILE_HASHES {
                return;
            }
            let hashes = std::mem::take(hashes);
            hash = root_of(&hashes);
            let (all, _) = counts(self.size, level);
            full(FullTile {
                level,
                index: (all - 1) / TILE_HASHES,
                hashes,
                root: hash,
            });
            level += 1;
        }
    }

    /// The hash of a whole subtree that lies in the edge. `None` where it lies in a full tile, or beyond the tree.
    pub fn hash(&self, node: Node) -> Option<Hash> {
        let (level, inside) = (node.level / TILE_BITS, node.level % TILE_BITS);
        let (_, in_full) = counts(self.size, level);
        let first = usize::try_from((node.index << inside).checked_sub(in_full)?).ok()?;
        let hashes = self.levels.get(usize::from(level))?;
        let subtree = hashes.get(first..first.checked_add(1 << inside)?)?;
        Some(root_of(subtree))
    }

    /// The root of the whole tree.
    pub fn root(&self) -> Hash {
        let mut tree = Grown::default();
        for (above, hashes) in self.levels.iter().enumerate().rev() {
            // At most eight levels: a u64 counts the leaves.
            let level = u8::try_from(above).unwrap_or(u8::MAX).saturating_mul(TILE_BITS);
            for hash in hashes {
                tree.push(level, *hash);
            }
        }
        tree.root()
    }
}

/// The root over hashes of one level.
pub(super) fn root_of(hashes: &[Hash]) -> Hash {
    let mut tree = Grown::default();
    hashes.iter().for_each(|hash| tree.push_leaf(*hash));
    tree.root()
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the trees of the tests are small")]
mod tests {
    use std::collections::BTreeMap;

    use keyledger_events::leaf_hash;

    use super::*;

    #[test]
    fn an_edge_has_the_root_of_all_its_leaves_and_can_be_put_together_again() {
        let mut edge = Edge::default();
        let mut tree = Grown::default();
        let mut tiles = BTreeMap::new();
        let mut leaves = Vec::new();
        for n in 0..66_000_u64 {
            let leaf = leaf_hash(&n.to_be_bytes());
            leaves.push(leaf);
            tree.push_leaf(leaf);
            edge.push(leaf, |tile| {
                tiles.insert((tile.level, tile.index), tile);
            });
            if n % 1_111 != 0 && n < 65_530 {
                continue;
            }
            assert_eq!((edge.size(), edge.root()), (n + 1, tree.root()), "{n}");
            let roots: Vec<_> = tiles_below_edge(n + 1)
                .flat_map(|(level, indices)| indices.map(move |index| (level, index)))
                .map(|(level, index)| (level, index, tiles[&(level, index)].root))
                .collect();
            let mut again = Edge::of_full_tiles(n + 1, &roots).unwrap();
            for leaf in &leaves[again.size() as usize..] {
                again.push(*leaf, |_| panic!("no tile is full"));
            }
            assert_eq!(again.root(), edge.root(), "{n}");
        }
        assert_eq!(tiles.len(), 257 + 1);
        assert_eq!(tiles[&(1, 0)].hashes[3], tiles[&(0, 3)].root);
    }

    #[test]
    fn a_subtree_is_found_where_it_lies() {
        let mut edge = Edge::default();
        (0..300_u64).for_each(|n| edge.push(leaf_hash(&n.to_be_bytes()), |_| {}));
        let at = |level, index| edge.hash(Node { level, index });
        assert!(
            at(0, 255).is_none() && at(0, 300).is_none() && at(7, 1).is_none(),
            "in a full tile, or beyond"
        );
        assert_eq!(at(0, 256), Some(leaf_hash(&256_u64.to_be_bytes())));
        assert!(at(5, 8).is_some() && at(5, 9).is_none() && at(8, 0).is_some() && at(8, 1).is_none());
    }
}
