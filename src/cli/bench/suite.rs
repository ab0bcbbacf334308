//! `keyledger bench all`: every figure beside its yardstick, in turn and several times, on one server.

mod chart;
mod ratios;
mod rows;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use askama::Template as _;
use clap::Args;
use keyledger::bench::{Figure, Settings};

use super::gateway;
use super::ground::Ground;
use super::single::{Asked, Single, peers_beside};
use super::table;
use crate::cli::telemetry;
use chart::Chart;
use ratios::{Compared, RATIOS};
use rows::{GATEWAY_CONNECTIONS, Row, SUBJECTS, Subject, way_name};

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
    /// Where to draw the ratios beside their aims
    #[arg(long)]
    svg: Option<PathBuf>,
    /// The program of bench/peers; when absent, the one that lies beside this program
    #[arg(long)]
    peers: Option<PathBuf>,
}

impl Default for SuiteArgs {
    fn default() -> SuiteArgs {
        SuiteArgs {
            rounds: 3,
            seconds: 5,
            out: None,
            svg: None,
            peers: None,
        }
    }
}

/// Measures everything in turn, so that a slow minute of the machine hits all alike.
pub async fn run(asked: SuiteArgs) -> anyhow::Result<()> {
    let peers = peers_beside(asked.peers.clone())?;
    let left_out =
        |subject: &Subject| matches!(subject, Subject::Row(row) if row.what == Single::CqrsEs && peers.is_none());
    let subjects: Vec<Subject> = SUBJECTS.into_iter().filter(|subject| !left_out(subject)).collect();
    let each = Duration::from_secs(asked.seconds.max(1));
    let mut told = Asked {
        settings: Settings {
            callers: 1,
            accounts: 1,
            shards: 1,
            each,
        },
        workers: false,
        processes: 1,
        log_events: 0,
        peers,
        metrics: telemetry::metrics()?,
    };
    let mut ground = Ground::prepare(None).await?;
    let mut seen: Vec<Seen> = Vec::new();
    table::head();
    for _ in 0..asked.rounds.max(1) {
        for subject in &subjects {
            for figure in measure(*subject, &mut ground, &mut told).await? {
                table::line(&figure);
                note(&mut seen, figure);
            }
        }
        println!();
        // All of it takes the better part of an hour: who breaks it off has what was measured so far.
        keep(&asked, &seen)?;
    }
    ground.leave().await?;
    tell(&asked, &medians(&seen));
    if told.peers.is_none() {
        println!(
            "\ncqrs-es was left out: its program is not built; `make bench` builds it where the registry is reachable"
        );
    }
    Ok(())
}

/// Writes the files that were asked for, as the rounds so far have it.
fn keep(asked: &SuiteArgs, seen: &[Seen]) -> anyhow::Result<()> {
    let medians = medians(seen);
    if let Some(path) = &asked.out {
        write_figures(path, &medians)?;
    }
    if let Some(path) = &asked.svg {
        let svg = Chart::of(&compared(&medians)).render()?;
        std::fs::write(path, svg).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

async fn measure(subject: Subject, ground: &mut Ground, told: &mut Asked) -> anyhow::Result<Vec<Figure>> {
    match subject {
        Subject::Row(row) => {
            told.settings.callers = row.callers;
            told.settings.accounts = row.accounts;
            told.settings.shards = row.shards;
            told.workers = row.workers;
            told.processes = row.processes;
            told.log_events = row.log_events;
            let mut figure = if row.slow_disk_us > 0 {
                on_slow_disk(row, told).await?
            } else {
                row.what.measure(ground, told).await?
            };
            figure.name = row.name();
            Ok(vec![figure])
        }
        Subject::Gateway => {
            let mut figures = gateway::measure(ground, vec![GATEWAY_CONNECTIONS], told.settings.each, |_| {}).await?;
            for figure in &mut figures {
                figure.name = way_name(&figure.name);
            }
            Ok(figures)
        }
    }
}

/// On a server of its own, beside which the other one has nothing to do.
async fn on_slow_disk(row: Row, told: &Asked) -> anyhow::Result<Figure> {
    let delay = Duration::from_micros(row.slow_disk_us);
    let mut ground = Ground::prepare_on(None, Some(delay)).await?;
    let measured = row.what.measure(&mut ground, told).await;
    ground.leave().await?;
    let mut figure = measured?;
    figure.settings.insert("slow_disk_us".to_owned(), row.slow_disk_us);
    Ok(figure)
}

/// The rounds of one figure.
#[derive(Debug)]
struct Seen {
    name: String,
    rounds: Vec<Figure>,
}

fn note(seen: &mut Vec<Seen>, figure: Figure) {
    match seen.iter_mut().find(|known| known.name == figure.name) {
        Some(known) => known.rounds.push(figure),
        None => seen.push(Seen {
            name: figure.name.clone(),
            rounds: vec![figure],
        }),
    }
}

/// The round in the middle, and how far the others were from it.
#[derive(Debug, serde::Serialize)]
struct Summary {
    #[serde(flatten)]
    median: Figure,
    min: u64,
    max: u64,
    rounds: usize,
}

impl Summary {
    fn of(seen: &Seen) -> Option<Summary> {
        let mut rounds = seen.rounds.clone();
        rounds.sort_by_key(|figure| figure.per_s);
        Some(Summary {
            median: rounds.get(rounds.len() / 2)?.clone(),
            min: rounds.first()?.per_s,
            max: rounds.last()?.per_s,
            rounds: rounds.len(),
        })
    }
}

fn medians(seen: &[Seen]) -> Vec<Summary> {
    seen.iter().filter_map(Summary::of).collect()
}

fn compared(medians: &[Summary]) -> Vec<Compared> {
    let figures: Vec<&Figure> = medians.iter().map(|summary| &summary.median).collect();
    RATIOS.iter().filter_map(|ratio| ratio.among(&figures)).collect()
}

fn tell(asked: &SuiteArgs, medians: &[Summary]) {
    println!("medians of {} rounds of {} s:", asked.rounds, asked.seconds);
    for Summary { median, min, max, .. } in medians {
        println!("{:<28} {:>10} ({min}–{max})", median.name, median.per_s);
    }
    println!("\nratios:");
    for one in compared(medians) {
        println!("{one}");
    }
}

fn write_figures(path: &Path, medians: &[Summary]) -> anyhow::Result<()> {
    let file = std::fs::File::create(path);
    let mut file = file.with_context(|| format!("{} cannot be written", path.display()))?;
    for summary in medians {
        writeln!(file, "{}", serde_json::to_string(summary)?)?;
    }
    Ok(())
}
