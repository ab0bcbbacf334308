//! Files that are made by hand: events of one's own choice, signed with the right key.

#![expect(clippy::cast_possible_truncation, reason = "the logs of the tests are small")]

use std::ops::Range;

use keyledger::audit::file::{End, Head, Proof, Scope, TILE, Tile};
use keyledger::audit::merkle::{self, Grown, Hash};
use keyledger::audit::note::SignerKey;
use keyledger::audit::sealer::Signers;
use keyledger_events::{Recorded, Shard, Timestamp, leaf_hash};
use sha2::{Digest as _, Sha256};

pub const NAME: &str = "ledger.example";

/// The key of all logs here.
pub fn key() -> SignerKey {
    SignerKey::from_seed(NAME, [7; 32]).unwrap()
}

pub fn signers() -> Signers {
    Signers::new(&[key()], Shard(0)).unwrap()
}

/// `--key PUB`.
pub fn right_key() -> Vec<String> {
    vec!["--key".to_owned(), signers().verifiers()[0].to_string()]
}

pub fn root_of(leaves: &[Hash]) -> Hash {
    let mut tree = Grown::default();
    leaves.iter().for_each(|leaf| tree.push_leaf(*leaf));
    tree.root()
}

fn roots(leaves: &[Hash], ranges: Vec<Range<u64>>) -> Vec<Hash> {
    let place = |at: u64| usize::try_from(at).unwrap();
    let root = |range: Range<u64>| root_of(&leaves[place(range.start)..place(range.end)]);
    ranges.into_iter().map(root).collect()
}

pub fn note(events: &[Vec<u8>], signers: &Signers) -> String {
    let leaves: Vec<Hash> = events.iter().map(|event| leaf_hash(event)).collect();
    signers.sign(events.len() as u64, root_of(&leaves)).to_text()
}

/// Puts the last line under others.
pub fn ended(mut lines: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut ours = Sha256::new();
    let mut events = 0;
    for line in &lines {
        if line.starts_with(b"{\"keyledger\":") {
            ours.update(line);
            ours.update(b"\n");
        } else {
            events += 1;
        }
    }
    lines.push(serde_json::to_vec(&End::new(events, &ours.finalize())).unwrap());
    lines
}

/// What a log has.
pub struct Forger<'a> {
    /// From position 1 on.
    pub events: &'a [Vec<u8>],
    pub signers: &'a Signers,
}

impl Forger<'_> {
    fn leaves(&self) -> Vec<Hash> {
        self.events.iter().map(|event| leaf_hash(event)).collect()
    }

    fn head(&self, scope: Scope, first: u64, last: u64) -> Vec<u8> {
        let head = Head {
            keyledger: keyledger::audit::file::FORMAT.to_owned(),
            origin: self.signers.origin().to_owned(),
            shard: 0,
            scope,
            first,
            last,
            from: None,
            to: None,
            made_at: Timestamp::EPOCH,
            checkpoint: note(self.events, self.signers),
        };
        serde_json::to_vec(&head).unwrap()
    }

    /// The export of all of it.
    pub fn shard(&self) -> Vec<Vec<u8>> {
        self.range(1, self.events.len() as u64)
    }

    pub fn range(&self, first: u64, last: u64) -> Vec<Vec<u8>> {
        let (leaves, size) = (self.leaves(), self.events.len() as u64);
        let mut lines = vec![self.head(Scope::Shard { shard: 0 }, first, last)];
        for position in first..=last {
            let index = (position - 1) / TILE;
            if position == first || (position - 1).is_multiple_of(TILE) {
                let begin = (index * TILE) as usize;
                let of_tile = leaves[begin..leaves.len().min(begin + 256)].to_vec();
                let tiles = merkle::inclusion(index, size.div_ceil(TILE)).unwrap().into_iter();
                let above = tiles.map(|range| range.start * TILE..(range.end * TILE).min(size));
                let path = roots(&leaves, above.collect());
                lines.push(serde_json::to_vec(&Tile::new(index, of_tile, &path, None)).unwrap());
            }
            lines.push(self.events[(position - 1) as usize].clone());
        }
        ended(lines)
    }

    /// The export of some events, each with its own proof.
    pub fn proven(&self, scope: Scope, positions: &[u64]) -> Vec<Vec<u8>> {
        let leaves = self.leaves();
        let mut lines = vec![self.head(scope, positions[0], *positions.last().unwrap())];
        for position in positions {
            let path = roots(&leaves, merkle::inclusion(position - 1, leaves.len() as u64).unwrap());
            lines.push(serde_json::to_vec(&Proof::new(*position, &path, false)).unwrap());
            lines.push(self.events[(position - 1) as usize].clone());
        }
        ended(lines)
    }
}

/// A history that somebody made up: events after one another, whose places are put right.
pub fn placed(events: Vec<Recorded>) -> Vec<Vec<u8>> {
    let mut seqs = std::collections::HashMap::<_, u64>::new();
    let mut lines = Vec::new();
    for (position, mut recorded) in (1..).zip(events) {
        let seq = seqs.entry(recorded.account).or_default();
        *seq += 1;
        recorded.position.0 = position;
        recorded.seq.0 = *seq;
        lines.push(recorded.encode());
    }
    lines
}
