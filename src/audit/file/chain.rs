//! The chain from each line of an export to the signed checkpoint: which line is an event, of which position, and that its
//! leaf is in the tree.
//!
//! Not here: what the events say.

use std::collections::VecDeque;

use keyledger_events::leaf_hash;
use sha2::{Digest as _, Sha256};

use super::lines::{Consistency, End, FORMAT, Head, Kind, PRICES, Proof, Scope, Tile, hex};
use super::{Fault, TILE};
use crate::audit::merkle::{self, Grown, Hash};
use crate::audit::note::{Checkpoint, Note, VerifierKey};

/// What an auditor brings.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Keys of the log: one of them has to have signed.
    pub keys: Vec<VerifierKey>,
    /// All of them have to have cosigned.
    pub witnesses: Vec<VerifierKey>,
    /// A checkpoint of before, as it was published: the whole note.
    pub older: Option<String>,
}

/// What a line turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Ours,
    /// The event of this position, with the bytes that were signed.
    Event {
        position: u64,
        for_prices: bool,
    },
    End,
}

#[derive(Debug)]
pub(super) struct Chain {
    pub head: Head,
    pub checkpoint: Checkpoint,
    older: Option<Checkpoint>,
    /// The older checkpoint's root, from the leaves that the file has.
    grown: Option<Grown>,
    extends: bool,
    /// Over the lines that are no events.
    ours: Sha256,
    pub events: u64,
    /// The last position of the scope's own events; before the first, `first - 1`.
    pub at: u64,
    last_price_book: u64,
    tile: Option<Tile>,
    /// Of an account or a key: positions of the tile that are still to come.
    expected: VecDeque<u64>,
    proof: Option<Proof>,
    ended: bool,
}

/// Reads the head and checks the checkpoint that all else hangs on.
pub(super) fn begin(line: &[u8], asked: &Asked) -> Result<Chain, Fault> {
    let unknown = || Fault::unknown("the first line is not the head of an export");
    let kind: Kind<'_> = serde_json::from_slice(line).map_err(|_| unknown())?;
    if kind.keyledger != FORMAT {
        return Err(unknown());
    }
    let head: Head = serde_json::from_slice(line).map_err(|_| unknown())?;
    let of_shard = match head.scope {
        Scope::Shard { shard } => shard == head.shard,
        Scope::Account { .. } | Scope::Key { .. } => true,
    };
    if head.first == 0 || head.last < head.first || !of_shard {
        return Err(unknown());
    }
    let checkpoint = signed(&head.checkpoint, &head.origin, asked)?;
    if checkpoint.size < head.last {
        return Err(Fault::nowhere("the checkpoint does not cover the last position"));
    }
    let older = asked
        .older
        .as_deref()
        .map(|note| older(note, &checkpoint, asked))
        .transpose()?;
    let extends = older.as_ref().is_none_or(|older| older.size == checkpoint.size);
    let from_leaves = older
        .as_ref()
        .is_some_and(|older| matches!(head.scope, Scope::Shard { .. }) && head.first == 1 && head.last >= older.size);
    let mut ours = Sha256::new();
    ours.update(line);
    ours.update(b"\n");
    Ok(Chain {
        at: head.first - 1,
        head,
        checkpoint,
        older,
        grown: from_leaves.then(Grown::default),
        extends,
        ours,
        events: 0,
        last_price_book: 0,
        tile: None,
        expected: VecDeque::new(),
        proof: None,
        ended: false,
    })
}

fn signed(note: &str, origin: &str, asked: &Asked) -> Result<Checkpoint, Fault> {
    let malformed = || Fault::nowhere("the checkpoint is no signed note");
    let note = Note::parse(note).map_err(|_| malformed())?;
    let mut known = false;
    for key in asked.keys.iter().filter(|key| key.name() == origin) {
        known |= key
            .signed(&note)
            .map_err(|_| Fault::nowhere("the checkpoint's signature is not right"))?;
    }
    if !known {
        return Err(Fault::nowhere("the checkpoint is not signed by a key that was given"));
    }
    for witness in &asked.witnesses {
        if witness.witnessed(&note).is_none() {
            let why = format!("the witness {} has not signed the checkpoint", witness.name());
            return Err(Fault::unknown(why));
        }
    }
    let checkpoint = Checkpoint::parse(&note.text).map_err(|_| malformed())?;
    if checkpoint.origin != origin {
        return Err(Fault::nowhere("the checkpoint is another log's"));
    }
    Ok(checkpoint)
}

fn older(note: &str, newer: &Checkpoint, asked: &Asked) -> Result<Checkpoint, Fault> {
    let unknown = Fault::unknown("the older checkpoint is not one of this log by a key that was given");
    let without_witnesses = Asked {
        witnesses: Vec::new(),
        ..asked.clone()
    };
    let older = signed(note, &newer.origin, &without_witnesses).map_err(|_| unknown)?;
    if older.size > newer.size {
        return Err(Fault::unknown("the older checkpoint is the later one"));
    }
    if older.size == newer.size && older.root != newer.root {
        return Err(Fault::nowhere("two checkpoints of one size have two roots"));
    }
    Ok(older)
}

fn read<'a, T: serde::Deserialize<'a>>(line: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(line).map_err(|_| Fault::unknown("a line of the format cannot be read"))
}

impl Chain {
    fn is_of_shard(&self) -> bool {
        matches!(self.head.scope, Scope::Shard { .. })
    }

    /// Takes the next line, without its newline.
    pub(super) fn take(&mut self, line: &[u8]) -> Result<Line, Fault> {
        if self.ended {
            return Err(Fault::unknown("something stands behind the last line"));
        }
        if !line.starts_with(b"{\"keyledger\":") {
            return self.event(line);
        }
        if let Some(proof) = &self.proof {
            return Err(Fault::at(proof.position, "the event is missing"));
        }
        let kind: Kind<'_> = read(line)?;
        if kind.keyledger == "end" {
            self.end(&read(line)?)?;
            return Ok(Line::End);
        }
        match kind.keyledger {
            "tile" => self.open_tile(read(line)?)?,
            "proof" => self.open_proof(read(line)?)?,
            "consistency" => self.consistency(&read(line)?)?,
            _ => return Err(Fault::unknown("a line of a kind that is not known")),
        }
        self.ours.update(line);
        self.ours.update(b"\n");
        Ok(Line::Ours)
    }

    fn event(&mut self, line: &[u8]) -> Result<Line, Fault> {
        let leaf = leaf_hash(line);
        let (position, for_prices) = if let Some(proof) = self.proof.take() {
            let for_prices = proof.purpose.is_some();
            let position = proof.position;
            let size = self.checkpoint.size;
            if !merkle::includes(&self.checkpoint.root, size, position - 1, leaf, &proof.path()) {
                return Err(Fault::at(position, "the event is not the one that was signed"));
            }
            (position, for_prices)
        } else {
            let position = self.next_of_tile()?;
            if self.leaf_of_tile(position) != Some(leaf) {
                return Err(Fault::at(position, "the event is not the one that was signed"));
            }
            (position, false)
        };
        self.events = self.events.saturating_add(1);
        if for_prices {
            self.last_price_book = position;
        } else {
            self.at = position;
        }
        Ok(Line::Event { position, for_prices })
    }

    /// The position that the next event must have.
    fn next_of_tile(&mut self) -> Result<u64, Fault> {
        if !self.is_of_shard() {
            let next = self.expected.pop_front();
            return next.ok_or_else(|| Fault::nowhere("a line that no proof is for"));
        }
        let next = self.at.saturating_add(1);
        if next > self.head.last {
            return Err(Fault::at(next, "an event beyond the last position"));
        }
        Ok(next)
    }

    fn leaf_of_tile(&self, position: u64) -> Option<Hash> {
        let tile = self.tile.as_ref()?;
        let place = (position - 1).checked_sub(tile.index.checked_mul(TILE)?)?;
        tile.leaves().get(usize::try_from(place).ok()?).copied()
    }

    /// What has to come before anything else does: the rest of a tile.
    fn nothing_is_missing(&self) -> Result<(), Fault> {
        let missing = if self.is_of_shard() {
            let next = self.at.saturating_add(1);
            let inside = self.leaf_of_tile(next).is_some() && next <= self.head.last;
            inside.then_some(next)
        } else {
            self.expected.front().copied()
        };
        missing.map_or(Ok(()), |next| Err(Fault::at(next, "the event is missing")))
    }

    /// The first event is the one that the head says.
    fn begins_at(&self, position: u64) -> Result<(), Fault> {
        if self.at < self.head.first && position != self.head.first {
            return Err(Fault::at(self.head.first, "the event is missing"));
        }
        Ok(())
    }

    fn open_tile(&mut self, tile: Tile) -> Result<(), Fault> {
        self.nothing_is_missing()?;
        let size = self.checkpoint.size;
        let begin = tile.index.checked_mul(TILE).filter(|begin| *begin < size);
        let next = self.at.saturating_add(1);
        let first = match (&tile.at, self.is_of_shard()) {
            (None, true) => next,
            (Some(at), false) if at.first().is_some_and(|first| *first >= next) => at.first().copied().unwrap_or(next),
            (Some(_) | None, _) => return Err(Fault::unknown("a tile's positions are not the scope's")),
        };
        self.begins_at(first)?;
        let Some(begin) = begin.filter(|begin| (first - 1) / TILE * TILE == *begin) else {
            return Err(Fault::at(first, "its tile is missing"));
        };
        let width = TILE.min(size - begin);
        let root = root_of(tile.leaves());
        let proven = u64::try_from(tile.leaves().len()) == Ok(width)
            && merkle::includes(
                &self.checkpoint.root,
                size.div_ceil(TILE),
                tile.index,
                root,
                &tile.path(),
            );
        if !proven {
            return Err(Fault::at(
                first,
                "the hashes of its tile are not those that were signed",
            ));
        }
        if let Some(at) = &tile.at {
            let rising = at.windows(2).all(|pair| matches!(pair, [one, next] if one < next));
            let inside = at
                .last()
                .is_some_and(|last| *last <= begin + width && *last <= self.head.last);
            if !rising || !inside {
                return Err(Fault::unknown("a tile's positions are not its own"));
            }
            self.expected = at.iter().copied().collect();
        }
        self.grow(&tile, root)?;
        self.tile = Some(tile);
        Ok(())
    }

    /// Adds the tile's leaves to the older tree, as far as that went.
    fn grow(&mut self, tile: &Tile, root: Hash) -> Result<(), Fault> {
        let (Some(grown), Some(older)) = (&mut self.grown, &self.older) else {
            return Ok(());
        };
        let wanted = older.size.saturating_sub(grown.size());
        if wanted == 0 {
            return Ok(());
        }
        if wanted >= TILE && tile.leaves().len() == 256 {
            grown.push(8, root);
        } else {
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            tile.leaves()
                .iter()
                .take(wanted)
                .for_each(|leaf| grown.push_leaf(*leaf));
        }
        if grown.size() == older.size {
            if grown.root() != older.root {
                return Err(Fault::nowhere("the older checkpoint is of another history"));
            }
            self.extends = true;
        }
        Ok(())
    }

    fn open_proof(&mut self, proof: Proof) -> Result<(), Fault> {
        self.nothing_is_missing()?;
        let size = self.checkpoint.size;
        let follows = match proof.purpose.as_deref() {
            Some(PRICES) => {
                let before_all = self.tile.is_none() && self.at == self.head.first - 1;
                let end = if self.is_of_shard() {
                    self.head.first - 1
                } else {
                    self.head.last
                };
                before_all && proof.position > self.last_price_book && proof.position <= end
            }
            None => !self.is_of_shard() && proof.position > self.at && proof.position <= self.head.last,
            Some(_) => false,
        };
        if !follows || proof.position == 0 || proof.position > size {
            return Err(Fault::unknown("a proof that is not the scope's"));
        }
        if proof.purpose.is_none() {
            self.begins_at(proof.position)?;
        }
        self.proof = Some(proof);
        Ok(())
    }

    fn consistency(&mut self, line: &Consistency) -> Result<(), Fault> {
        let Some(older) = self.older.as_ref().filter(|older| older.size == line.from) else {
            return Ok(());
        };
        let newer = (self.checkpoint.size, &self.checkpoint.root);
        if !merkle::extends((older.size, &older.root), newer, &line.path()) {
            return Err(Fault::nowhere("the older checkpoint is of another history"));
        }
        self.extends = true;
        Ok(())
    }

    fn end(&mut self, end: &End) -> Result<(), Fault> {
        self.nothing_is_missing()?;
        if self.at < self.head.last {
            let next = if self.is_of_shard() {
                self.at.saturating_add(1)
            } else {
                self.head.last
            };
            return Err(Fault::at(next, "the event is missing"));
        }
        if end.events != self.events {
            return Err(Fault::nowhere("the last line counts other events"));
        }
        if end.sha256 != hex(&self.ours.clone().finalize()) {
            return Err(Fault::nowhere("the last line is of other lines"));
        }
        if !self.extends {
            return Err(Fault::unknown(
                "the file does not show that its checkpoint extends the older one; export it with --checkpoint",
            ));
        }
        self.ended = true;
        Ok(())
    }

    /// The file is over.
    pub(super) fn close(&self) -> Result<(), Fault> {
        if self.ended {
            Ok(())
        } else {
            Err(Fault::unknown("the file is incomplete"))
        }
    }
}

/// The root over the leaf hashes of a tile.
pub(crate) fn root_of(leaves: &[Hash]) -> Hash {
    let mut tree = Grown::default();
    leaves.iter().for_each(|leaf| tree.push_leaf(*leaf));
    tree.root()
}
