//! Price books in the books: that what was asked was the price.

use keyledger_events::{Credits, Environment, PricesPublished, Timestamp};

use super::super::fact::{Entry, Held};
use super::{Entered, Fast};

/// The books that the file has, in the order of their publication.
#[derive(Debug)]
pub(super) struct Prices {
    books: Vec<Book>,
    /// Every book that there was is in the file: a version that is not is none.
    complete: bool,
    /// Holds whose prices nobody here knows.
    unknown: u64,
    /// Holds that were judged by a book of the file.
    judged: u64,
}

#[derive(Debug)]
struct Book {
    position: u64,
    version: u64,
    valid_from: Timestamp,
    prices: Fast<Box<str>, Vec<Credits>>,
}

impl Prices {
    pub(super) fn open(complete: bool) -> Prices {
        Prices {
            books: Vec::new(),
            complete,
            unknown: 0,
            judged: 0,
        }
    }

    pub(super) fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Holds whose book was right if no other book was left out of the file, which it cannot show.
    pub(super) fn judged_by_part(&self) -> u64 {
        if self.complete { 0 } else { self.judged }
    }

    pub(super) fn publish(&mut self, entry: &Entry<'_>, e: &PricesPublished) -> Entered {
        if let Some(last) = self.books.last() {
            if e.version != last.version.saturating_add(1) {
                return Err("the price book's version is not the next one");
            }
        } else if self.complete && e.version != 1 {
            return Err("the first price book's version is not 1");
        }
        if e.valid_from < entry.time {
            return Err("a price book holds before it was published");
        }
        let mut prices: Fast<Box<str>, Vec<Credits>> = Fast::default();
        for price in &e.prices {
            prices
                .entry(price.endpoint.as_str().into())
                .or_default()
                .push(price.price);
        }
        self.books.push(Book {
            position: entry.position,
            version: e.version,
            valid_from: e.valid_from,
            prices,
        });
        Ok(())
    }

    /// Whether a hold is at the price of the book that holds. One beside another hold keeps that one's book.
    pub(super) fn judge(&mut self, entry: &Entry<'_>, held: &Held<'_>, top_up: impl Fn() -> bool) -> Entered {
        let version = held.work.price_version;
        let mut published = self.books.iter().rev().filter(|book| book.position < entry.position);
        let in_force = published.clone().find(|book| book.valid_from <= entry.time);
        let in_force = in_force.map_or(0, |book| book.version);
        let book = published.find(|book| book.version == version);
        // Without the beginning, what held before the first book that is known is not known.
        let from_the_first = self.complete || self.books.first().is_some_and(|first| first.version == 1);
        let judged = from_the_first && (version == 0 || book.is_some());
        if judged && in_force != version && !top_up() {
            return Err("the price is of a book that does not hold");
        }
        let Some(book) = book else {
            if version != 0 && self.complete {
                return Err("the price is of a book that was never published");
            }
            self.unknown = self.unknown.saturating_add(1);
            return Ok(());
        };
        self.judged = self.judged.saturating_add(1);
        let price = held.work.unit_price;
        let free = price.is_zero() && (held.work.environment == Environment::Test || held.once.is_some());
        let mut prices = book.prices.get(held.work.endpoint).into_iter().flatten();
        if free || prices.any(|of_book| *of_book == price) {
            Ok(())
        } else {
            Err("the price is not the book's")
        }
    }
}
