//! What proof costs: sealing beside a load, sealing a log that is there, proofs from it, exporting and verifying it.

use std::path::Path;
use std::time::{Duration, Instant};

use keyledger_events::Shard;
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::bank::Bank;
use super::commands::{Work, load};
use super::figure::{Figure, a_second};
use super::filled::{Filling, fill};
use crate::audit::export::{ExportOptions, Wanted, export};
use crate::audit::file::{Asked, Verdict, verify};
use crate::audit::note::SignerKey;
use crate::audit::sealer::{self, SealerHandle, SealerOptions, Signers};
use crate::audit::tree::{TileStore, Tree};
use crate::log::{Log, open_pool, service_options};

const CONNECTIONS: u32 = 4;
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const PROOFS: u64 = 2_000;
/// Of nothing but this measurement.
const NAME: &str = "bench.keyledger.localhost";
const SEED: [u8; 32] = [7; 32];

/// A tree over a database's log, through connections of its own. `beside`: the log of the ledger in whose process it is.
fn tree(database_url: &str, beside: Option<&Log>) -> anyhow::Result<Tree> {
    let pool = open_pool(service_options(database_url)?, CONNECTIONS);
    let shard = Shard(0);
    let log = beside.map_or_else(|| Log::new(pool.clone(), shard), |log| log.through(pool.clone()));
    Ok(Tree::new(log, TileStore::new(pool, shard)))
}

/// The key that the bench's logs are sealed with.
pub fn bench_key() -> anyhow::Result<Signers> {
    Ok(Signers::new(&[SignerKey::from_seed(NAME, SEED)?], Shard(0))?)
}

fn seal(
    tree: Tree,
    directory: &Path,
    committed: Option<tokio::sync::watch::Receiver<keyledger_events::Position>>,
    stop: &CancellationToken,
) -> anyhow::Result<SealerHandle> {
    let options = SealerOptions {
        tree,
        signers: bench_key()?,
        state_dir: directory.to_owned(),
        bus: None,
        witnesses: Vec::new(),
        committed,
    };
    Ok(sealer::start(options, stop.clone()))
}

async fn sealed(sealer: &SealerHandle, size: u64) -> anyhow::Result<()> {
    loop {
        let status = sealer.status();
        if let Some(fault) = status.fault {
            anyhow::bail!("the log is not sealed: {fault}");
        }
        if status.size >= size {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Verify-and-reserve with a sealer beside it, which has sealed everything at the end.
pub async fn commands_sealed(database_url: &str, directory: &Path, settings: &Settings) -> anyhow::Result<Figure> {
    let bank = Bank::open(database_url, settings.accounts, 1).await?;
    let stop = CancellationToken::new();
    let committed = bank.ledgers().next().map(crate::ledger::Ledger::committed);
    let tree = tree(database_url, bank.logs().first())?;
    let sealer = seal(tree.clone(), directory, committed, &stop)?;
    let figure = load("commands-sealed", Work::Reserve, &bank, settings).await?;
    let begin = Instant::now();
    sealed(&sealer, tree.log().head().await?.position.0).await?;
    stop.cancel();
    bank.close().await?;
    Ok(figure
        .with("sealer_behind_ms", begin.elapsed().as_millis())
        .of_events(2))
}

/// Fills a log, seals it from its beginning, proves events all over it, exports it and verifies that: a figure for each.
pub async fn seal_and_prove(database_url: &str, directory: &Path, events: u64) -> anyhow::Result<Vec<Figure>> {
    let accounts = (events / 100).max(1);
    let filling = Filling {
        accounts,
        keys: accounts,
        holds: 0,
        events,
    };
    let filled = fill(database_url, filling).await?;
    let tree = tree(database_url, None)?;
    let head = tree.log().head().await?.position.0;
    let stop = CancellationToken::new();
    let begin = Instant::now();
    let sealer = seal(tree.clone(), directory, None, &stop)?;
    sealed(&sealer, head).await?;
    stop.cancel();
    let mut sealing = Figure::of("seal", Vec::new(), 0, begin.elapsed()).with("events", filled.events);
    sealing.per_s = a_second(head, begin.elapsed());
    sealing.events_per_s = Some(sealing.per_s);
    let mut took = Vec::new();
    let begin = Instant::now();
    for number in 0..PROOFS {
        // All over the log, none beside the one before.
        let index = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % head;
        let one = Instant::now();
        tree.inclusion(index, head).await?;
        took.push(one.elapsed());
    }
    let proofs = Figure::of("inclusion-proof", took, 0, begin.elapsed()).with("events", filled.events);
    let mut figures = vec![sealing, proofs];
    figures.extend(export_and_verify(&tree, directory, filled.events).await?);
    Ok(figures)
}

/// Exports the whole log, and verifies the file: on one core, and on two.
async fn export_and_verify(tree: &Tree, directory: &Path, events: u64) -> anyhow::Result<Vec<Figure>> {
    let options = ExportOptions {
        wanted: Wanted::Shard,
        from: None,
        to: None,
        older: None,
        out: directory.join("export.ndjson"),
        resume: false,
    };
    let begin = Instant::now();
    let exported = export(tree, &options, crate::clock::now(), |_, _| {}).await?;
    let figure = |name, count, took: Duration| {
        let mut figure = Figure::of(name, Vec::new(), 0, took).with("events", events);
        figure.per_s = a_second(count, took);
        figure.events_per_s = Some(figure.per_s);
        figure.with("bytes", exported.bytes)
    };
    let mut figures = vec![figure("export", exported.events, begin.elapsed())];
    for (name, two_threads) in [("verify", false), ("verify-two-cores", true)] {
        let asked = Asked {
            keys: bench_key()?.verifiers(),
            ..Asked::default()
        };
        let file = std::fs::File::open(&options.out)?;
        let begin = Instant::now();
        let verdict = tokio::task::spawn_blocking(move || verify(file, &asked, two_threads, |_| {})).await?;
        if let Verdict::Bad(fault) = verdict {
            anyhow::bail!("the export is not good: {fault:?}");
        }
        figures.push(figure(name, exported.events, begin.elapsed()));
    }
    Ok(figures)
}
