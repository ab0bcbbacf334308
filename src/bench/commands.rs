//! Durable commands a second: verify a key and hold credits, and the whole cycle with its charge.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;

use super::Settings;
use super::bank::{Bank, Ended};
use super::figure::Figure;
use super::measure::{Seen, run};
use super::workers::Workers;

/// Verify-and-reserve, two events each. The holds stay open.
pub async fn commands(database_url: &str, beside: Option<&str>, settings: &Settings) -> anyhow::Result<Figure> {
    let figure = measure("commands", Work::Reserve, database_url, beside, settings).await?;
    Ok(figure.of_events(2))
}

/// Verify-and-reserve, then charge: three events each, two waits for the disk.
pub async fn cycles(database_url: &str, beside: Option<&str>, settings: &Settings) -> anyhow::Result<Figure> {
    let figure = measure("cycles", Work::ReserveAndCharge, database_url, beside, settings).await?;
    Ok(figure.of_events(3))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Reserve,
    ReserveAndCharge,
}

/// A step through the customers that visits each of them, whatever their number.
const STEP: usize = 7_919;

/// With a NATS server, relay and projectors work beside the writers.
async fn measure(
    name: &str,
    work: Work,
    database_url: &str,
    beside: Option<&str>,
    settings: &Settings,
) -> anyhow::Result<Figure> {
    let bank = Bank::open(database_url, settings.accounts, settings.shards).await?;
    let workers = match beside {
        Some(nats_url) => Some(Workers::start(database_url, nats_url, &bank).await?),
        None => None,
    };
    let mut figure = load(name, work, &bank, settings).await?;
    if let Some(workers) = workers {
        let caught_up = workers.catch_up(&bank).await?;
        figure = figure.with("workers_behind_ms", caught_up.as_millis());
        workers.stop();
    }
    bank.close().await?;
    Ok(figure)
}

/// `commands` as one process of several: waits until it is told to begin, once its accounts are there.
pub async fn commands_among_others(
    database_url: &str,
    nats_url: &str,
    settings: &Settings,
    ready: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Figure> {
    let bank = Bank::open_among_others(database_url, Some(nats_url), settings.accounts, settings.shards).await?;
    ready.await?;
    let figure = load("commands", Work::Reserve, &bank, settings).await?;
    bank.close().await?;
    Ok(figure.of_events(2))
}

pub(super) async fn load(name: &str, work: Work, bank: &Bank, settings: &Settings) -> anyhow::Result<Figure> {
    let figure = run(name, settings.callers, settings.each, |worker, end| {
        let customers = Arc::clone(&bank.customers);
        async move {
            let mut seen = Seen::default();
            let mut turn = worker.wrapping_mul(STEP);
            while Instant::now() < end {
                turn = turn.wrapping_add(1);
                let customer = customers.get(turn % customers.len()).context("no customer")?;
                let begin = Instant::now();
                match customer.reserve().await? {
                    Ended::Done(_) if work == Work::Reserve => {}
                    Ended::Done(reservation) => customer.charge(reservation).await?,
                    Ended::Refused => {
                        seen.refused += 1;
                        continue;
                    }
                }
                seen.took.push(begin.elapsed());
            }
            Ok(seen)
        }
    })
    .await?;
    Ok(figure
        .with("accounts", settings.accounts)
        .with("shards", settings.shards))
}
