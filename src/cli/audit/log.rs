//! `keyledger audit log`: everything that can be known about a live log, checked.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use keyledger::audit::check::{CheckError, CheckOptions, Checked, Finding, Known, check_log, check_stream};
use keyledger::audit::note::{Checkpoint, Note, VerifierKey};
use keyledger::audit::sealer::last_published;
use keyledger::audit::tree::{TileStore, Tree};
use keyledger::bus::Bus;
use keyledger::ledger::check_snapshots;
use keyledger::log::{Log as EventLog, open_pool, service_options};
use keyledger::projector::{View, check_views};
use keyledger_events::Shard;
use serde_json::json;

#[derive(Debug, Args)]
pub struct Log {
    #[arg(long, default_value_t = 0)]
    shard: u16,
    /// A key by which checkpoints are believed, as `keyledger audit key` prints it; several while one takes over
    #[arg(long = "key", value_name = "PUB")]
    keys: Vec<VerifierKey>,
    /// A checkpoint that was kept elsewhere, such as the sealer's `.signed` file or what a witness remembers; any number
    #[arg(long = "checkpoint", value_name = "FILE", requires = "keys")]
    checkpoints: Vec<PathBuf>,
    /// Leave out the comparison of views with the log
    #[arg(long)]
    without_views: bool,
    /// JSON
    #[arg(long)]
    json: bool,
    /// The database, as its owner
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// The bus, to compare what it remembers
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    nats_url: Option<String>,
    #[arg(long, env = "KEYLEDGER_STREAM_PREFIX", default_value = "KEYLEDGER")]
    stream_prefix: String,
}

const TAMPERED: u8 = 1;
const CONNECTIONS_MAX: u32 = 4;

/// Exit code 0 all is good, 1 something is wrong. What cannot be told is an error, and 2.
pub async fn run(asked: Log) -> anyhow::Result<u8> {
    let shard = Shard(asked.shard);
    let pool = open_pool(service_options(&asked.database_url)?, CONNECTIONS_MAX);
    let log = EventLog::new(pool.clone(), shard);
    let bus = match &asked.nats_url {
        Some(url) => Some(Bus::connect(url, &asked.stream_prefix).await?),
        None => None,
    };
    let mut known = Vec::new();
    for path in &asked.checkpoints {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let checkpoint = believed(&text, &asked.keys)
            .with_context(|| format!("{} is no checkpoint of these keys", path.display()))?;
        known.push(Known {
            from: format!("the checkpoint in {}", path.display()),
            checkpoint,
        });
    }
    if let Some(bus) = &bus
        && let Some(checkpoint) = last_published(bus, shard)
            .await
            .and_then(|note| believed(&note, &asked.keys))
    {
        known.push(Known {
            from: "the newest checkpoint on the bus".to_owned(),
            checkpoint,
        });
    }
    let options = CheckOptions {
        tree: Tree::new(log.clone(), TileStore::new(pool, shard)),
        keys: asked.keys.clone(),
        known,
    };
    let bar = bar()?;
    let mut checked = check_log(&options, |read, all| {
        bar.set_length(all);
        bar.set_position(read);
    })
    .await?;
    bar.finish_and_clear();
    let compared = snapshots(&log, &mut checked).await;
    let snapshots = or_found(compared, "the snapshots", &mut checked)?;
    let messages = match &bus {
        Some(bus) => {
            let compared = check_stream(&log, bus, &mut checked).await;
            or_found(compared, "the stream", &mut checked)?
        }
        None => None,
    };
    if !asked.without_views {
        let compared = views(&asked.database_url, &mut checked).await;
        or_found(compared, "the views", &mut checked)?;
    }
    if asked.json {
        let told = json!({
            "shard": asked.shard, "events": checked.events, "checkpoints": checked.checkpoints, "sealed": checked.sealed,
            "snapshots": snapshots, "messages": messages, "signatures": !asked.keys.is_empty(), "good": checked.found == 0,
            "last_good": checked.last_good, "found": checked.found, "findings": checked.findings,
        });
        println!("{told}");
    } else {
        tell(&checked, snapshots, messages, !asked.keys.is_empty());
    }
    Ok(if checked.found == 0 { 0 } else { TAMPERED })
}

fn bar() -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} events, {per_sec}, {eta} left")?;
    Ok(ProgressBar::new(0).with_style(style))
}

/// A checkpoint that one of the keys signed.
fn believed(note: &str, keys: &[VerifierKey]) -> Option<Checkpoint> {
    let note = Note::parse(note).ok()?;
    let checkpoint = Checkpoint::parse(&note.text).ok()?;
    let signed = |key: &VerifierKey| key.name() == checkpoint.origin && key.signed(&note) == Ok(true);
    keys.iter().any(signed).then_some(checkpoint)
}

fn find(checked: &mut Checked, what: String) {
    checked.found += 1;
    checked.findings.push(Finding { position: None, what });
}

/// What cannot be compared is not known; but where something is wrong already, that is told, and this beside it.
fn or_found<T>(
    compared: Result<T, impl Into<anyhow::Error>>,
    what: &str,
    checked: &mut Checked,
) -> anyhow::Result<Option<T>> {
    match compared.map_err(Into::into) {
        Ok(compared) => Ok(Some(compared)),
        Err(error) if checked.found > 0 => {
            find(checked, format!("{what} cannot be compared: {error:#}"));
            Ok(None)
        }
        Err(error) => Err(error.context(format!("{what} cannot be compared"))),
    }
}

async fn snapshots(log: &EventLog, checked: &mut Checked) -> Result<u64, CheckError> {
    let (count, wrong) = check_snapshots(log).await?;
    for wrong in wrong {
        let what = format!(
            "the snapshot of {} at {} is not what its events come to",
            wrong.account, wrong.seq
        );
        find(checked, what);
    }
    Ok(count)
}

async fn views(database_url: &str, checked: &mut Checked) -> anyhow::Result<()> {
    let bar = bar()?;
    let outcomes = check_views(database_url, &View::ALL, |read, head| {
        bar.set_length(head);
        bar.set_position(read);
    })
    .await;
    bar.finish_and_clear();
    for (view, outcome) in outcomes? {
        match outcome {
            Ok(compared) if compared.rows_different == 0 => {}
            Ok(compared) => {
                let what = format!(
                    "{} rows of the view {view} are not what the log gives; `keyledger views check {view}`",
                    compared.rows_different
                );
                find(checked, what);
            }
            // What cannot be folded is wrong in the log, and was told; what cannot be reached is not known.
            Err(error) => _ = or_found(Err::<(), _>(error), &format!("the view {view}"), checked)?,
        }
    }
    Ok(())
}

fn tell(checked: &Checked, snapshots: Option<u64>, messages: Option<u64>, signatures: bool) {
    println!(
        "{} events read, {} of them under {} checkpoints",
        checked.events, checked.sealed, checked.checkpoints
    );
    let of_bus = messages.map_or("the bus was not asked".to_owned(), |count| {
        format!("{count} messages on the bus")
    });
    let of_snapshots = snapshots.map_or("snapshots not compared".to_owned(), |count| {
        format!("{count} snapshots")
    });
    println!("{of_snapshots}; {of_bus}");
    if !signatures {
        println!("signatures were not looked at: no --key was given");
    }
    if checked.found == 0 {
        return println!("all is good up to position {}", checked.last_good);
    }
    println!(
        "{} things are wrong; all is good up to position {}",
        checked.found, checked.last_good
    );
    for finding in &checked.findings {
        match finding.position {
            Some(position) => println!("  position {position}: {}", finding.what),
            None => println!("  {}", finding.what),
        }
    }
}
