//! A yardstick: the command of `keyledger bench commands`, written with cqrs-es 0.5 on Postgres.
//!
//! In: a database, of which it takes the schema `peers`. Out: one figure as one line of JSON, as `keyledger bench --json`
//! prints it.
//!
//! Callers go through the aggregates in turn, each by itself; who lost an optimistic lock tries the same command again, and
//! the time counts until it is through. The aggregate is kept beside its events, the faster of the two ways that postgres-es
//! offers: in the other one, every command reads the aggregate's events from the first one on.

mod account;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use cqrs_es::AggregateError;
use postgres_es::{PostgresCqrs, postgres_aggregate_cqrs, postgres_cqrs};
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor as _, PgPool};

use account::{Account, Command, Refusal};

/// cqrs-es on Postgres: verify a key and hold credits, two events.
#[derive(Debug, Parser)]
struct Asked {
    /// Commands under way at once
    #[arg(long, default_value_t = 32)]
    callers: usize,
    /// Aggregates
    #[arg(long, default_value_t = 1_000)]
    accounts: usize,
    /// How long it is measured
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// What a command reads
    #[arg(long, value_enum, default_value_t = Store::Aggregates)]
    store: Store,
    /// The database, whose schema `peers` is dropped and made again
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Store {
    /// The aggregate as it was kept after the last command
    Aggregates,
    /// All events of the aggregate
    Events,
}

/// As postgres-es describes them.
const TABLES: &str = "\
drop schema if exists peers cascade;
create schema peers;
create table peers.events (
    aggregate_type text not null, aggregate_id text not null, sequence bigint check (sequence >= 0) not null,
    event_type text not null, event_version text not null, payload json not null, metadata json not null,
    primary key (aggregate_type, aggregate_id, sequence)
);
create table peers.snapshots (
    aggregate_type text not null, aggregate_id text not null, last_sequence bigint check (last_sequence >= 0) not null,
    current_snapshot bigint check (current_snapshot >= 0) not null, payload json not null,
    primary key (aggregate_type, aggregate_id, last_sequence)
)";

const CREDITS: i64 = 1_000_000_000_000_000;
const PRICE: i64 = 500_000;
/// A step through the aggregates that visits each of them, whatever their number.
const STEP: usize = 7_919;

type Framework = Arc<PostgresCqrs<Account>>;

#[derive(Debug, Default)]
struct Seen {
    took: Vec<Duration>,
    lost_races: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let asked = Asked::parse();
    let (callers, accounts) = (asked.callers.max(1), asked.accounts.max(1));
    let pool = open(&asked.database_url, callers).await?;
    let framework: Framework = Arc::new(match asked.store {
        Store::Aggregates => postgres_aggregate_cqrs(pool, Vec::new(), ()),
        Store::Events => postgres_cqrs(pool, Vec::new(), ()),
    });
    for number in 0..accounts {
        let open = Command::Open {
            digest: digest(number),
            credits: CREDITS,
        };
        framework.execute(&id(number), open).await?;
    }
    let begin = Instant::now();
    let end = begin + Duration::from_secs(asked.seconds.max(1));
    let working: Vec<_> = (0..callers)
        .map(|caller| tokio::spawn(work(Arc::clone(&framework), caller, accounts, end)))
        .collect();
    let mut all = Seen::default();
    for one in working {
        let seen = one.await??;
        all.took.extend(seen.took);
        all.lost_races += seen.lost_races;
    }
    println!("{}", line(&asked, all, begin.elapsed()));
    Ok(())
}

async fn open(database_url: &str, connections: usize) -> anyhow::Result<PgPool> {
    let options: PgConnectOptions = database_url.parse()?;
    let pool = PgPoolOptions::new()
        .max_connections(u32::try_from(connections)?)
        .connect_with(options.options([("search_path", "peers")]))
        .await?;
    pool.execute(TABLES).await?;
    // All of them are there before anybody looks at a clock.
    let mut opened = Vec::with_capacity(connections);
    for _ in 0..connections {
        opened.push(pool.acquire().await?);
    }
    drop(opened);
    Ok(pool)
}

fn id(number: usize) -> String {
    format!("acct_{number:026}")
}

fn digest(number: usize) -> String {
    format!("{number:064x}")
}

/// One command after the other until the time is over.
async fn work(framework: Framework, caller: usize, accounts: usize, end: Instant) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    let mut turn = caller.wrapping_mul(STEP);
    while Instant::now() < end {
        turn = turn.wrapping_add(1);
        let number = turn % accounts;
        let reserve = Command::Reserve {
            digest: digest(number),
            reservation: format!("rsv_{caller:06}{:020}", seen.took.len()),
            amount: PRICE,
        };
        let begin = Instant::now();
        while !is_done(framework.execute(&id(number), reserve.clone()).await)? {
            seen.lost_races += 1;
            if Instant::now() >= end {
                return Ok(seen);
            }
        }
        seen.took.push(begin.elapsed());
    }
    Ok(seen)
}

/// Not where somebody else was faster: the same again.
fn is_done(answer: Result<(), AggregateError<Refusal>>) -> anyhow::Result<bool> {
    match answer {
        Ok(()) => Ok(true),
        Err(AggregateError::AggregateConflict) => Ok(false),
        Err(error) => Err(anyhow::anyhow!("{error}")),
    }
}

fn line(asked: &Asked, mut all: Seen, elapsed: Duration) -> serde_json::Value {
    all.took.sort_unstable();
    let count = all.took.len();
    let at = |percent: usize| {
        let place = (count * percent / 100).min(count.saturating_sub(1));
        all.took.get(place).map_or(0, Duration::as_micros)
    };
    let per_s = u128::try_from(count).unwrap_or_default() * 1_000_000_000 / elapsed.as_nanos().max(1);
    json!({
        "name": "cqrs-es",
        "per_s": u64::try_from(per_s).unwrap_or(u64::MAX),
        "p50_us": u64::try_from(at(50)).unwrap_or(u64::MAX),
        "p99_us": u64::try_from(at(99)).unwrap_or(u64::MAX),
        "events_per_s": u64::try_from(per_s * 2).unwrap_or(u64::MAX),
        "settings": {
            "callers": asked.callers,
            "accounts": asked.accounts,
            "seconds": asked.seconds,
            "lost_races": all.lost_races,
        },
        "refused": 0,
    })
}
