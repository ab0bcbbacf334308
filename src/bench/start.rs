//! A start before a long log: how soon the service is ready, what memory it takes, how fast it answers for accounts that
//! it has not in memory, and how soon one key's history is found among everybody's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use keyledger_events::{Event, Shard};

use super::figure::Figure;
use super::filled::{Filled, Filling, fill};
use super::http::{asked, asking, let_in};
use super::measure::{Seen, run};
use super::served::{Served, Serving};
use super::wire::Wire;
use crate::log::{HistorySearch, Log, open_pool, service_options};

/// What to fill, what to start, and how to load it.
#[derive(Debug, Clone)]
pub struct StartBench {
    /// A migrated database, as its owner. It will be filled.
    pub database_url: String,
    pub nats_url: String,
    /// This program, which `serve` is asked of.
    pub program: PathBuf,
    /// For its files while it runs.
    pub directory: PathBuf,
    pub filling: Filling,
    pub callers: usize,
    pub each: Duration,
}

const STARTS: usize = 3;
const HISTORIES: u64 = 200;
const HISTORY_PAGE: u32 = 50;

/// Accounts that are asked for again and again, once they are in memory.
const WARM: u64 = 1_000;

/// Who is asked for, one after the other.
#[derive(Debug, Clone, Copy)]
struct Asked {
    from: u64,
    accounts: u64,
    /// Ends when each was asked for once. Otherwise it begins again with the first.
    once: bool,
}

/// One operation is a key verified and credits held, over HTTP, for an account that is not in memory; what it took is among the
/// settings, and what the same is for accounts in memory, by itself (`warm_…`) and while others are read (`beside_…`). `p50_us`
/// and `p99_us` are the times from a start until the service is ready.
pub async fn start(options: &StartBench) -> anyhow::Result<Figure> {
    let begin = Instant::now();
    let filled = fill(&options.database_url, options.filling).await?;
    eprintln!("{} events written in {} s", filled.events, begin.elapsed().as_secs());
    let histories = histories(&options.database_url, &filled).await?;
    let serving = Serving {
        program: &options.program,
        database_url: &options.database_url,
        nats_url: &options.nats_url,
        directory: &options.directory,
    };
    let mut readies = Vec::new();
    for _ in 1..STARTS {
        let served = Served::start(&serving).await?;
        readies.push(served.ready_after);
        served.stop().await?;
    }
    let served = Served::start(&serving).await?;
    readies.push(served.ready_after);
    let idle_kib = served.memory_peak_kib()?;
    let (accounts, callers) = (filled.accounts, options.callers.max(2));
    let all = Asked {
        from: 0,
        accounts: accounts / 2,
        once: true,
    };
    let some = Asked {
        accounts: WARM.min(accounts / 2),
        once: false,
        ..all
    };
    let others = Asked {
        from: accounts / 2,
        ..all
    };
    let loaded = load(options, &served, filled, all, callers).await?;
    let warm = load(options, &served, filled, some, callers).await?;
    let (beside, _) = tokio::try_join!(
        load(options, &served, filled, some, callers / 2),
        load(options, &served, filled, others, callers / 2)
    )?;
    let peak_kib = served.memory_peak_kib()?;
    served.stop().await?;
    let ready = Figure::of("start", readies, loaded.refused, Duration::ZERO);
    let (p50_us, p99_us) = (loaded.p50_us, loaded.p99_us);
    let mut figure = loaded
        .with("accounts", filled.accounts)
        .with("keys", filled.keys)
        .with("holds", options.filling.holds)
        .with("events", filled.events)
        .with("idle_rss_mib", idle_kib / 1_024)
        .with("rss_mib", peak_kib / 1_024)
        .with("key_history_us", histories.p50_us)
        .with("key_history_p99_us", histories.p99_us)
        .with("command_p50_us", p50_us)
        .with("command_p99_us", p99_us)
        .with("warm_per_s", warm.per_s)
        .with("warm_p50_us", warm.p50_us)
        .with("warm_p99_us", warm.p99_us)
        .with("beside_per_s", beside.per_s)
        .with("beside_p50_us", beside.p50_us)
        .with("beside_p99_us", beside.p99_us);
    (figure.p50_us, figure.p99_us) = (ready.p50_us, ready.p99_us);
    Ok(figure.of_events(2))
}

/// One key's newest events, of keys all over the log.
async fn histories(database_url: &str, filled: &Filled) -> anyhow::Result<Figure> {
    let log = Log::new(open_pool(service_options(database_url)?, 1), Shard(0));
    let apart = (filled.keys / HISTORIES).max(1);
    let (begin, mut took) = (Instant::now(), Vec::new());
    for key in (0..HISTORIES).map(|number| number * apart % filled.keys) {
        let search = HistorySearch {
            account: filled.account(key),
            key: Some(filled.key(key)),
            types: Event::TYPES,
        };
        let one = Instant::now();
        let history = log.history(&search, None, HISTORY_PAGE).await?;
        took.push(one.elapsed());
        anyhow::ensure!(!history.events.is_empty(), "a key without a history");
    }
    Ok(Figure::of("history", took, 0, begin.elapsed()))
}

/// Each caller asks for accounts of its own, one after the other.
async fn load(
    options: &StartBench,
    served: &Served,
    filled: Filled,
    asked_for: Asked,
    callers: usize,
) -> anyhow::Result<Figure> {
    let token = Arc::new(let_in(&options.database_url).await?);
    let api = served.api;
    let Asked { from, accounts, once } = asked_for;
    run("start", callers, options.each, |worker, end| {
        let token = Arc::clone(&token);
        async move {
            let mut wire = Wire::open(api).await?;
            let mut seen = Seen::default();
            for number in (u64::try_from(worker)?..).step_by(callers) {
                if Instant::now() >= end || (once && number >= accounts) {
                    break;
                }
                let key = filled.key_text(from + number % accounts.max(1));
                seen.note(&mut wire, asked(&token, asking(&key))?, StatusCode::CREATED)
                    .await?;
            }
            Ok(seen)
        }
    })
    .await
}
