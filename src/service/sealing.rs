//! The sealer of this process, and the look at what was signed before anything is started.

use std::time::{Duration, Instant};

use keyledger_events::Shard;
use tokio_util::sync::CancellationToken;

use crate::audit::note::{Checkpoint, Note, SignerKey, VerifierKey};
use crate::audit::sealer::{
    self, Memory, Missing, SealError, SealerHandle, SealerOptions, Signers, check_against, last_published, origin,
};
use crate::audit::tree::{Tree, TreeError};
use crate::bus::Bus;
use crate::config::AuditConfig;

/// For the bus to be reached: what it remembers is worth a moment, and no more.
const BUS_WITHIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Looks whether the log still has everything that was signed of it, as this sealer's own memory and the bus remember it.
///
/// Errors: positions are missing, or were changed. Nothing must be written onto such a log: it would take the place of what
/// is missing. A database or a bus that is away is no error.
pub(super) async fn check_at_start(config: &AuditConfig, tree: &Tree, bus: &Bus) -> anyhow::Result<()> {
    let shard = tree.shard();
    let verifiers = verifiers(&config.keys, &config.public_keys, shard);
    if verifiers.is_empty() {
        return Ok(());
    }
    let mut signed = Vec::new();
    if let (Some(directory), Some(key)) = (&config.state_dir, config.keys.first()) {
        let origin = origin(key.name(), shard);
        signed.extend(Memory::of(directory, &origin).last(&origin)?);
    }
    let since = Instant::now();
    while !bus.connected() && since.elapsed() < BUS_WITHIN {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    if let Some(note) = last_published(bus, shard).await {
        signed.extend(believed(&note, &verifiers));
    }
    for checkpoint in signed {
        let head = match tree.log().head().await {
            Ok(head) => head.position.0,
            Err(error) => {
                tracing::warn!(%error, "the log could not be compared with what was signed of it");
                return Ok(());
            }
        };
        if head < checkpoint.size {
            let missing = Missing {
                found: head,
                signed: checkpoint.size,
            };
            anyhow::bail!("{missing} Nothing is started on it");
        }
        match check_against(tree, &checkpoint).await {
            Ok(()) => {}
            // The tiles do not reach so far: whoever seals makes them, and compares.
            Err(SealError::Tree(TreeError::TileMissing { .. })) => {}
            Err(SealError::Tree(TreeError::Log(error))) => tracing::warn!(%error, "what was signed was not compared"),
            Err(SealError::Tree(TreeError::Store(error))) => tracing::warn!(%error, "what was signed was not compared"),
            Err(fault) => anyhow::bail!("{fault}. Nothing is started on it"),
        }
    }
    Ok(())
}

/// A checkpoint that one of the keys signed. Anybody may publish on the bus.
fn believed(note: &str, verifiers: &[VerifierKey]) -> Option<Checkpoint> {
    let note = Note::parse(note).ok()?;
    let checkpoint = Checkpoint::parse(&note.text).ok()?;
    let signed = |key: &VerifierKey| key.name() == checkpoint.origin && key.signed(&note) == Ok(true);
    verifiers.iter().any(signed).then_some(checkpoint)
}

/// By which keys the checkpoints of a shard are believed.
fn verifiers(keys: &[SignerKey], public: &[VerifierKey], shard: Shard) -> Vec<VerifierKey> {
    let own = Signers::new(keys, shard).map(|signers| signers.verifiers());
    let mut verifiers = own.unwrap_or_default();
    verifiers.extend_from_slice(public);
    verifiers
}

/// Starts the sealer, where the config file has a key.
pub(super) fn start(
    config: &AuditConfig,
    tree: Tree,
    bus: Bus,
    committed: tokio::sync::watch::Receiver<keyledger_events::Position>,
    stop: CancellationToken,
) -> anyhow::Result<Option<SealerHandle>> {
    let (Some(state_dir), false) = (&config.state_dir, config.keys.is_empty()) else {
        return Ok(None);
    };
    let options = SealerOptions {
        signers: Signers::new(&config.keys, tree.shard())?,
        state_dir: state_dir.clone(),
        tree,
        bus: Some(bus),
        witnesses: config.witnesses.clone(),
        committed: Some(committed),
    };
    Ok(Some(sealer::start(options, stop)))
}
