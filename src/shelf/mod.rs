//! The price books that a process has at hand: the config file's, and those that were published.
//!
//! In: the config file's book, and the log of the system's own history. Out: the book that holds now, by this process's
//! clock; or the one that the ledger says holds.
//!
//! Promise: a published book is here soon after it is in the log, and at the latest when the ledger refuses another one's
//! price. Which book holds is the ledger's to say: a price of another one holds nothing and charges nothing.
//!
//! Not here: what is in a book, and who may publish one.

mod books;

use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use keyledger_events::{Event, Seq, Timestamp};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use books::{Dated, Published};

use crate::clock;
use crate::ledger::{Refusal, SubmitError};
use crate::log::{Log, ReadError};
use crate::prices::{PriceBook, read_published};
use books::Books;

/// The books of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shelf(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    books: RwLock<Books>,
    /// Where published books are read; nowhere in a process that follows no log.
    log: OnceLock<Log>,
    /// How far they have been read. Held while somebody reads on.
    read: Mutex<Seq>,
    /// When the last look was begun for somebody who found no price. Held while somebody looks.
    looked: Mutex<Option<Instant>>,
}

/// Books read at once: one may have 60 KiB.
const BOOKS_AT_ONCE: u32 = 8;
/// When nothing was heard for so long, the log is asked all the same.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Between looks for those who find no price.
const LOOK_AGAIN_EVERY: Duration = Duration::from_millis(100);
/// How long one of them waits for it.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(1);
const PAUSE_WITHOUT_LOG: Duration = Duration::from_millis(500);

impl Shelf {
    /// With the config file's book alone.
    pub fn of_file(book: PriceBook) -> Shelf {
        Shelf(Arc::new(Inner {
            books: RwLock::new(Books::of_file(book)),
            log: OnceLock::new(),
            read: Mutex::new(Seq::START),
            looked: Mutex::new(None),
        }))
    }

    /// From now on published books come here too. `heard` changes when the writer of this process has heard of one.
    pub fn follow(&self, log: Log, mut heard: watch::Receiver<u64>, stop: CancellationToken) {
        // Set once a process.
        let _ = self.0.log.set(log);
        let shelf = self.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                heard.mark_unchanged();
                if let Err(error) = shelf.refresh().await {
                    tracing::debug!(%error, "published prices cannot be read now");
                    tokio::time::sleep(PAUSE_WITHOUT_LOG).await;
                    continue;
                }
                // A writer that is gone tells nothing more; the end of the process is near.
                let told = tokio::time::timeout(LOOK_EVERY, heard.changed()).await;
                if matches!(told, Ok(Err(_))) {
                    return;
                }
            }
        }));
    }

    /// Reads all that has been published by now.
    pub async fn refresh(&self) -> Result<(), ReadError> {
        let Some(log) = self.0.log.get() else { return Ok(()) };
        let mut read = self.0.read.lock().await;
        loop {
            let events = log.price_books(*read, BOOKS_AT_ONCE).await?;
            if events.is_empty() {
                return Ok(());
            }
            for stored in events {
                let Ok(recorded) = stored.decode() else {
                    tracing::error!(position = %stored.position, "an event cannot be read");
                    return Err(ReadError::Corrupt {
                        what: "an event that cannot be read",
                    });
                };
                if let Event::PricesPublished(published) = &recorded.event {
                    let version = published.version;
                    match read_published(&published.prices, version) {
                        Ok(book) => {
                            let published = Published {
                                valid_from: published.valid_from,
                                at: recorded.time,
                                position: recorded.position,
                            };
                            self.put(published, version, book);
                        }
                        // It is not here, so nothing is sold by it, and nothing by another one either: the ledger sees to that.
                        Err(complaints) => {
                            let first = complaints.first().map(ToString::to_string).unwrap_or_default();
                            tracing::error!(version, first, "a published price book cannot be read by this version");
                        }
                    }
                }
                *read = recorded.seq;
            }
        }
    }

    /// Reads what has been published by now, for somebody who has found no price and is about to be told so. However many ask,
    /// the log is asked ten times a second at most: those who have asked before a look was begun share it. Where the log cannot
    /// be asked, what is here has to do.
    pub async fn look_again(&self) {
        if self.0.log.get().is_none() {
            return;
        }
        let asked_at = Instant::now();
        let look = async {
            let mut looked = self.0.looked.lock().await;
            if let Some(last) = *looked {
                if last >= asked_at {
                    return;
                }
                tokio::time::sleep_until(last + LOOK_AGAIN_EVERY).await;
            }
            *looked = Some(Instant::now());
            if let Err(error) = self.refresh().await {
                tracing::debug!(%error, "published prices cannot be read now");
            }
        };
        if tokio::time::timeout(LOOK_AGAIN_MAX, look).await.is_err() {
            tracing::debug!("published prices could not be read in time");
        }
    }

    fn put(&self, published: Published, version: u64, book: PriceBook) {
        let mut books = self.0.books.write().unwrap_or_else(PoisonError::into_inner);
        books.put(published, version, book);
        tracing::info!(version, valid_from = %published.valid_from, "a price book was published");
    }

    fn books(&self) -> RwLockReadGuard<'_, Books> {
        // Each change under the lock is whole, so a panic elsewhere leaves nothing half done here.
        self.0.books.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The book that holds now, as far as this process knows.
    pub fn book(&self) -> Arc<PriceBook> {
        Arc::clone(self.books().book(clock::now()))
    }

    /// The same at a moment, with since when.
    pub fn in_force(&self, now: Timestamp) -> Dated {
        self.books().in_force(now)
    }

    /// The book that takes its place, where one is published.
    pub fn next(&self, now: Timestamp) -> Option<Dated> {
        self.books().next(now)
    }

    /// All books that are here, by their versions: that of the config file, some that have held, the one that holds, and
    /// those to come.
    pub fn kept(&self) -> Vec<(u64, Arc<PriceBook>)> {
        self.books().kept()
    }

    /// The book to ask with instead, where the ledger has refused a price because another book holds. `None`: what it said is
    /// to be told.
    pub async fn instead(&self, refused: &SubmitError) -> Option<Arc<PriceBook>> {
        let SubmitError::Refused {
            refusal: Refusal::OtherPricesHold { version },
            ..
        } = refused
        else {
            return None;
        };
        let here = self.books().of_version(*version);
        if here.is_some() {
            return here;
        }
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, version, "the prices that hold cannot be read");
        }
        self.books().of_version(*version)
    }
}

/// How often prices are looked up for one request. The ledger names the book that holds, so a second time is enough unless
/// another one begins to hold in between.
pub const LOOK_UPS_MAX: usize = 3;
