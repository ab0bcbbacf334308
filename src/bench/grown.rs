//! `commands` on a log that has grown before: whether an append costs more where there is more behind it.

use super::Settings;
use super::bank::{Bank, Ended};
use super::commands::{Work, load};
use super::figure::Figure;
use super::filled::{Filling, fill};
use crate::log::open_pool;

/// Events of each account that the log holds before.
const EVENTS_AN_ACCOUNT: u64 = 100;

/// Verify-and-reserve by some of the accounts that are there, from all over the log and in memory already.
pub async fn grown(database_url: &str, settings: &Settings, log_events: u64) -> anyhow::Result<Figure> {
    let accounts = (log_events / EVENTS_AN_ACCOUNT).max(1);
    let filling = Filling {
        accounts,
        keys: accounts,
        holds: 0,
        events: log_events,
    };
    let filled = fill(database_url, filling).await?;
    // So that what was written before is no part of what is measured: autovacuum is at work for minutes after ten million rows.
    let owner = open_pool(database_url.parse()?, 1);
    for settle in ["vacuum (analyze) events", "checkpoint"] {
        sqlx::query(settle).execute(&owner).await?;
    }
    owner.close().await;
    let bank = Bank::of_filled(database_url, &filled, settings.accounts).await?;
    for customer in bank.customers.iter() {
        let held = customer.reserve().await?;
        anyhow::ensure!(matches!(held, Ended::Done(_)), "an account of the log cannot pay");
    }
    // The first touch of a page after a checkpoint writes all of it to the WAL, and there are as many pages as accounts, in a
    // long log more than in a short one. That passes: what is measured is how it goes on.
    load("commands", Work::Reserve, &bank, settings).await?;
    let figure = load("commands", Work::Reserve, &bank, settings).await?;
    bank.close().await?;
    Ok(figure.with("log_events", filled.events).of_events(2))
}
