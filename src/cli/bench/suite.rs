//! `keyledger bench all`: every figure beside its yardstick, in turn and several times, on one server.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use keyledger::bench::{Figure, Settings};

use super::ground::Ground;
use super::single::{Asked, Single};
use super::table;
use crate::cli::telemetry;

#[derive(Debug, Clone, Args)]
pub struct SuiteArgs {
    /// How often each is measured; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each is measured
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Where to write the figures, a line of JSON each
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Default for SuiteArgs {
    fn default() -> SuiteArgs {
        SuiteArgs {
            rounds: 3,
            seconds: 5,
            out: None,
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
struct Row {
    what: Single,
    callers: usize,
    accounts: usize,
    shards: u16,
    workers: bool,
}

const fn row(what: Single, callers: usize, accounts: usize) -> Row {
    Row {
        what,
        callers,
        accounts,
        shards: 1,
        workers: false,
    }
}

const MANY: usize = 1_000;
const LIMIT: Row = row(Single::Limit, 1, MANY);
const LIMIT_2: Row = row(Single::Limit, 2, MANY);
const COMMANDS: Row = row(Single::Commands, 512, MANY);
const COMMANDS_WORKERS: Row = Row {
    workers: true,
    ..COMMANDS
};
const COMMANDS_2: Row = Row { shards: 2, ..COMMANDS };
const COMMANDS_ALONE: Row = row(Single::Commands, 1, MANY);
const PGBENCH: Row = row(Single::Pgbench, 1, MANY);
const CYCLES: Row = row(Single::Cycles, 512, MANY);
const CYCLES_HOT: Row = row(Single::Cycles, 512, 1);
const HAND_SQL: Row = row(Single::HandSql, 32, MANY);
const HAND_SQL_HOT: Row = row(Single::HandSql, 32, 1);
const HAND_STATEMENT: Row = row(Single::HandSqlStatement, 32, MANY);
const HTTP_64: Row = row(Single::Http, 64, MANY);
const HTTP_512: Row = row(Single::Http, 512, MANY);
const ECHO_64: Row = row(Single::Echo, 64, MANY);
const ECHO_512: Row = row(Single::Echo, 512, MANY);
const PROJECT: Row = row(Single::Project, 64, MANY);
const REBUILD: Row = row(Single::Rebuild, 512, MANY);

const ROWS: [Row; 18] = [
    LIMIT,
    LIMIT_2,
    COMMANDS,
    COMMANDS_WORKERS,
    COMMANDS_2,
    COMMANDS_ALONE,
    PGBENCH,
    CYCLES,
    CYCLES_HOT,
    HAND_SQL,
    HAND_SQL_HOT,
    HAND_STATEMENT,
    HTTP_64,
    ECHO_64,
    HTTP_512,
    ECHO_512,
    PROJECT,
    REBUILD,
];

/// Which number of a figure is compared.
#[derive(Debug, Clone, Copy)]
enum Number {
    PerSecond,
    Events,
    Median,
}

/// One figure against another: what it is, and what is aimed at, in hundredths.
#[derive(Debug)]
struct Ratio {
    of: Row,
    by: Row,
    number: Number,
    aim: &'static str,
}

const RATIOS: [Ratio; 12] = [
    ratio(COMMANDS, LIMIT, Number::Events, "≥ 0.85"),
    ratio(COMMANDS_2, LIMIT_2, Number::Events, "≥ 0.80"),
    ratio(COMMANDS_WORKERS, COMMANDS, Number::Events, "≥ 0.60"),
    ratio(CYCLES, HAND_SQL, Number::PerSecond, "≥ 12"),
    ratio(CYCLES, HAND_STATEMENT, Number::PerSecond, "–"),
    ratio(CYCLES_HOT, CYCLES, Number::PerSecond, "≥ 0.95"),
    ratio(CYCLES_HOT, HAND_SQL_HOT, Number::PerSecond, "≥ 40"),
    ratio(COMMANDS_ALONE, PGBENCH, Number::Median, "≤ 1.3"),
    ratio(HTTP_64, ECHO_64, Number::PerSecond, "≥ 0.25"),
    ratio(HTTP_512, ECHO_512, Number::PerSecond, "≥ 0.35"),
    ratio(REBUILD, LIMIT, Number::Events, "–"),
    ratio(REBUILD, COMMANDS, Number::Events, "≥ 2"),
];

const fn ratio(of: Row, by: Row, number: Number, aim: &'static str) -> Ratio {
    Ratio { of, by, number, aim }
}

impl Row {
    fn name(&self) -> String {
        let mut name = format!("{}-{}", self.what.name(), self.callers);
        let _ = match (self.accounts, self.shards, self.workers) {
            (1, _, _) => write!(name, "-hot"),
            (_, 1, false) => Ok(()),
            (_, 1, true) => write!(name, "-workers"),
            (_, shards, _) => write!(name, "-shards-{shards}"),
        };
        name
    }
}

/// Measures all rows in turn, so that a slow minute of the machine hits all alike.
pub async fn run(asked: SuiteArgs) -> anyhow::Result<()> {
    let metrics = telemetry::metrics()?;
    let mut ground = Ground::prepare(None).await?;
    let mut rounds: Vec<(Row, Vec<Figure>)> = ROWS.map(|row| (row, Vec::new())).into();
    table::head();
    for _ in 0..asked.rounds.max(1) {
        for (row, figures) in &mut rounds {
            let told = Asked {
                settings: Settings {
                    callers: row.callers,
                    accounts: row.accounts,
                    shards: row.shards,
                    each: Duration::from_secs(asked.seconds.max(1)),
                },
                workers: row.workers,
                metrics: metrics.clone(),
            };
            let mut figure = row.what.measure(&mut ground, &told).await?;
            figure.name = row.name();
            table::line(&figure);
            figures.push(figure);
        }
        println!();
    }
    ground.leave().await?;
    let medians: Vec<Summary> = rounds
        .iter()
        .filter_map(|(row, figures)| Summary::of(*row, figures))
        .collect();
    println!("medians of {} rounds of {} s:", asked.rounds, asked.seconds);
    for summary in &medians {
        let Figure { name, .. } = &summary.median;
        println!(
            "{name:<28} {:>10} ({}–{})",
            summary.median.per_s, summary.min, summary.max
        );
    }
    println!("\nratios:");
    for ratio in &RATIOS {
        println!("{}", ratio.line(&medians));
    }
    if let Some(path) = asked.out {
        let mut file = std::fs::File::create(path)?;
        for summary in &medians {
            writeln!(file, "{}", serde_json::to_string(summary)?)?;
        }
    }
    Ok(())
}

/// The round in the middle, and how far the others were from it.
#[derive(Debug, serde::Serialize)]
struct Summary {
    #[serde(flatten)]
    median: Figure,
    min: u64,
    max: u64,
}

impl Summary {
    fn of(row: Row, figures: &[Figure]) -> Option<Summary> {
        let mut figures = figures.to_vec();
        figures.sort_by_key(|figure| figure.per_s);
        let mut median = figures.get(figures.len() / 2)?.clone();
        median.name = row.name();
        Some(Summary {
            median,
            min: figures.first()?.per_s,
            max: figures.last()?.per_s,
        })
    }
}

impl Ratio {
    fn line(&self, medians: &[Summary]) -> String {
        let number = |row: &Row| {
            let figure = medians
                .iter()
                .map(|summary| &summary.median)
                .find(|figure| figure.name == row.name());
            figure.map_or(0, |figure| match self.number {
                Number::PerSecond => figure.per_s,
                Number::Events => figure.events_per_s.unwrap_or_default(),
                Number::Median => figure.p50_us,
            })
        };
        let hundredths = number(&self.of).saturating_mul(100) / number(&self.by).max(1);
        let what = match self.number {
            Number::PerSecond => "per s",
            Number::Events => "events/s",
            Number::Median => "p50",
        };
        format!(
            "{:<28} {what:>8} of {:<28} {:>5}.{:02}   aim {}",
            self.of.name(),
            self.by.name(),
            hundredths / 100,
            hundredths % 100,
            self.aim
        )
    }
}
