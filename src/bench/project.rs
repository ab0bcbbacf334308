//! Relay, projectors and rebuilds: how far behind the log, and how fast from its beginning.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::bank::{Bank, Ended};
use super::figure::{Figure, a_second};
use super::workers::Workers;
use crate::log::{open_pool, service_options};
use crate::projector::{View, rebuild_views};
use crate::views::{ViewName, Views};

/// What a busy installation writes.
const EVENTS_A_SECOND: u64 = 10_000;
const EVENTS_A_CYCLE: u64 = 3;
const VIEWS: [ViewName; 5] = [
    ViewName::KeyList,
    ViewName::Balance,
    ViewName::Charges,
    ViewName::Reservations,
    ViewName::Usage,
];
const BEHIND_MAX: Duration = Duration::from_secs(60);

/// How long after a commit all views show it, while 10,000 events a second are written. One operation is one look.
pub async fn project(database_url: &str, nats_url: &str, settings: &Settings) -> anyhow::Result<Figure> {
    let bank = Bank::open(database_url, settings.accounts, 1).await?;
    let workers = Workers::start(database_url, nats_url, &bank).await?;
    workers.catch_up(&bank).await?;
    let ledger = bank.ledgers().next().context("no ledger")?.clone();
    let before = ledger.committed().borrow().0;
    let stop = CancellationToken::new();
    let writing = tokio::spawn(write(bank.customers.to_vec(), settings.callers, stop.clone()));
    let views = Views::new(open_pool(service_options(database_url)?, 4), ledger.shard());
    let begin = Instant::now();
    let mut took = Vec::new();
    let mut changed = ledger.committed();
    while begin.elapsed() < settings.each {
        changed.changed().await?;
        let head = *changed.borrow_and_update();
        let committed = Instant::now();
        for view in VIEWS {
            views.wait_for(view, head, BEHIND_MAX).await?;
        }
        took.push(committed.elapsed());
    }
    let elapsed = begin.elapsed();
    stop.cancel();
    writing.await??;
    let written = ledger.committed().borrow().0.saturating_sub(before);
    workers.catch_up(&bank).await?;
    workers.stop();
    drop(ledger);
    bank.close().await?;
    let mut figure = Figure::of("project", took, 0, elapsed);
    figure.events_per_s = Some(a_second(written, elapsed));
    Ok(figure
        .with("callers", settings.callers)
        .with("accounts", settings.accounts)
        .with("seconds", settings.each.as_secs()))
}

/// Cycles at a steady pace until told to stop.
async fn write(customers: Vec<super::bank::Customer>, callers: usize, stop: CancellationToken) -> anyhow::Result<()> {
    let callers = callers.max(1);
    let writers: Vec<_> = (0..callers)
        .map(|caller| {
            let (customers, stop) = (customers.clone(), stop.clone());
            tokio::spawn(async move {
                let each =
                    Duration::from_secs(EVENTS_A_CYCLE) * u32::try_from(callers)? / u32::try_from(EVENTS_A_SECOND)?;
                let mut pace = interval(each);
                pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
                let mut turn = caller;
                while stop.run_until_cancelled(pace.tick()).await.is_some() {
                    turn = turn.wrapping_add(callers);
                    let customer = customers.get(turn % customers.len()).context("no customer")?;
                    if let Ended::Done(reservation) = customer.reserve().await? {
                        customer.charge(reservation).await?;
                    }
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    Ok(())
}

/// All views anew from a log that is written first. One operation is all views; the events are those of the log.
pub async fn rebuild_all(database_url: &str, settings: &Settings) -> anyhow::Result<Figure> {
    let bank = Bank::open(database_url, settings.accounts, 1).await?;
    let end = Instant::now() + settings.each;
    let cycling: Vec<_> = (0..settings.callers)
        .map(|caller| {
            let customers = bank.customers.clone();
            tokio::spawn(async move {
                let mut turn = caller.wrapping_mul(7_919);
                while Instant::now() < end {
                    turn = turn.wrapping_add(1);
                    let customer = customers.get(turn % customers.len()).context("no customer")?;
                    if let Ended::Done(reservation) = customer.reserve().await? {
                        customer.charge(reservation).await?;
                    }
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for cycles in cycling {
        cycles.await??;
    }
    bank.close().await?;
    let begin = Instant::now();
    let mut events = 0;
    for (_, rebuilt) in rebuild_views(database_url, &View::ALL, |_, _| {}).await? {
        events = rebuilt?.events;
    }
    let elapsed = begin.elapsed();
    let mut figure = Figure::of("rebuild", vec![elapsed], 0, elapsed);
    figure.events_per_s = Some(a_second(events, elapsed));
    Ok(figure.with("accounts", settings.accounts).with("events", events))
}
