//! What-if: the use that there was, at the prices of another book.
//!
//! In: the log's charges and refunds of a time, and a price book. Out: what each account was charged, and what it would have
//! been charged.
//!
//! Promise: one pass, a page at a time; memory for the sums of each account that was charged and of each endpoint. Every
//! charge of the time is counted, and nothing is written anywhere.
//!
//! Not here: what the book would have changed about the use itself. Quantities are those that were charged; what was free as
//! a repeated result or did not arrive stays free. The log knows endpoints and no paths: of prices with one name the first
//! counts, as for all work that comes by its endpoint's name.

mod sums;

use std::collections::{BTreeMap, HashMap};

use keyledger_events::{AccountId, Credits, Endpoint, Environment, Event, PaidWork, Position, Recorded, Timestamp};

pub use sums::{OutOfBounds, Sums};

use crate::log::{Log, ReadError};
use crate::prices::PriceBook;

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repriced {
    pub accounts: BTreeMap<AccountId, Sums>,
    pub endpoints: BTreeMap<Endpoint, OfEndpoint>,
    pub total: Sums,
    /// Events that were looked at.
    pub events: u64,
}

/// An endpoint that was charged for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OfEndpoint {
    /// In the other book; `None` where it does not know the endpoint, whose use would have been refused and cost nothing.
    pub price: Option<Credits>,
    /// The other book has several prices of this name, and they differ.
    pub ambiguous: bool,
    pub sums: Sums,
}

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum RepriceError {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error("the event at {position} cannot be read: {error}")]
    Unreadable {
        position: Position,
        error: keyledger_events::DecodeError,
    },
    #[error("at {position}: {error}")]
    OutOfBounds { position: Position, error: OutOfBounds },
}

/// Events read at once.
const PAGE: u32 = 2_000;

/// Reads the log from one moment to before another, as far as it reaches now, and charges anew what was charged.
/// `progress` is told how many of how many events are done.
pub async fn reprice(
    log: &Log,
    book: &PriceBook,
    from: Timestamp,
    to: Timestamp,
    mut progress: impl FnMut(u64, u64),
) -> Result<Repriced, RepriceError> {
    let head = log.head().await?.position;
    let first = log.last_before(from, head).await?;
    let last = log.last_before(to, head).await?;
    let many = last.0.saturating_sub(first.0);
    let mut repricing = Repricing::by(book);
    let mut at = first;
    while at < last {
        for stored in log.read(at, PAGE).await? {
            if stored.position > last {
                break;
            }
            let position = stored.position;
            let recorded = stored
                .decode()
                .map_err(|error| RepriceError::Unreadable { position, error })?;
            repricing
                .fold(&recorded)
                .map_err(|error| RepriceError::OutOfBounds { position, error })?;
        }
        at = Position(at.0.saturating_add(u64::from(PAGE))).min(last);
        progress(at.0.saturating_sub(first.0), many);
    }
    Ok(repricing.told)
}

struct Repricing {
    /// By endpoint: the price, and whether another rule of the name says another one.
    prices: HashMap<Endpoint, (Credits, bool)>,
    told: Repriced,
}

impl Repricing {
    fn by(book: &PriceBook) -> Repricing {
        let mut prices: HashMap<Endpoint, (Credits, bool)> = HashMap::new();
        for rule in book.rules() {
            let (first, ambiguous) = prices.entry(rule.endpoint.clone()).or_insert((rule.price, false));
            *ambiguous |= *first != rule.price;
        }
        Repricing {
            prices,
            told: Repriced::default(),
        }
    }

    fn fold(&mut self, recorded: &Recorded) -> Result<(), OutOfBounds> {
        self.told.events = self.told.events.saturating_add(1);
        if let Event::CreditsCharged(e) = &recorded.event {
            let would = sums::at_price(self.price(&e.work), e.quantity)?;
            self.add(recorded.account, &e.work, Sums::charge(e.quantity, e.charged, would))?;
        } else if let Event::CreditsRefunded(e) = &recorded.event {
            let would = sums::in_proportion(e.amount, self.price(&e.work), e.work.unit_price);
            self.add(recorded.account, &e.work, Sums::refund(e.amount, would))?;
        }
        Ok(())
    }

    /// Trying out costs nothing under any book.
    fn price(&self, work: &PaidWork) -> Credits {
        match work.environment {
            Environment::Test => Credits::ZERO,
            Environment::Live => self
                .prices
                .get(&work.endpoint)
                .map_or(Credits::ZERO, |(price, _)| *price),
        }
    }

    fn add(&mut self, account: AccountId, work: &PaidWork, more: Sums) -> Result<(), OutOfBounds> {
        let known = self.prices.get(&work.endpoint);
        let endpoint = self
            .told
            .endpoints
            .entry(work.endpoint.clone())
            .or_insert_with(|| OfEndpoint {
                price: known.map(|(price, _)| *price),
                ambiguous: known.is_some_and(|(_, ambiguous)| *ambiguous),
                sums: Sums::default(),
            });
        endpoint.sums.add(more)?;
        self.told.accounts.entry(account).or_default().add(more)?;
        self.told.total.add(more)
    }
}

impl Repriced {
    /// Endpoints that were used and that the book does not know.
    pub fn unknown(&self) -> impl Iterator<Item = (&Endpoint, &OfEndpoint)> {
        self.endpoints.iter().filter(|(_, of)| of.price.is_none())
    }
}
