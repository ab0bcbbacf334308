//! `keyledger archive`: old events as files outside Postgres.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use keyledger::archive::{Archive as Files, ArchiveError, BUNDLES_MAX, Environment, Place, Segment, hex};
use keyledger::bus::Bus;
use keyledger::clock;
use keyledger::log::{Log, Moved, Moving, ReadError, SegmentFault, Until, open_pool, service_options};
use keyledger_events::{Position, Shard, Timestamp};
use serde_json::json;

/// Old events as files outside Postgres. Everything that reads the log reads them there.
#[derive(Debug, Args)]
pub struct Archive {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Move(Move),
    /// Which segments there are
    List(Look),
    /// Whether each segment still is what it was: exit code 0 it is, 1 it is not, 2 cannot tell
    Check(Look),
}

/// Move events from before a moment into segment files, each read back and compared before its rows leave Postgres
///
/// Whole segments only, and only those that every view has folded, the bus has (where NATS_URL says where it is), and a
/// checkpoint covers (where there are any). May be stopped and run again at any moment. Exit code 0: what may go is gone;
/// 2: something did not go.
#[derive(Debug, Args)]
struct Move {
    /// Events from before this moment, such as 2026-11-01 or 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = super::reprice::moment)]
    before: Timestamp,
    /// Where to: a directory that is there, or s3://bucket/prefix?endpoint=https://host&region=name, with the credentials in
    /// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
    #[arg(long, value_name = "PLACE", env = "KEYLEDGER_ARCHIVE")]
    to: String,
    #[arg(long, default_value_t = 0)]
    shard: u16,
    /// Events of a segment, in bundles of 256
    #[arg(long, value_name = "N", default_value_t = BUNDLES_MAX, value_parser = clap::value_parser!(u32).range(1..=i64::from(BUNDLES_MAX)))]
    bundles: u32,
    /// The database, as its owner
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// The NATS server, to move only what it has
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    nats_url: Option<String>,
    /// Begins the names of JetStream streams
    #[arg(long, env = "KEYLEDGER_STREAM_PREFIX", default_value = "KEYLEDGER")]
    stream_prefix: String,
}

#[derive(Debug, Args)]
struct Look {
    #[arg(long, default_value_t = 0)]
    shard: u16,
    /// A line of JSON for each segment
    #[arg(long)]
    json: bool,
    /// The database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

const CORRUPT: u8 = 1;
const CANNOT_TELL: u8 = 2;
const CONNECTIONS_MAX: u32 = 2;

pub async fn run(archive: Archive) -> ExitCode {
    let done = match archive.what {
        What::Move(asked) => moved(&asked).await.map(|()| 0),
        What::List(look) => listed(&look).await.map(|()| 0),
        What::Check(look) => checked(&look).await,
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("keyledger: {error:#}");
            ExitCode::from(CANNOT_TELL)
        }
    }
}

async fn moved(asked: &Move) -> anyhow::Result<()> {
    anyhow::ensure!(asked.before <= clock::now(), "--before has to be in the past");
    Place::parse(&asked.to)?;
    let shard = Shard(asked.shard);
    let until = Until {
        before: asked.before,
        relayed: relayed(asked, shard).await?,
    };
    // What is written is read back from where it was written.
    let files = Files::new(Environment::read().where_the_database_says());
    let opened = Moving::open(&asked.database_url, shard, files, asked.to.clone(), asked.bundles);
    let mut moving = opened.await?;
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::with_template(
        "{spinner} {human_pos} events moved, {elapsed}",
    )?);
    let (mut segments, mut events) = (0_u64, 0);
    let stays = loop {
        match moving.step(&until).await {
            Ok(Moved::Segment(segment)) => {
                segments += 1;
                events += segment.events();
                bar.set_position(events);
            }
            Ok(Moved::Stays(stays)) => break stays,
            Err(error) => {
                bar.finish_and_clear();
                println!("{segments} segments with {events} events were moved before");
                return Err(error.into());
            }
        }
    };
    bar.finish_and_clear();
    println!("{segments} segments with {events} events are moved; {stays}");
    Ok(())
}

/// How far the bus has the log, where it was said where the bus is.
async fn relayed(asked: &Move, shard: Shard) -> anyhow::Result<Option<Position>> {
    let Some(url) = &asked.nats_url else {
        return Ok(None);
    };
    let bus = Bus::connect(url, &asked.stream_prefix).await?;
    let position = bus.last_position(shard).await;
    position
        .map(Some)
        .with_context(|| format!("the bus cannot say what it has of shard {shard}: without NATS_URL it is not asked"))
}

fn log(look: &Look) -> anyhow::Result<Log> {
    let options = service_options(&look.database_url).context("the database's address cannot be read")?;
    Ok(Log::new(open_pool(options, CONNECTIONS_MAX), Shard(look.shard)))
}

/// Hands every segment to `each`, in order.
async fn each_segment(log: &Log, mut each: impl AsyncFnMut(&Segment) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut after = Position::START;
    loop {
        let segments = log.segments_after(after).await?;
        let Some(last) = segments.last() else { return Ok(()) };
        after = last.last;
        for segment in &segments {
            each(segment).await?;
        }
    }
}

async fn listed(look: &Look) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["segment", "first", "last", "from", "to", "bytes", "place", "name"]);
    let log = log(look)?;
    each_segment(&log, async |segment| {
        if look.json {
            println!("{}", line(segment));
        } else {
            table.add_row([
                segment.number.to_string(),
                segment.first.to_string(),
                segment.last.to_string(),
                segment.first_at.to_string(),
                segment.last_at.to_string(),
                segment.bytes.to_string(),
                segment.place.clone(),
                segment.name.clone(),
            ]);
        }
        Ok(())
    })
    .await?;
    if !look.json {
        println!("{table}");
    }
    Ok(())
}

fn line(segment: &Segment) -> serde_json::Value {
    json!({
        "segment": segment.number,
        "first": segment.first.0,
        "last": segment.last.0,
        "first_at": segment.first_at,
        "last_at": segment.last_at,
        "bytes": segment.bytes,
        "sha256": hex(&segment.sha256),
        "place": segment.place,
        "name": segment.name,
    })
}

async fn checked(look: &Look) -> anyhow::Result<u8> {
    let log = log(look)?;
    let (mut worst, mut segments, mut events) = (0, 0_u64, 0);
    each_segment(&log, async |segment| {
        let checked = log.check_segment(segment).await;
        segments += 1;
        events += segment.events();
        let fault = checked.as_ref().err().map(ToString::to_string);
        worst = worst.max(checked.as_ref().map_or_else(code, |()| 0));
        if look.json {
            let mut line = line(segment);
            line["fault"] = json!(fault);
            println!("{line}");
        } else if let Some(fault) = fault {
            println!("{fault}");
        }
        Ok(())
    })
    .await?;
    if worst == 0 && !look.json {
        println!("{segments} segments with {events} events are what they were");
    }
    Ok(worst)
}

fn code(fault: &SegmentFault) -> u8 {
    match fault {
        SegmentFault::Entries { .. } | SegmentFault::Read(ReadError::Archive(ArchiveError::Corrupt { .. })) => CORRUPT,
        SegmentFault::Read(_) => CANNOT_TELL,
    }
}
