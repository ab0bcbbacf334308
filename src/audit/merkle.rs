//! RFC 6962 section 2.1: Merkle trees over leaves, the proofs from them, and how a proof is checked.
//!
//! In: leaf hashes and hashes of whole subtrees. Out: roots, which subtrees a proof is made of, and yes or no.
//!
//! Promise: nothing here reads or keeps a tree. A tree of any size is grown from at most 64 hashes, and a proof names the
//! whole subtrees that it needs, so that they may be kept anywhere.

use std::ops::Range;

use sha2::{Digest, Sha256};

/// SHA-256 of a leaf or of an inner node.
pub type Hash = [u8; 32];

/// The hash of an inner node. The one keeps it from being taken for a leaf.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new()
        .chain_update([0x01])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// The root of a tree without leaves.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// A whole subtree: `1 << level` leaves, from leaf `index << level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    pub level: u8,
    pub index: u64,
}

impl Node {
    /// Its leaves.
    pub fn leaves(self) -> Range<u64> {
        self.index << self.level..(self.index + 1) << self.level
    }
}

/// The whole subtrees that a range of leaves consists of, from left to right: at most two for each level.
pub fn whole_subtrees(leaves: Range<u64>) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut start = leaves.start;
    while start < leaves.end {
        let aligned = start.trailing_zeros();
        let fits = (leaves.end - start).ilog2();
        let level = aligned.min(fits);
        nodes.push(Node {
            // At most 63: both are logarithms of a u64.
            level: u8::try_from(level).unwrap_or(u8::MAX),
            index: start >> level,
        });
        start += 1 << level;
    }
    nodes
}

/// A tree that grows at its right side and keeps only the whole subtrees that it consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grown {
    size: u64,
    /// One for each bit of the size, the largest first.
    nodes: Vec<Hash>,
}

impl Grown {
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn push_leaf(&mut self, leaf: Hash) {
        self.push(0, leaf);
    }

    /// Adds a whole subtree of `1 << level` leaves. The size must be a multiple of that; `false`, and nothing is added,
    /// where it is not.
    pub fn push(&mut self, level: u8, hash: Hash) -> bool {
        let leaves = 1_u64.checked_shl(level.into());
        let Some(size) = leaves.and_then(|leaves| {
            let aligned = self.size.is_multiple_of(leaves);
            self.size.checked_add(leaves).filter(|_| aligned)
        }) else {
            return false;
        };
        let mut hash = hash;
        let mut level = level;
        while (self.size >> level) & 1 == 1 {
            let Some(left) = self.nodes.pop() else { break };
            hash = node_hash(&left, &hash);
            level += 1;
        }
        self.nodes.push(hash);
        self.size = size;
        true
    }

    pub fn root(&self) -> Hash {
        fold(&self.nodes)
    }
}

/// The root over whole subtrees that stand side by side, each at most as large as the one left of it.
pub fn fold(nodes: &[Hash]) -> Hash {
    let Some((last, rest)) = nodes.split_last() else {
        return empty_root();
    };
    rest.iter().rev().fold(*last, |right, left| node_hash(left, &right))
}

/// The largest power of two below `size`, which is two at least.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The ranges of leaves whose roots prove that leaf `index` is in the tree of `size` leaves, from the leaf up.
/// RFC 6962 section 2.1.1. `None` where the leaf is not in that tree.
pub fn inclusion(index: u64, size: u64) -> Option<Vec<Range<u64>>> {
    if index >= size {
        return None;
    }
    let mut path = Vec::new();
    let mut tree = 0..size;
    while tree.end - tree.start > 1 {
        let middle = tree.start + split(tree.end - tree.start);
        if index < middle {
            path.push(middle..tree.end);
            tree.end = middle;
        } else {
            path.push(tree.start..middle);
            tree.start = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// The ranges of leaves whose roots prove that the tree of `new` leaves begins with the tree of `old` ones.
/// RFC 6962 section 2.1.2. `None` where it cannot: `old` is 0 or more than `new`.
pub fn consistency(old: u64, new: u64) -> Option<Vec<Range<u64>>> {
    if old == 0 || old > new {
        return None;
    }
    let mut proof = Vec::new();
    let mut tree = 0..new;
    let mut is_old_tree = true;
    while old != tree.end {
        let middle = tree.start + split(tree.end - tree.start);
        if old <= middle {
            proof.push(middle..tree.end);
            tree.end = middle;
        } else {
            proof.push(tree.start..middle);
            tree.start = middle;
            is_old_tree = false;
        }
    }
    if !is_old_tree {
        proof.push(tree);
    }
    proof.reverse();
    Some(proof)
}

/// Whether a proof shows that the leaf is at `index` in the tree with that root. RFC 9162 section 2.1.3.2.
pub fn includes(root: &Hash, size: u64, index: u64, leaf: Hash, proof: &[Hash]) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(sibling, &hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether a proof shows that the tree with the new root begins with the one with the old root. RFC 9162 section 2.1.4.2.
pub fn extends(old: (u64, &Hash), new: (u64, &Hash), proof: &[Hash]) -> bool {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return proof.is_empty() && old_root == new_root;
    }
    if old_size == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    let mut nodes = proof.iter();
    let first = if old_size.is_power_of_two() {
        Some(old_root)
    } else {
        nodes.next()
    };
    let Some(first) = first else { return false };
    let (mut place, mut last) = (old_size - 1, new_size - 1);
    while place & 1 == 1 {
        place >>= 1;
        last >>= 1;
    }
    let (mut of_old, mut of_new) = (*first, *first);
    for node in nodes {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            of_old = node_hash(node, &of_old);
            of_new = node_hash(node, &of_new);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            of_new = node_hash(&of_new, node);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && of_old == *old_root && of_new == *new_root
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the trees of the tests are small")]
mod tests {
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
    use keyledger_events::leaf_hash;

    use super::*;

    fn leaf(n: u64) -> Vec<u8> {
        format!("leaf {n}").into_bytes()
    }

    fn leaves(size: u64) -> Vec<Hash> {
        (0..size).map(|n| leaf_hash(&leaf(n))).collect()
    }

    fn root_of(leaves: &[Hash]) -> Hash {
        let mut tree = Grown::default();
        leaves.iter().for_each(|leaf| tree.push_leaf(*leaf));
        tree.root()
    }

    fn hashes(leaves: &[Hash], ranges: &[Range<u64>]) -> Vec<Hash> {
        let range = |range: &Range<u64>| root_of(&leaves[range.start as usize..range.end as usize]);
        ranges.iter().map(range).collect()
    }

    fn theirs(size: u64) -> MemoryBackedTree<Sha256, Vec<u8>> {
        let mut tree = MemoryBackedTree::new();
        (0..size).for_each(|n| tree.push(leaf(n)));
        tree
    }

    #[test]
    fn a_root_is_the_one_that_another_implementation_finds() {
        for size in 0..70 {
            assert_eq!(
                root_of(&leaves(size)),
                <Hash>::from(*theirs(size).root().as_bytes()),
                "{size} leaves"
            );
        }
    }

    #[test]
    fn an_inclusion_proof_is_the_one_that_another_implementation_makes_and_takes() {
        for size in 1..40 {
            let all = leaves(size);
            let (ours, tree) = (root_of(&all), theirs(size));
            for index in 0..size {
                let proof = hashes(&all, &inclusion(index, size).unwrap());
                assert_eq!(
                    proof.concat(),
                    tree.prove_inclusion(index as usize).as_bytes(),
                    "{index} of {size}"
                );
                assert!(includes(&ours, size, index, all[index as usize], &proof));
                let made = InclusionProof::<Sha256>::try_from_bytes(proof.concat()).unwrap();
                tree.root().verify_inclusion(&leaf(index), index, &made).unwrap();
            }
        }
    }

    #[test]
    fn a_consistency_proof_is_the_one_that_another_implementation_makes_and_takes() {
        for new in 1..40 {
            let all = leaves(new);
            let (root, tree) = (root_of(&all), theirs(new));
            for old in 1..new {
                let old_root = root_of(&all[..old as usize]);
                let proof = hashes(&all, &consistency(old, new).unwrap());
                assert_eq!(
                    proof.concat(),
                    tree.prove_consistency((new - old) as usize).as_bytes(),
                    "{old} to {new}"
                );
                assert!(extends((old, &old_root), (new, &root), &proof));
                let made = ConsistencyProof::<Sha256>::try_from_bytes(proof.concat()).unwrap();
                tree.root()
                    .verify_consistency(&RootHash::new(old_root.into(), old), &made)
                    .unwrap();
            }
        }
    }

    #[test]
    fn a_proof_with_anything_else_in_it_shows_nothing() {
        let all = leaves(11);
        let root = root_of(&all);
        let path = hashes(&all, &inclusion(6, 11).unwrap());
        for other in 0..12 {
            assert_eq!(includes(&root, 11, other, all[6], &path), other == 6);
        }
        assert!(!includes(&root, 12, 6, all[6], &path) || path.len() == 4);
        assert!(!includes(&root, 11, 6, all[5], &path));
        for place in 0..path.len() {
            let mut changed = path.clone();
            changed[place][0] ^= 1;
            assert!(!includes(&root, 11, 6, all[6], &changed));
            changed.remove(place);
            assert!(!includes(&root, 11, 6, all[6], &changed));
        }
        let old = root_of(&all[..7]);
        let proof = hashes(&all, &consistency(7, 11).unwrap());
        for place in 0..proof.len() {
            let mut changed = proof.clone();
            changed[place][31] ^= 1;
            assert!(!extends((7, &old), (11, &root), &changed));
        }
        assert!(!extends((7, &root), (11, &old), &proof));
        assert!(!extends((11, &root), (7, &old), &[]));
        assert!(!extends((8, &old), (11, &root), &[]));
    }

    /// A range in the middle, with what is left and right of it as whole subtrees, gives the whole tree's root.
    #[test]
    fn a_range_and_what_is_beside_it_give_the_root() {
        for size in 1..40_u64 {
            let all = leaves(size);
            for first in 0..size {
                for end in first..=size {
                    let mut tree = Grown::default();
                    let beside = |tree: &mut Grown, range: Range<u64>| {
                        for node in whole_subtrees(range) {
                            assert!(tree.push(node.level, hashes(&all, &[node.leaves()])[0]));
                        }
                    };
                    beside(&mut tree, 0..first);
                    all[first as usize..end as usize]
                        .iter()
                        .for_each(|leaf| tree.push_leaf(*leaf));
                    beside(&mut tree, end..size);
                    assert_eq!(
                        (tree.size(), tree.root()),
                        (size, root_of(&all)),
                        "{first}..{end} of {size}"
                    );
                }
            }
        }
        let mut tree = Grown::default();
        tree.push_leaf([1; 32]);
        assert!(
            !tree.push(1, [2; 32]) && !tree.push(64, [2; 32]),
            "where it cannot stand"
        );
        assert_eq!(tree.size(), 1);
    }
}
