//! `keyledger audit export`: a part of the log in one file, with its proofs.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use indicatif::{ProgressBar, ProgressStyle};
use keyledger::audit::export::{ExportOptions, GROUPS_AT_ONCE, Place, Wanted, export};
use keyledger::audit::note::{Checkpoint, Note};
use keyledger::audit::tree::{TileStore, Tree};
use keyledger::clock;
use keyledger::log::{Log, open_pool, service_options};
use keyledger_events::{AccountId, KeyId, Position, Shard, Timestamp};

/// Write a shard's, an account's or a key's events into a file that can be verified without a database.
///
/// The file ends with the newest checkpoint, where the log is not sealed further yet. `keyledger audit verify` and
/// `tools/verify.py` check it.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").args(["shard", "account", "key"]).required(true)))]
pub struct Export {
    /// All events of this shard
    #[arg(long, value_name = "NUMBER")]
    shard: Option<u16>,
    /// All events of this account
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<AccountId>,
    /// All events of this key
    #[arg(long, value_name = "KEY")]
    key: Option<KeyId>,
    /// From this position or moment on, such as 812, 2026-11-01 or 2026-11-01T12:00:00Z
    #[arg(long, value_name = "PLACE", value_parser = place)]
    from: Option<Place>,
    /// Up to this position, or before this moment
    #[arg(long, value_name = "PLACE", value_parser = place)]
    to: Option<Place>,
    /// A file with an older checkpoint: also show that the log still begins with what that one was of
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Go on with a file that was cut short, under the same checkpoint
    #[arg(long, conflicts_with_all = ["from", "to"])]
    resume: bool,
    /// The database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

/// Reading ahead, and a proof for each group that was read.
const CONNECTIONS_MAX: usize = GROUPS_AT_ONCE + 1;

/// A position, a moment, or a day, which begins at midnight in UTC.
pub(crate) fn place(text: &str) -> Result<Place, String> {
    if let Ok(position) = text.parse() {
        return Ok(Place::At(Position(position)));
    }
    let day = format!("{text}T00:00:00Z");
    let moment: Result<Timestamp, _> = text.parse().or_else(|_| day.parse());
    moment.map(Place::Moment).map_err(|_| {
        "a position such as 812, a day such as 2026-11-01, or a moment such as 2026-11-01T12:00:00Z".to_owned()
    })
}

pub async fn run(asked: Export) -> anyhow::Result<()> {
    let wanted = match (asked.account, asked.key) {
        (Some(account), _) => Wanted::Account(account),
        (None, Some(key)) => Wanted::Key(key),
        (None, None) => Wanted::Shard,
    };
    let shard = Shard(asked.shard.unwrap_or(0));
    let options = service_options(&asked.database_url).context("the database's address cannot be read")?;
    let pool = open_pool(options, u32::try_from(CONNECTIONS_MAX)?);
    let tree = Tree::new(Log::new(pool.clone(), shard), TileStore::new(pool, shard));
    let options = ExportOptions {
        wanted,
        from: asked.from,
        to: asked.to,
        older: asked.checkpoint.as_deref().map(size_of).transpose()?,
        out: asked.out.clone(),
        resume: asked.resume,
    };
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
        "{bar:40} {human_pos}/{human_len} positions, {per_sec}, {eta} left",
    )?);
    let exported = export(&tree, &options, clock::now(), |done, many| {
        bar.set_length(many);
        bar.set_position(done);
    })
    .await?;
    bar.finish_and_clear();
    let out = asked.out.display();
    let (first, last) = (exported.head.first, exported.head.last);
    println!(
        "{out}: {} events of positions {first} to {last}, {} bytes",
        exported.events, exported.bytes
    );
    if exported.witnesses_missing > 0 {
        let missing = exported.witnesses_missing;
        eprintln!(
            "keyledger: {missing} witness(es) have not signed a checkpoint that has this; `audit verify --witness` will say so"
        );
    }
    if exported.ends_early {
        eprintln!("keyledger: the log is not sealed further than position {last}; what comes after is not in the file");
    }
    Ok(())
}

fn size_of(file: &std::path::Path) -> anyhow::Result<u64> {
    let told = || format!("{} is no checkpoint", file.display());
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let note = Note::parse(&text).with_context(told)?;
    Ok(Checkpoint::parse(&note.text).with_context(told)?.size)
}
