//! `keyledger bench`: measures on servers of its own that really write to disk, unless it is given a database.

mod pages;

use std::time::Duration;

use clap::{Args, Subcommand};
use keyledger::bench::{CommandsOptions, Figures, GatewayBench, commands, gateway};
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
    /// What the gateway adds to a request, beside a bare proxy of the same make and nginx where it is installed
    Gateway(GatewayArgs),
    /// How soon the customer's pages answer when an account has very many keys and a long history
    Pages(pages::PagesArgs),
}

#[derive(Debug, Args)]
struct GatewayArgs {
    /// Connections at once, one measurement each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64])]
    connections: Vec<usize>,
    /// How long each measurement takes
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

impl Default for GatewayArgs {
    fn default() -> GatewayArgs {
        GatewayArgs {
            connections: vec![1, 64],
            seconds: 5,
        }
    }
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

/// Measures what is asked for, or everything.
pub async fn run(bench: Bench) -> anyhow::Result<()> {
    match bench.what {
        Some(What::Commands(asked)) => run_commands(asked).await,
        Some(What::Gateway(asked)) => run_gateway(asked).await,
        Some(What::Pages(asked)) => pages::run(asked).await,
        None => {
            run_commands(Commands::default()).await?;
            println!();
            run_gateway(GatewayArgs::default()).await
        }
    }
}

async fn run_gateway(asked: GatewayArgs) -> anyhow::Result<()> {
    let directory = keyledger::local::default_data_dir()?.with_file_name("bench-gateway");
    remove(&directory)?;
    let private = PrivatePostgres::start(PostgresOptions {
        dir: directory.clone(),
        durable: true,
        port: None,
        settings: Vec::new(),
    })
    .await?;
    keyledger::migrate::migrate(&private.url()).await?;
    let files = directory.with_file_name("bench-nginx");
    let options = GatewayBench {
        database_url: private.url(),
        connections: asked.connections,
        each: Duration::from_secs(asked.seconds.max(1)),
        directory: files.clone(),
    };
    head("connections");
    let mut seen: Vec<Figures> = Vec::new();
    let measured = gateway(options, |figures| {
        line(figures);
        seen.push(figures.clone());
    })
    .await;
    private.stop().await;
    drop(private);
    remove(&directory)?;
    remove(&files)?;
    measured?;
    println!("\nthroughput of the gateway as a share of each other way, and what it adds to p50 and p99:");
    for metered in seen.iter().filter(|figures| figures.what == "gateway") {
        for other in seen.iter().filter(|other| other.concurrency == metered.concurrency) {
            beside(metered, other);
        }
    }
    Ok(())
}

fn beside(metered: &Figures, other: &Figures) {
    if metered.what == other.what {
        return;
    }
    let hundredths = metered.hundredths_of(other);
    let added = |of: fn(&Figures) -> Duration| of(metered).saturating_sub(of(other)).as_micros();
    println!(
        "{:<34} {:>11} {:>7}.{:02} {:>+10} µs {:>+10} µs",
        other.what,
        other.concurrency,
        hundredths / 100,
        hundredths % 100,
        added(|figures| figures.p50),
        added(|figures| figures.p99)
    );
}

async fn run_commands(asked: Commands) -> anyhow::Result<()> {
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
    head("callers");
    let figures = commands(options, line).await?;
    if let Some(private) = private {
        private.stop().await;
        drop(private);
        remove(&directory)?;
    }
    compare(&figures);
    Ok(())
}

fn head(callers: &str) {
    println!(
        "{:<34} {callers:>11} {:>10} {:>10} {:>10} {:>8}",
        "what", "per s", "p50 µs", "p99 µs", "refused"
    );
}

fn line(figures: &Figures) {
    println!(
        "{:<34} {:>11} {:>10} {:>10} {:>10} {:>8}",
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
