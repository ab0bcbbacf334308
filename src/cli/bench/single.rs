//! One measurement by its name.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use keyledger::bench::{self, Figure, Settings, Style};
use metrics_exporter_prometheus::PrometheusHandle;

use super::ground::{Ground, scratch};
use super::processor::Processor;

/// What is measured by itself, on a database of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Single {
    /// Verify a key and hold credits, in process
    Commands,
    /// Verify, hold, charge, in process
    Cycles,
    /// Bytes on the disk for each event that `commands` wrote
    Disk,
    /// `POST /v1/reservations` over HTTP
    Http,
    /// How far views are behind the log at 10,000 events a second
    Project,
    /// All views anew
    Rebuild,
    /// Yardstick: rows and indexes as the log's, a thousand a statement, nothing else
    Limit,
    /// Yardstick: whole cycles in hand-written SQL, a SQL transaction for each command
    HandSql,
    /// Yardstick: whole cycles in hand-written SQL, one statement for each command
    HandSqlStatement,
    /// Yardstick: Postgres's own pgbench, one row a commit
    Pgbench,
    /// Yardstick: cqrs-es on Postgres, the same command as two events
    CqrsEs,
    /// Yardstick: an axum handler that sends back the JSON that it was sent
    Echo,
}

/// Where and how.
#[derive(Debug)]
pub struct Asked {
    pub settings: Settings,
    /// Relay and projectors work beside the writer.
    pub workers: bool,
    /// How many share the load: of `commands` alone.
    pub processes: usize,
    /// What the log holds before: of `commands` alone.
    pub log_events: u64,
    /// The program of bench/peers, where it was built.
    pub peers: Option<PathBuf>,
    pub metrics: PrometheusHandle,
}

impl Single {
    /// As many callers as suit it, if nobody says.
    pub fn callers(self) -> usize {
        match self {
            Single::Commands | Single::Cycles | Single::Disk | Single::Rebuild => 512,
            Single::Http | Single::Echo | Single::Project => 64,
            Single::HandSql | Single::HandSqlStatement | Single::CqrsEs => 32,
            Single::Limit | Single::Pgbench => 1,
        }
    }

    /// As on the command line.
    pub fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn needs_nats(self) -> bool {
        matches!(self, Single::Http | Single::Project)
    }

    /// Everything that it writes to the log is the ledger's own.
    fn writes_history(self) -> bool {
        match self {
            Single::Commands | Single::Cycles | Single::Disk | Single::Http | Single::Project | Single::Rebuild => true,
            Single::Limit
            | Single::HandSql
            | Single::HandSqlStatement
            | Single::Pgbench
            | Single::CqrsEs
            | Single::Echo => false,
        }
    }

    /// Measures, and checks what was written.
    pub async fn measure(self, ground: &mut Ground, asked: &Asked) -> anyhow::Result<Figure> {
        let settings = &asked.settings;
        let database = ground.database().await?;
        anyhow::ensure!(
            asked.log_events == 0 || (self == Single::Commands && !asked.workers && asked.processes == 1),
            "only `commands` by itself is measured on a log that was filled before"
        );
        anyhow::ensure!(
            asked.processes == 1 || (self == Single::Commands && !asked.workers),
            "only `commands` by itself is measured in several processes"
        );
        let nats = if self.needs_nats() || asked.workers || asked.processes > 1 {
            Some(ground.nats().await?)
        } else {
            None
        };
        let processor = Processor::watch(ground.pid());
        let mut figure = match self {
            Single::Commands if asked.processes > 1 => {
                let (program, nats) = (std::env::current_exe()?, nats.unwrap_or_default());
                bench::processes(&program, &database, &nats, settings, asked.processes).await?
            }
            Single::Commands if asked.log_events > 0 => bench::grown(&database, settings, asked.log_events).await?,
            Single::Commands => bench::commands(&database, nats.as_deref(), settings).await?,
            Single::Cycles => bench::cycles(&database, nats.as_deref(), settings).await?,
            Single::Disk => bench::disk(&database, settings).await?,
            Single::Http => {
                let nats = nats.unwrap_or_default();
                bench::http(&database, &nats, asked.metrics.clone(), settings).await?
            }
            Single::Project => bench::project(&database, &nats.unwrap_or_default(), settings).await?,
            Single::Rebuild => bench::rebuild_all(&database, settings).await?,
            Single::Limit => bench::limit(&database, settings).await?,
            Single::HandSql => bench::hand_sql(&database, settings, Style::Transaction).await?,
            Single::HandSqlStatement => bench::hand_sql(&database, settings, Style::Statement).await?,
            Single::Pgbench => bench::pgbench(&database, settings, &scratch("bench-pgbench")?).await?,
            Single::CqrsEs => {
                let program = asked.peers.as_deref();
                let program = program.context("the program of bench/peers is not built; see `make bench`")?;
                bench::peer(program, &database, settings).await?
            }
            Single::Echo => bench::echo(settings).await?,
        };
        figure.cpu = processor.split();
        if self.writes_history() {
            check(&database).await?;
        }
        Ok(figure)
    }
}

/// Checks what a measurement wrote to the log, and says on standard error how much that was.
pub async fn check(database_url: &str) -> anyhow::Result<()> {
    let checked = bench::check_history(database_url).await;
    let events = checked.context("what the measurement wrote is no sound history")?;
    eprintln!("checked {events} events");
    Ok(())
}

/// The program of bench/peers: the one that was named, or the one beside this program if it was built.
pub fn peers_beside(named: Option<PathBuf>) -> anyhow::Result<Option<PathBuf>> {
    if named.is_some() {
        return Ok(named);
    }
    let beside = std::env::current_exe()?.with_file_name("keyledger-peers");
    Ok(beside.exists().then_some(beside))
}
