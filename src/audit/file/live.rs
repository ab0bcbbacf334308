//! The auditor's books over a log that is read where it lives, from its first event.

use super::books::{About, Books};
use super::fact::Desk;

/// Keeps books of a shard's events, by none of the ledger's rules.
#[derive(Debug)]
pub struct LiveBooks {
    books: Books,
    desk: Desk,
}

impl LiveBooks {
    pub fn of_shard(shard: u16) -> LiveBooks {
        LiveBooks {
            books: Books::open(About::Shard { from_the_first: true }, u64::from(shard)),
            desk: Desk::default(),
        }
    }

    /// Enters the next event, or says why it may not follow. After that the books are of no use any more.
    pub fn enter(&mut self, bytes: &[u8]) -> Result<(), String> {
        let entry = self.desk.read(bytes).map_err(|error| error.to_string())?;
        self.books.enter(&entry).map_err(|why| why.to_string())
    }
}
