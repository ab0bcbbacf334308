//! `keyledger bench start`: a start before a long log, beside one before a short log.

use std::time::Duration;

use clap::Args;
use keyledger::bench::{Figure, Filling, StartBench, start};

use super::ground::{Ground, remove, scratch};
use super::single::check;
use super::table;

#[derive(Debug, Args)]
pub struct StartArgs {
    #[arg(long, default_value_t = 100_000)]
    accounts: u64,
    /// Keys of all accounts together
    #[arg(long, default_value_t = 200_000)]
    keys: u64,
    /// Holds that are open
    #[arg(long, default_value_t = 10_000)]
    holds: u64,
    /// Events in the log, those of accounts, keys and holds among them
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Connections at once while commands are sent
    #[arg(long, default_value_t = 64)]
    callers: usize,
    /// How long commands are sent, at most
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// One line of JSON instead of a table
    #[arg(long)]
    json: bool,
    /// A database to fill, as its owner; a server of our own when absent
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
}

/// A database that fits into anybody's memory.
const SMALL: Filling = Filling {
    accounts: 1_000,
    keys: 2_000,
    holds: 100,
    events: 10_000,
};

pub async fn run(asked: StartArgs) -> anyhow::Result<()> {
    let mut ground = Ground::prepare(asked.database_url.clone()).await?;
    let measured = both(&mut ground, &asked).await;
    ground.leave().await?;
    let figure = measured?;
    if asked.json {
        return super::print_json(&figure);
    }
    table::head();
    table::line(&figure);
    for (setting, value) in &figure.settings {
        println!("{setting:<28} {value:>8}");
    }
    Ok(())
}

/// The large one, with what the small one was among its settings.
async fn both(ground: &mut Ground, asked: &StartArgs) -> anyhow::Result<Figure> {
    let small = one(ground, asked, SMALL).await?;
    let large = Filling {
        accounts: asked.accounts,
        keys: asked.keys,
        holds: asked.holds,
        events: asked.events,
    };
    let mut figure = one(ground, asked, large).await?;
    for (setting, value) in [
        ("small_per_s", small.setting("warm_per_s")),
        ("small_p50_us", small.setting("warm_p50_us")),
        ("small_rss_mib", small.setting("rss_mib")),
    ] {
        figure.settings.insert(setting.to_owned(), value);
    }
    Ok(figure)
}

async fn one(ground: &mut Ground, asked: &StartArgs, filling: Filling) -> anyhow::Result<Figure> {
    let database_url = ground.database().await?;
    let directory = scratch("bench-start")?;
    let options = StartBench {
        database_url: database_url.clone(),
        nats_url: ground.nats().await?,
        program: std::env::current_exe()?,
        directory: directory.clone(),
        filling,
        callers: asked.callers.max(1),
        each: Duration::from_secs(asked.seconds.max(1)),
    };
    let figure = start(&options).await?;
    remove(&directory)?;
    check(&database_url).await?;
    Ok(figure)
}
