//! Growing, signing, publishing: one round after the other.

use std::time::Duration;

use keyledger_events::{Position, leaf_hash};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::memory::Memory;
use super::{SealError, SealerOptions, SealerStatus, Signers, wire, witnesses};
use crate::audit::note::{Checkpoint, Note};
use crate::audit::tree::{Edge, SealedCheckpoint, Tree};
use crate::bus::Bus;
use crate::clock;
use crate::log::as_gauge;

/// Events under one more checkpoint, at most.
const ROUND_EVENTS_MAX: u32 = 10_000;
/// A burst of so many wakes the sealer before its time.
const BURST: u64 = 8_000;
/// Between two checkpoints, where there is less than a burst.
const ROUND_PAUSE: Duration = Duration::from_millis(400);

/// Positions that were signed and are not in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the log ends at position {found}, but a checkpoint over {signed} events was signed: positions {} to {signed} are \
     missing. Was an older backup restored?",
    found + 1
)]
pub struct Missing {
    pub found: u64,
    pub signed: u64,
}

/// Checks that a tree still begins as a checkpoint says. The tree has at least as many events.
pub async fn check_against(tree: &Tree, checkpoint: &Checkpoint) -> Result<(), SealError> {
    if tree.root(checkpoint.size).await? == checkpoint.root {
        return Ok(());
    }
    Err(SealError::Fault(format!(
        "the first {} events of the log are not those that were signed: something at or before position {} was changed",
        checkpoint.size, checkpoint.size
    )))
}

/// One shard's sealer.
#[derive(Debug)]
pub(super) struct Sealer {
    tree: Tree,
    signers: Signers,
    memory: Memory,
    bus: Option<Bus>,
    committed: Option<watch::Receiver<Position>>,
    tell: watch::Sender<SealerStatus>,
    sealed: watch::Sender<Option<SealedCheckpoint>>,
    stream_made: bool,
}

impl Sealer {
    pub(super) fn new(options: SealerOptions, tell: watch::Sender<SealerStatus>, stop: &CancellationToken) -> Sealer {
        let sealed = watch::Sender::new(None);
        for witness in options.witnesses {
            witnesses::start(witness, options.tree.clone(), sealed.subscribe(), stop.clone());
        }
        Sealer {
            memory: Memory::of(&options.state_dir, options.signers.origin()),
            tree: options.tree,
            signers: options.signers,
            bus: options.bus,
            committed: options.committed,
            tell,
            sealed,
            stream_made: false,
        }
    }

    pub(super) fn note_fault(&self, error: &SealError) {
        let fault = error.to_string();
        let new = self.tell.send_if_modified(|status| {
            let new = status.fault.as_ref() != Some(&fault);
            status.fault = Some(fault.clone());
            new
        });
        if new {
            tracing::error!(%fault, "the log is not sealed any more");
        }
    }

    /// Finds out what was signed, and seals what comes until something goes wrong.
    pub(super) async fn session(&mut self) -> Result<std::convert::Infallible, SealError> {
        let mut edge = self.begin().await?;
        let mut must_have = self.memory.last(self.signers.origin())?;
        if let Some(last) = must_have.take_if(|last| last.size <= edge.size()) {
            check_against(&self.tree, &last).await?;
        }
        self.tell.send_replace(SealerStatus {
            size: edge.size(),
            fault: None,
        });
        loop {
            let grown = self.round(&mut edge, must_have.as_ref()).await?;
            if must_have.as_ref().is_some_and(|last| last.size <= edge.size()) {
                must_have = None;
            }
            if grown < u64::from(ROUND_EVENTS_MAX) {
                self.pause(edge.size()).await;
            }
        }
    }

    /// The tree under the newest checkpoint, which must be one of ours and still be true.
    async fn begin(&self) -> Result<Edge, SealError> {
        let Some(latest) = self.tree.store().latest().await? else {
            return Ok(Edge::default());
        };
        let checkpoint = self.ours(&latest)?;
        let edge = self.tree.read_edge(checkpoint.size).await?;
        if edge.root() == checkpoint.root {
            return Ok(edge);
        }
        Err(SealError::Fault(format!(
            "the checkpoint over {} events has another root than the log",
            checkpoint.size
        )))
    }

    /// Reads a checkpoint out of the database, which anybody with rights there may have written.
    fn ours(&self, sealed: &SealedCheckpoint) -> Result<Checkpoint, SealError> {
        let fault = |what: &str| SealError::Fault(format!("the checkpoint over {} events {what}", sealed.size));
        let note = Note::parse(&sealed.note).map_err(|_| fault("cannot be read"))?;
        let checkpoint = Checkpoint::parse(&note.text).map_err(|_| fault("cannot be read"))?;
        let signed = self
            .signers
            .verifiers()
            .iter()
            .try_fold(false, |found, key| Ok(found | key.signed(&note)?));
        match signed {
            Ok(true) => {}
            Ok(false) => {
                return Err(fault(
                    "is signed by none of our keys. A new key takes over while the old one still signs beside it",
                ));
            }
            Err(super::super::note::MalformedNote) => return Err(fault("has a forged signature")),
        }
        let same = checkpoint.origin == self.signers.origin() && checkpoint.size == sealed.size;
        if same && checkpoint.root == sealed.root {
            Ok(checkpoint)
        } else {
            Err(fault("is of another log, or another size or root than its row"))
        }
    }

    /// Seals what is there after the edge, and says how many events that were.
    async fn round(&mut self, edge: &mut Edge, must_have: Option<&Checkpoint>) -> Result<u64, SealError> {
        if let Some(theirs) = self.overtaken(edge).await? {
            *edge = theirs;
            self.tell.send_replace(SealerStatus {
                size: edge.size(),
                fault: None,
            });
        }
        let before = edge.size();
        // What was signed once is come to exactly, to be compared before anything else is signed.
        let limit = must_have.map_or(ROUND_EVENTS_MAX, |last| {
            u32::try_from(last.size - before)
                .unwrap_or(u32::MAX)
                .min(ROUND_EVENTS_MAX)
        });
        let stored = self
            .tree
            .log()
            .read_along(Position(before), limit)
            .await
            .map_err(super::TreeError::from)?;
        if stored.is_empty() {
            return match must_have {
                Some(last) => Err(SealError::Fault(
                    Missing {
                        found: before,
                        signed: last.size,
                    }
                    .to_string(),
                )),
                None => self.still_there(before).await,
            };
        }
        let mut tiles = Vec::new();
        let mut next = edge.clone();
        for event in &stored {
            let position = next.size() + 1;
            if event.position.0 != position {
                return Err(super::TreeError::EventMissing { position }.into());
            }
            next.push(leaf_hash(&event.body), |tile| tiles.push(tile));
        }
        let root = next.root();
        match must_have {
            Some(last) if next.size() < last.size => self.tree.store().keep(&tiles).await?,
            Some(last) if root != last.root => {
                return Err(SealError::Fault(format!(
                    "the first {} events of the log are not those that were signed",
                    last.size
                )));
            }
            Some(_) | None => {
                let note = self.signers.sign(next.size(), root).to_text();
                self.memory.keep(&note)?;
                self.publish(next.size(), root, note, &tiles).await?;
            }
        }
        *edge = next;
        Ok(edge.size() - before)
    }

    /// The log may not become shorter while nothing is written to it.
    async fn still_there(&self, sealed: u64) -> Result<u64, SealError> {
        let head = self.tree.log().head().await.map_err(super::TreeError::from)?;
        if head.position.0 < sealed {
            let missing = Missing {
                found: head.position.0,
                signed: sealed,
            };
            return Err(SealError::Fault(missing.to_string()));
        }
        Ok(0)
    }

    async fn publish(
        &mut self,
        size: u64,
        root: [u8; 32],
        note: String,
        tiles: &[crate::audit::tree::FullTile],
    ) -> Result<(), SealError> {
        let sealed = SealedCheckpoint {
            size,
            root,
            note,
            made_at: clock::now(),
            cosignatures: Vec::new(),
        };
        self.tree.store().publish(&sealed, tiles).await?;
        self.tell.send_replace(SealerStatus { size, fault: None });
        metrics::gauge!("keyledger_sealed_events", "shard" => self.tree.shard().to_string()).set(as_gauge(size));
        if let Some(bus) = &self.bus {
            if !self.stream_made {
                self.stream_made = wire::prepare(bus).await;
            }
            if self.stream_made && !wire::publish(bus, self.tree.shard(), size, &sealed.note).await {
                tracing::debug!(size, "the checkpoint is not on the bus");
                self.stream_made = false;
            }
        }
        self.sealed.send_replace(Some(sealed));
        Ok(())
    }

    /// The edge of a newer checkpoint that another sealer made, once it is seen to extend ours.
    async fn overtaken(&self, edge: &Edge) -> Result<Option<Edge>, SealError> {
        let Some(latest) = self.tree.store().latest().await? else {
            return if edge.size() == 0 {
                Ok(None)
            } else {
                Err(SealError::Fault(
                    "the checkpoints that were published are gone".to_owned(),
                ))
            };
        };
        if latest.size <= edge.size() {
            return Ok(None);
        }
        let theirs = self.begin().await?;
        if self.tree.root(edge.size()).await? != edge.root() {
            return Err(SealError::Fault(format!(
                "the checkpoint over {} events does not extend the one over {}",
                latest.size,
                edge.size()
            )));
        }
        Ok(Some(theirs))
    }

    /// Until the next checkpoint is due.
    async fn pause(&mut self, sealed: u64) {
        let closed = match &mut self.committed {
            None => return tokio::time::sleep(ROUND_PAUSE).await,
            Some(committed) => {
                let burst = committed.wait_for(|position| position.0.saturating_sub(sealed) >= BURST);
                matches!(tokio::time::timeout(ROUND_PAUSE, burst).await, Ok(Err(_)))
            }
        };
        if closed {
            self.committed = None;
        }
    }
}
