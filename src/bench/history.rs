//! The history behind a figure: what a measurement wrote is read again and folded, and has to add up.
//!
//! In: a database that a ledger has written to, and no longer does. Out: how many events were checked.
//!
//! Promise: positions have no gap and end at the head; every event has canonical bytes and stands where they say; every
//! account's events follow each other and fold; all that was held was charged, given back or is held still; nobody is
//! below zero beyond their credit limit. Anything else is an error that names the place.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use keyledger_events::{AccountId, Credits, Event, Position, Recorded, Shard};
use tokio::sync::mpsc;

use crate::ledger::{Account, Inconsistent};
use crate::log::{Log, Stored, open_pool, service_options};

/// A log that takes longer was not checked, and that is an error too.
const CHECK_MAX: Duration = Duration::from_secs(900);
const EVENTS_A_READ: u32 = 5_000;
/// Reads that wait to be folded.
const READS_AHEAD: usize = 2;

/// Checks the log of each shard that has a head, and counts the events.
pub async fn check_history(database_url: &str) -> anyhow::Result<u64> {
    let pool = open_pool(service_options(database_url)?, 1);
    let checked = tokio::time::timeout(CHECK_MAX, async {
        let mut events = 0;
        let shards: Vec<i16> = sqlx::query_scalar("select shard from log_head order by shard")
            .fetch_all(&pool)
            .await?;
        for shard in shards {
            let log = Log::new(pool.clone(), Shard(u16::try_from(shard)?));
            events += check(&log).await.with_context(|| format!("in shard {shard}"))?;
        }
        anyhow::Ok(events)
    })
    .await
    .with_context(|| format!("the history was not read whole within {} s", CHECK_MAX.as_secs()))?;
    pool.close().await;
    checked
}

async fn check(log: &Log) -> anyhow::Result<u64> {
    let (pages, mut read) = mpsc::channel(READS_AHEAD);
    let reading = tokio::spawn(read_all(log.clone(), pages));
    let mut books = Books::of(log.shard());
    while let Some(page) = read.recv().await {
        for stored in &page {
            books.enter(stored)?;
        }
    }
    reading.await??;
    let head = log.head().await?;
    anyhow::ensure!(
        head.position == books.last,
        "the head is at {}, and the last event at {}",
        head.position,
        books.last
    );
    for book in books.accounts.values() {
        book.adds_up()?;
    }
    Ok(books.last.0)
}

/// Hands on the log from its beginning, until whoever takes it has found a fault.
async fn read_all(log: Log, pages: mpsc::Sender<Vec<Stored>>) -> anyhow::Result<()> {
    let mut after = Position::START;
    loop {
        let page = log.read(after, EVENTS_A_READ).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.position;
        if pages.send(page).await.is_err() {
            return Ok(());
        }
    }
}

/// Everybody's accounts as far as the log was read.
#[derive(Debug)]
struct Books {
    shard: Shard,
    last: Position,
    accounts: HashMap<AccountId, Book>,
}

/// One account: the ledger's own state, and sums that do not come from it.
#[derive(Debug)]
struct Book {
    state: Account,
    held: Credits,
    charged: Credits,
    given_back: Credits,
}

impl Books {
    fn of(shard: Shard) -> Books {
        Books {
            shard,
            last: Position::START,
            accounts: HashMap::new(),
        }
    }

    fn enter(&mut self, stored: &Stored) -> anyhow::Result<()> {
        let place = stored.position;
        anyhow::ensure!(place == self.last.next(), "after {} comes {place}", self.last);
        let recorded =
            Recorded::decode(&stored.body).with_context(|| format!("the event at {place} cannot be read"))?;
        anyhow::ensure!(
            recorded.position == place && recorded.shard == self.shard,
            "the event at {place} says that it stands at {}:{}",
            recorded.shard,
            recorded.position
        );
        let book = self
            .accounts
            .entry(recorded.account)
            .or_insert_with(|| Book::of(recorded.account));
        book.enter(&recorded)?;
        self.last = place;
        Ok(())
    }
}

impl Book {
    fn of(account: AccountId) -> Book {
        Book {
            state: Account::nobody(account),
            held: Credits::ZERO,
            charged: Credits::ZERO,
            given_back: Credits::ZERO,
        }
    }

    fn enter(&mut self, recorded: &Recorded) -> Result<(), Inconsistent> {
        self.state.evolve(recorded)?;
        self.count(&recorded.event)
            .ok_or("a sum leaves its bounds")
            .and_then(|()| self.is_within_limit())
            .map_err(|why| Inconsistent {
                account: recorded.account,
                position: recorded.position,
                why,
            })
    }

    fn count(&mut self, event: &Event) -> Option<()> {
        match event {
            Event::CreditsReserved(e) => self.held = self.held.plus(e.amount)?,
            Event::CreditsCharged(e) => {
                self.charged = self.charged.plus(e.charged)?;
                self.given_back = self.given_back.plus(e.returned)?;
            }
            Event::CreditsReleased(e) => self.given_back = self.given_back.plus(e.returned)?,
            Event::AccountOpened(_)
            | Event::TokenCreated(_)
            | Event::TokenRevoked(_)
            | Event::PortalSessionInvited(_)
            | Event::OperatorSessionInvited(_)
            | Event::PersonalDataErased(_)
            | Event::PricesPublished(_)
            | Event::ThresholdsSet(_)
            | Event::ThresholdReached(_)
            | Event::PlanStarted(_)
            | Event::PlanEnded(_)
            | Event::GrantStarted(_)
            | Event::CreditsCorrected(_)
            | Event::AccountClosed(_)
            | Event::AccountRenamed(_)
            | Event::ExternalRefChanged(_)
            | Event::CreditLimitChanged(_)
            | Event::KeyCreated(_)
            | Event::KeyRenamed(_)
            | Event::KeyDeleted(_)
            | Event::KeyRotated(_)
            | Event::KeyUseDenied(_)
            | Event::KeySpendingLimited(_)
            | Event::KeyUsed(_)
            | Event::CreditsGranted(_)
            | Event::CreditsExpired(_)
            | Event::CreditsRefunded(_) => {}
        }
        Some(())
    }

    fn is_within_limit(&self) -> Result<(), &'static str> {
        let limit = self
            .state
            .opened
            .as_ref()
            .map_or(Credits::ZERO, |opened| opened.credit_limit);
        let within = self
            .state
            .available()
            .plus(limit)
            .is_some_and(|reach| !reach.is_negative());
        if within {
            Ok(())
        } else {
            Err("available is below the credit limit")
        }
    }

    /// Holds = charged + given back + open.
    fn adds_up(&self) -> anyhow::Result<()> {
        let open = self
            .state
            .open
            .values()
            .try_fold(Credits::ZERO, |sum, hold| sum.plus(hold.amount));
        let closed = self.charged.plus(self.given_back);
        let whole = open.zip(closed).and_then(|(open, closed)| open.plus(closed));
        anyhow::ensure!(
            whole == Some(self.held),
            "of account {}, {} were held; {} were charged, {} given back, and {open:?} are held still",
            self.state.id,
            self.held,
            self.charged,
            self.given_back
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_and_is_nowhere_is_missed() {
        let mut book = Book::of(AccountId::from_parts(1, 1));
        let half = Credits::from_micros(500_000).unwrap();
        (book.held, book.charged) = (half, half);
        assert!(book.adds_up().is_ok());
        book.charged = Credits::ZERO;
        assert!(book.adds_up().is_err());
    }
}
