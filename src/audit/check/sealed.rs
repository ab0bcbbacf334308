//! What was signed, against what the events come to.

use std::collections::VecDeque;

use super::{CheckError, CheckOptions, Checked, Known};
use crate::audit::note::{Checkpoint, Note, VerifierKey};
use crate::audit::tree::{Edge, FullTile, SealedCheckpoint};

const PAGE: u32 = 1_000;

/// The checkpoints that are still to come, by size.
pub(super) struct Seals<'a> {
    options: &'a CheckOptions,
    next: VecDeque<Known>,
    /// Of those in the database, the size of the last that was read.
    read: u64,
    at_end: bool,
    /// From outside, by size.
    known: VecDeque<Known>,
    /// Events under the last checkpoint that was true.
    good: u64,
    /// The same, of those from outside.
    good_outside: u64,
    first_unkept: Option<u64>,
}

impl<'a> Seals<'a> {
    pub(super) fn new(options: &'a CheckOptions) -> Seals<'a> {
        let mut known = options.known.clone();
        known.sort_by_key(|known| known.checkpoint.size);
        Seals {
            options,
            next: VecDeque::new(),
            read: 0,
            at_end: false,
            known: known.into(),
            good: 0,
            good_outside: 0,
            first_unkept: None,
        }
    }

    /// Compares the checkpoints of exactly this size.
    pub(super) async fn at(&mut self, edge: &Edge, checked: &mut Checked) -> Result<(), CheckError> {
        self.fill(checked).await?;
        loop {
            let due = |known: &Known| known.checkpoint.size <= edge.size();
            let next = match (self.next.pop_front_if(|known| due(known)), self.known.front()) {
                (Some(next), _) => next,
                (None, Some(known)) if due(known) => match self.known.pop_front() {
                    Some(known) => known,
                    None => return Ok(()),
                },
                (None, Some(_) | None) => return Ok(()),
            };
            self.compare(&next, edge, checked).await?;
            self.fill(checked).await?;
        }
    }

    async fn compare(&mut self, known: &Known, edge: &Edge, checked: &mut Checked) -> Result<(), CheckError> {
        let Known { from, checkpoint } = known;
        let outside = self.options.known.contains(known);
        if checkpoint.root == edge.root() {
            self.good = self.good.max(checkpoint.size);
            if outside {
                self.good_outside = self.good_outside.max(checkpoint.size);
            }
            checked.sealed = self.good;
            return Ok(());
        }
        // One from outside that is not true says that those in the database are not to be believed either.
        let good = if outside { self.good_outside } else { self.good };
        let what = format!(
            "{from} over {} events has another root than they give: something was changed at a position from {} to {}",
            checkpoint.size,
            good + 1,
            checkpoint.size
        );
        // Where the tiles give what was signed, they are as they were, and the event that differs from them is told by itself.
        let told_by_tile = matches!(self.options.tree.root(checkpoint.size).await, Ok(root) if root == checkpoint.root);
        checked.find((!told_by_tile).then_some(good + 1), what);
        Ok(())
    }

    /// Whether an event up to this position is what was signed, whatever else says.
    pub(super) fn is_good(&self, position: u64) -> bool {
        position <= self.good
    }

    /// Reads more of the checkpoints in the database.
    async fn fill(&mut self, checked: &mut Checked) -> Result<(), CheckError> {
        while self.next.is_empty() && !self.at_end {
            let page = self.options.tree.store().checkpoints(self.read, PAGE).await?;
            self.at_end = page.is_empty();
            for sealed in page {
                self.read = sealed.size;
                checked.checkpoints += 1;
                self.next.extend(self.signed(&sealed, checked));
            }
        }
        Ok(())
    }

    /// A checkpoint out of the database, if it is one and its row says the same.
    fn signed(&self, sealed: &SealedCheckpoint, checked: &mut Checked) -> Option<Known> {
        let from = "the checkpoint".to_owned();
        let note = Note::parse(&sealed.note).ok();
        let checkpoint = note.as_ref().and_then(|note| Checkpoint::parse(&note.text).ok());
        let same = checkpoint
            .as_ref()
            .is_some_and(|said| said.size == sealed.size && said.root == sealed.root);
        let (Some(note), Some(checkpoint), true) = (note, checkpoint, same) else {
            let what = format!("the checkpoint over {} events is not what its row says", sealed.size);
            checked.find(None, what);
            return None;
        };
        let by = |key: &VerifierKey| key.name() == checkpoint.origin && key.signed(&note) == Ok(true);
        if !self.options.keys.is_empty() && !self.options.keys.iter().any(by) {
            let what = format!(
                "the checkpoint over {} events is signed by none of the keys",
                sealed.size
            );
            checked.find(None, what);
            return None;
        }
        Some(Known { from, checkpoint })
    }

    /// A full tile that is not kept: no harm until something over it was signed.
    pub(super) fn unkept(&mut self, tile: &FullTile) {
        if tile.level == 0 {
            self.first_unkept.get_or_insert(tile.index);
        }
    }

    /// What was signed and is not there.
    pub(super) async fn end(&mut self, edge: &Edge, head: u64, checked: &mut Checked) -> Result<(), CheckError> {
        self.fill(checked).await?;
        let mut beyond: Vec<Known> = self.known.drain(..).collect();
        while let Some(next) = self.next.pop_front() {
            beyond.push(next);
            self.fill(checked).await?;
        }
        // The log may have grown, and been sealed, while it was read.
        let now = self.options.tree.log().head().await?.position.0;
        let gone = beyond
            .iter()
            .filter(|known| known.checkpoint.size > now)
            .max_by_key(|known| known.checkpoint.size);
        if let Some(known) = gone {
            let what = format!(
                "the log ends at position {now}, but {} covers {} events: positions {} to {} are missing",
                known.from,
                known.checkpoint.size,
                now + 1,
                known.checkpoint.size
            );
            checked.find(Some(now + 1), what);
        }
        let whole = edge.size() >= head;
        if let Some(tile) = self.first_unkept.filter(|tile| whole && (tile + 1) * 256 <= self.good) {
            checked.find(None, format!("tile {tile} of level 0 is missing, and was signed"));
        }
        Ok(())
    }
}
