//! `keyledger bench`: measures on servers of its own that really write to disk, unless it is given a database.

use std::time::Duration;

use clap::{Args, Subcommand};
use keyledger::bench::{CommandsOptions, Figures, commands};
use keyledger::local::{PostgresOptions, PrivatePostgres};

#[derive(Debug, Args)]
pub struct Bench {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Durable commands a second: verify a key and hold credits, then charge
    Commands(Commands),
}

#[derive(Debug, Args)]
struct Commands {
    /// An empty database to fill, as its owner; a private one when absent
    #[arg(long)]
    database_url: Option<String>,
    #[arg(long, default_value_t = 1_000)]
    accounts: usize,
    /// Callers at once, one measurement each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 512])]
    concurrency: Vec<usize>,
    /// How long each measurement takes
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

impl Default for Commands {
    fn default() -> Commands {
        Commands {
            database_url: None,
            accounts: 1_000,
            concurrency: vec![1, 64, 512],
            seconds: 5,
        }
    }
}

pub async fn run(bench: Bench) -> anyhow::Result<()> {
    let What::Commands(asked) = bench.what.unwrap_or(What::Commands(Commands::default()));
    let directory = keyledger::local::default_data_dir()?.with_file_name("bench");
    let private = match asked.database_url {
        Some(_) => None,
        None => {
            remove(&directory)?;
            let options = PostgresOptions {
                dir: directory.clone(),
                durable: true,
                port: None,
                settings: Vec::new(),
            };
            Some(PrivatePostgres::start(options).await?)
        }
    };
    let database_url = match (&private, asked.database_url) {
        (Some(private), _) => private.url(),
        (None, Some(url)) => url,
        (None, None) => anyhow::bail!("no database"),
    };
    keyledger::migrate::migrate(&database_url).await?;
    let options = CommandsOptions {
        database_url,
        accounts: asked.accounts.max(1),
        concurrencies: asked.concurrency,
        each: Duration::from_secs(asked.seconds.max(1)),
    };
    println!(
        "{:<34} {:>7} {:>10} {:>10} {:>10} {:>8}",
        "what", "callers", "per s", "p50 µs", "p99 µs", "refused"
    );
    let figures = commands(options, line).await?;
    if let Some(private) = private {
        private.stop().await;
        drop(private);
        remove(&directory)?;
    }
    compare(&figures);
    Ok(())
}

fn line(figures: &Figures) {
    println!(
        "{:<34} {:>7} {:>10} {:>10} {:>10} {:>8}",
        figures.what,
        figures.concurrency,
        figures.per_second(),
        figures.p50.as_micros(),
        figures.p99.as_micros(),
        figures.refused
    );
}

/// Says each figure as a multiple of one-row commits with as many callers as help Postgres most.
fn compare(figures: &[Figures]) {
    let Some(baseline) = figures.get(1) else { return };
    println!("\nas multiples of one-row commits by {} callers:", baseline.concurrency);
    for measured in figures.get(2..).unwrap_or_default() {
        let hundredths = measured.hundredths_of(baseline);
        println!(
            "{:<34} {:>7} {:>7}.{:02}",
            measured.what,
            measured.concurrency,
            hundredths / 100,
            hundredths % 100
        );
    }
}

fn remove(directory: &std::path::Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}
