//! Which of the books that are on the shelf holds.

use std::sync::Arc;

use keyledger_events::{Position, Timestamp};

use crate::prices::PriceBook;

/// A book and since when it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated {
    /// 0 is the config file's.
    pub version: u64,
    pub published: Option<Published>,
    pub book: Arc<PriceBook>,
}

/// What the log says of a book beside its prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    pub valid_from: Timestamp,
    pub at: Timestamp,
    /// Where the log says so.
    pub position: Position,
}

/// Books that have held and are kept: clocks of other processes may be a little behind.
const FORMER_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct Books {
    file: Arc<PriceBook>,
    /// Versions and moments both rise.
    published: Vec<(Published, u64, Arc<PriceBook>)>,
}

impl Books {
    pub(super) fn of_file(book: PriceBook) -> Books {
        Books {
            file: Arc::new(book),
            published: Vec::new(),
        }
    }

    /// Puts the book there that was published after all that are there.
    pub(super) fn put(&mut self, published: Published, version: u64, book: PriceBook) {
        self.published
            .retain(|(other, _, _)| other.valid_from < published.valid_from);
        self.published.push((published, version, Arc::new(book)));
        let past = self.past(published.at);
        self.published.drain(..past.saturating_sub(FORMER_MAX + 1));
    }

    /// How many have begun to hold.
    fn past(&self, now: Timestamp) -> usize {
        self.published.partition_point(|(book, _, _)| book.valid_from <= now)
    }

    fn dated(&self, place: usize) -> Option<Dated> {
        let (published, version, book) = self.published.get(place)?;
        Some(Dated {
            version: *version,
            published: Some(*published),
            book: Arc::clone(book),
        })
    }

    pub(super) fn book(&self, now: Timestamp) -> &Arc<PriceBook> {
        let last = self.past(now).checked_sub(1);
        last.and_then(|place| self.published.get(place))
            .map_or(&self.file, |(_, _, book)| book)
    }

    pub(super) fn in_force(&self, now: Timestamp) -> Dated {
        let last = self.past(now).checked_sub(1);
        last.and_then(|place| self.dated(place)).unwrap_or_else(|| Dated {
            version: 0,
            published: None,
            book: Arc::clone(&self.file),
        })
    }

    pub(super) fn next(&self, now: Timestamp) -> Option<Dated> {
        self.dated(self.past(now))
    }

    /// All that are here, by their versions: the file's, and those that were published.
    pub(super) fn kept(&self) -> Vec<(u64, Arc<PriceBook>)> {
        let published = self.published.iter().map(|(_, version, book)| (*version, book));
        let all = std::iter::once((0, &self.file)).chain(published);
        all.map(|(version, book)| (version, Arc::clone(book))).collect()
    }

    pub(super) fn of_version(&self, version: u64) -> Option<Arc<PriceBook>> {
        if version == 0 {
            return Some(Arc::clone(&self.file));
        }
        let found = self.published.iter().find(|(_, own, _)| *own == version);
        found.map(|(_, _, book)| Arc::clone(book))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u32) -> Timestamp {
        Timestamp::EPOCH.plus_seconds(seconds)
    }

    fn books(all: &[(u32, u32)]) -> Books {
        let mut books = Books::of_file(PriceBook::default());
        for (version, (published, from)) in (1..).zip(all) {
            let published = Published {
                valid_from: at(*from),
                at: at(*published),
                position: Position(version),
            };
            books.put(published, version, PriceBook::default());
        }
        books
    }

    #[test]
    fn the_file_holds_until_a_published_book_does_and_the_next_one_is_told_before() {
        let books = books(&[(10, 20), (12, 30)]);
        let told = |now| {
            let next = books.next(at(now)).map(|book| book.version);
            (books.in_force(at(now)).version, next)
        };
        assert_eq!([told(19), told(20), told(30)], [(0, Some(1)), (1, Some(2)), (2, None)]);
    }

    #[test]
    fn a_book_whose_place_is_taken_is_gone() {
        let books = books(&[(10, 30), (12, 20)]);
        assert_eq!(books.next(at(12)).unwrap().version, 2);
        assert!(books.of_version(1).is_none());
        assert_eq!(books.in_force(at(40)).version, 2);
    }

    #[test]
    fn some_that_have_held_are_kept() {
        let all: Vec<(u32, u32)> = (1..=20).map(|n| (n, n)).collect();
        let books = books(&all);
        assert_eq!(books.published.len(), FORMER_MAX + 1);
        assert!(books.of_version(17).is_some() && books.of_version(15).is_none());
        assert!(books.of_version(0).is_some());
    }
}
