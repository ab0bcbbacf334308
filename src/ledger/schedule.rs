//! Which price book holds when, as far as deciding needs to know: versions and moments, never prices.
//!
//! Promise: at any moment that book holds which was published last of those whose moment has come. So a later publication
//! takes the place of one to come that would have held from the same moment or a later one.

use std::collections::VecDeque;

use keyledger_events::{PricesPublished, Timestamp};
use serde::{Deserialize, Serialize};

/// The books of a history. Empty before the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// The one that held last, and those to come: versions and moments both rise.
    books: VecDeque<Publication>,
    last: Option<Publication>,
}

/// A book, without its prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Counted from 1.
    pub version: u64,
    pub valid_from: Timestamp,
    pub published_at: Timestamp,
}

impl Schedule {
    /// The version that holds at a moment which is not before the last publication; 0 is the config file's.
    pub fn in_force(&self, now: Timestamp) -> u64 {
        let holds = self.books.iter().rev().find(|book| book.valid_from <= now);
        holds.map_or(0, |book| book.version)
    }

    /// How many books are still to come.
    pub fn to_come(&self, now: Timestamp) -> usize {
        self.to_come_before(Timestamp::MAX, now)
    }

    /// How many of them hold before a moment: those whose place a book of that moment does not take.
    pub fn to_come_before(&self, moment: Timestamp, now: Timestamp) -> usize {
        let to_come = self
            .books
            .iter()
            .filter(|book| book.valid_from > now && book.valid_from < moment);
        to_come.count()
    }

    /// The book that was published last.
    pub fn last(&self) -> Option<Publication> {
        self.last
    }

    pub(super) fn published(&mut self, e: &PricesPublished, at: Timestamp) -> Result<(), &'static str> {
        if e.version != self.last.map_or(1, |last| last.version + 1) {
            return Err("the price book's version is not the next one");
        }
        if e.valid_from < at {
            return Err("the price book would have held before it was published");
        }
        let book = Publication {
            version: e.version,
            valid_from: e.valid_from,
            published_at: at,
        };
        self.books.retain(|other| other.valid_from < book.valid_from);
        self.books.push_back(book);
        while self.books.get(1).is_some_and(|next| next.valid_from <= at) {
            self.books.pop_front();
        }
        self.last = Some(book);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u32) -> Timestamp {
        Timestamp::EPOCH.plus_seconds(seconds)
    }

    /// Publishes books by the moments of publication and of holding.
    fn schedule(books: &[(u32, u32)]) -> Schedule {
        let mut schedule = Schedule::default();
        for (version, (published, from)) in (1..).zip(books) {
            let book = PricesPublished {
                version,
                valid_from: at(*from),
                prices: vec![],
            };
            schedule.published(&book, at(*published)).unwrap();
        }
        schedule
    }

    fn held(schedule: &Schedule, moments: &[u32]) -> Vec<u64> {
        moments.iter().map(|seconds| schedule.in_force(at(*seconds))).collect()
    }

    #[test]
    fn a_book_holds_from_its_moment_on() {
        let schedule = schedule(&[(10, 20), (12, 30)]);
        assert_eq!(held(&schedule, &[12, 19, 20, 29, 30, 99]), [0, 0, 1, 1, 2, 2]);
        assert_eq!(schedule.to_come(at(20)), 1);
    }

    #[test]
    fn a_later_publication_takes_the_place_of_what_would_hold_from_then_on() {
        let earlier = schedule(&[(10, 30), (12, 20)]);
        assert_eq!(held(&earlier, &[12, 20, 30]), [0, 2, 2]);
        let same = schedule(&[(10, 20), (12, 20)]);
        assert_eq!(held(&same, &[12, 20]), [0, 2]);
        let at_once = schedule(&[(10, 20), (12, 30), (14, 14)]);
        assert_eq!(held(&at_once, &[14, 20, 30]), [3, 3, 3]);
        assert_eq!(at_once.books.len(), 1, "what never holds is forgotten");
    }

    #[test]
    fn what_has_held_is_forgotten_when_another_holds() {
        let many: Vec<(u32, u32)> = (1..100).map(|n| (n, n)).collect();
        assert_eq!(schedule(&many).books.len(), 1);
    }

    #[test]
    fn versions_have_no_gap_and_no_book_holds_before_it_is_published() {
        let book = |version, from| PricesPublished {
            version,
            valid_from: at(from),
            prices: vec![],
        };
        let mut schedule = schedule(&[(10, 10)]);
        assert!(schedule.published(&book(3, 20), at(20)).is_err());
        assert!(schedule.published(&book(1, 20), at(20)).is_err());
        assert!(schedule.published(&book(2, 19), at(20)).is_err());
        assert!(schedule.published(&book(2, 20), at(20)).is_ok());
    }
}
