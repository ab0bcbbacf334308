//! `keyledger bench audit`: what sealing costs a load, how fast a log is sealed, and how soon an event is proven.

use std::time::Duration;

use clap::Args;
use keyledger::bench::{self, Figure, Settings};

use super::ground::{Ground, remove, scratch};
use super::table;

#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Events in the log that is sealed
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// How often the load is measured, without and with a sealer
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each time
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    #[arg(long, default_value_t = 512)]
    callers: usize,
    /// A line of JSON for each figure instead of a table
    #[arg(long)]
    json: bool,
    /// A database to fill, as its owner; a server of our own when absent
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
}

pub async fn run(asked: AuditArgs) -> anyhow::Result<()> {
    let mut ground = Ground::prepare(asked.database_url.clone()).await?;
    let measured = all(&mut ground, &asked).await;
    ground.leave().await?;
    let figures = measured?;
    if asked.json {
        return figures.iter().try_for_each(super::print_json);
    }
    table::head();
    figures.iter().for_each(table::line);
    let of = |name: &str| {
        let mut rounds: Vec<u64> = figures
            .iter()
            .filter(|figure| figure.name == name)
            .map(|figure| figure.per_s)
            .collect();
        rounds.sort_unstable();
        rounds.get(rounds.len() / 2).copied().unwrap_or_default()
    };
    let (with, without) = (of("commands-sealed"), of("commands"));
    println!(
        "\nwith a sealer: {} % of the commands a second without",
        with * 100 / without.max(1)
    );
    Ok(())
}

async fn all(ground: &mut Ground, asked: &AuditArgs) -> anyhow::Result<Vec<Figure>> {
    let settings = Settings {
        callers: asked.callers.max(1),
        accounts: 1_000,
        shards: 1,
        each: Duration::from_secs(asked.seconds.max(1)),
    };
    let directory = scratch("bench-audit")?;
    let mut figures = Vec::new();
    for round in 0..asked.rounds {
        let memory = directory.join(round.to_string());
        // In turn, and not the same one first each time: a machine has its moods.
        for with in [round % 2 == 0, round % 2 != 0] {
            let database = ground.database().await?;
            figures.push(match with {
                true => bench::commands_sealed(&database, &memory, &settings).await?,
                false => bench::commands(&database, None, &settings).await?,
            });
        }
    }
    let database = ground.database().await?;
    figures.extend(bench::seal_and_prove(&database, &directory.join("log"), asked.events).await?);
    remove(&directory)?;
    Ok(figures)
}
