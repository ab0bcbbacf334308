//! `keyledger bench`: measures on servers of its own that really write to disk, unless it is given a database.

mod among_others;
mod audit;
mod gateway;
mod ground;
mod pages;
mod processor;
mod single;
mod start;
mod suite;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use keyledger::bench::{Figure, Settings};

use super::telemetry;
use ground::Ground;
use single::{Asked, Single, peers_beside};

#[derive(Debug, Args)]
pub struct Bench {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Verify a key and hold credits, in process: durable commands a second
    Commands(Common),
    /// One process's part of `commands --processes`
    #[command(hide = true)]
    CommandsAmongOthers(among_others::Part),
    /// Verify, hold, charge, in process: whole cycles a second
    Cycles(Common),
    /// Bytes on the disk for each event that `commands` wrote
    Disk(Common),
    /// `POST /v1/reservations` over HTTP
    Http(Common),
    /// What the gateway adds to a request, beside a bare proxy of the same make and nginx where it is installed
    Gateway(Common),
    /// How far all views are behind the log while 10,000 events a second are written
    Project(Common),
    /// All views anew, from a log that is written first
    Rebuild(Common),
    /// A start before a long log: time to ready, memory, commands for accounts that are not in memory, a key's history
    Start(start::StartArgs),
    /// What sealing costs a load, how fast a log is sealed, how soon an event is proven
    Audit(audit::AuditArgs),
    /// How soon the customer's pages answer when an account has very many keys and a long history
    Pages(pages::PagesArgs),
    /// Yardstick: rows and indexes as the log's, a thousand a statement, nothing else
    Limit(Common),
    /// Yardstick: whole cycles in hand-written SQL, a SQL transaction for each command
    HandSql(Common),
    /// Yardstick: whole cycles in hand-written SQL, one statement for each command
    HandSqlStatement(Common),
    /// Yardstick: Postgres's own pgbench, one row a commit
    Pgbench(Common),
    /// Yardstick: cqrs-es on Postgres, verify and hold as two events; needs the program of bench/peers
    CqrsEs(Common),
    /// Yardstick: an axum handler that sends back the JSON that it was sent
    Echo(Common),
    /// Everything in turn, several times, with ratios; what `bench` does by itself
    All(suite::SuiteArgs),
}

/// What every measurement can be told.
#[derive(Debug, Args)]
struct Common {
    /// Operations, or connections, at once
    #[arg(long)]
    callers: Option<usize>,
    #[arg(long, default_value_t = 1_000)]
    accounts: usize,
    #[arg(long, default_value_t = 1)]
    shards: u16,
    /// How long it is measured
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Relay and projectors work beside the writer
    #[arg(long)]
    workers: bool,
    /// `commands` alone: how many processes share callers and accounts
    #[arg(long, default_value_t = 1)]
    processes: usize,
    /// Added to each wait for the disk, in microseconds; needs strace, and a server of our own
    #[arg(long, default_value_t = 0)]
    slow_disk_us: u64,
    /// `commands` alone: events that the log holds already, of a hundredth as many accounts
    #[arg(long, default_value_t = 0)]
    log_events: u64,
    /// One line of JSON instead of a table
    #[arg(long)]
    json: bool,
    /// The program of bench/peers; when absent, the one that lies beside this program
    #[arg(long)]
    peers: Option<PathBuf>,
    /// A database to fill, as its owner; a server of our own when absent
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
}

impl Common {
    fn each(&self) -> Duration {
        Duration::from_secs(self.seconds.max(1))
    }

    fn settings(&self, callers: usize) -> Settings {
        Settings {
            callers: self.callers.unwrap_or(callers).max(1),
            accounts: self.accounts.max(1),
            shards: self.shards.max(1),
            each: self.each(),
        }
    }
}

/// Measures what is asked for.
pub async fn run(bench: Bench) -> anyhow::Result<()> {
    match bench.what {
        Some(What::Commands(asked)) => one(Single::Commands, asked).await,
        Some(What::CommandsAmongOthers(part)) => among_others::run(part).await,
        Some(What::Cycles(asked)) => one(Single::Cycles, asked).await,
        Some(What::Disk(asked)) => one(Single::Disk, asked).await,
        Some(What::Http(asked)) => one(Single::Http, asked).await,
        Some(What::Gateway(asked)) => gateway::run(asked).await,
        Some(What::Project(asked)) => one(Single::Project, asked).await,
        Some(What::Rebuild(asked)) => one(Single::Rebuild, asked).await,
        Some(What::Start(asked)) => start::run(asked).await,
        Some(What::Audit(asked)) => audit::run(asked).await,
        Some(What::Pages(asked)) => pages::run(asked).await,
        Some(What::Limit(asked)) => one(Single::Limit, asked).await,
        Some(What::HandSql(asked)) => one(Single::HandSql, asked).await,
        Some(What::HandSqlStatement(asked)) => one(Single::HandSqlStatement, asked).await,
        Some(What::Pgbench(asked)) => one(Single::Pgbench, asked).await,
        Some(What::CqrsEs(asked)) => one(Single::CqrsEs, asked).await,
        Some(What::Echo(asked)) => one(Single::Echo, asked).await,
        Some(What::All(asked)) => suite::run(asked).await,
        None => suite::run(suite::SuiteArgs::default()).await,
    }
}

async fn one(what: Single, asked: Common) -> anyhow::Result<()> {
    let slow_disk = (asked.slow_disk_us > 0).then(|| Duration::from_micros(asked.slow_disk_us));
    let mut ground = Ground::prepare_on(asked.database_url.clone(), slow_disk).await?;
    let told = Asked {
        settings: asked.settings(what.callers()),
        workers: asked.workers,
        processes: asked.processes.max(1),
        log_events: asked.log_events,
        peers: peers_beside(asked.peers)?,
        metrics: telemetry::metrics()?,
    };
    let measured = what.measure(&mut ground, &told).await;
    ground.leave().await?;
    let mut figure = measured?;
    if asked.slow_disk_us > 0 {
        figure.settings.insert("slow_disk_us".to_owned(), asked.slow_disk_us);
    }
    if asked.json {
        return print_json(&figure);
    }
    table::head();
    table::line(&figure);
    Ok(())
}

fn print_json(figure: &Figure) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(figure)?);
    Ok(())
}
