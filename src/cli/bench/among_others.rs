//! One process's part of a load that several share: it waits for the others, and then prints its figure.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use keyledger::bench::{self, READY, Settings};
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[derive(Debug, Args)]
pub struct Part {
    #[arg(long)]
    callers: usize,
    #[arg(long)]
    accounts: usize,
    #[arg(long)]
    shards: u16,
    #[arg(long)]
    seconds: u64,
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    nats_url: String,
}

pub async fn run(part: Part) -> anyhow::Result<()> {
    let settings = Settings {
        callers: part.callers,
        accounts: part.accounts,
        shards: part.shards,
        each: Duration::from_secs(part.seconds),
    };
    let begin = async {
        println!("{READY}");
        std::io::stdout().flush()?;
        let mut line = String::new();
        BufReader::new(tokio::io::stdin()).read_line(&mut line).await?;
        anyhow::ensure!(!line.is_empty(), "nobody said when to begin");
        Ok(())
    };
    let figure = bench::commands_among_others(&part.database_url, &part.nats_url, &settings, begin).await?;
    super::print_json(&figure)
}
