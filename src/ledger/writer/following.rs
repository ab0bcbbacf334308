//! Following: what others append is read into the accounts in memory, keys that others delete end here, and prices that they
//! publish are told of.
//!
//! Promise: no deletion and no publication is passed over, from the first look at the log on, whatever happens to the memory.

use std::time::Duration;

use keyledger_events::Event;
use tokio::time::Instant;

use super::Writer;
use crate::ledger::forwarded::later;
use crate::log::{Head, Heard, ReadError, Stored};

/// How stale an idle process may be: a key deleted elsewhere stops work under way here within this and a read.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);
/// Events read at once when following.
const FOLLOW_EVENTS_MAX: u32 = 1_000;

impl Writer {
    /// Looks whether others have appended, and reads what they wrote.
    pub(super) async fn follow(&mut self) {
        self.look_at = Instant::now() + FOLLOW_EVERY;
        if self.elsewhere.is_so() {
            self.cache.clear();
        }
        let followed = match self.head {
            None => match self.log.head().await {
                Ok(head) => self.resume(head).await,
                Err(error) => Err(error),
            },
            Some(head) => match self.log.head().await {
                Ok(now) if now.position == head.position => {
                    self.reachable_again();
                    Ok(())
                }
                Ok(_) => self.catch_up().await,
                Err(error) => Err(error),
            },
        };
        if let Err(error) = followed {
            self.note_unreachable(&error);
        }
    }

    /// Reads the events that others appended after our head, page by page, into the accounts in memory. What is being read for
    /// commands is outdated then.
    pub(super) async fn catch_up(&mut self) -> Result<(), ReadError> {
        self.loadings.note_others();
        loop {
            let Some(head) = self.head else {
                let head = self.log.head().await?;
                return self.resume(head).await;
            };
            if self.cache.is_empty() {
                let now = self.hear_ends(head).await?;
                self.advance(now);
                if now == head {
                    return Ok(());
                }
                continue;
            }
            let page = self.log.read(head.position, FOLLOW_EVENTS_MAX).await?;
            let Some(last) = page.last() else { return Ok(()) };
            let mut now = Head {
                position: last.position,
                recorded_at: head.recorded_at,
            };
            let mut events = Vec::with_capacity(page.len());
            let mut all_read = true;
            for stored in &page {
                match stored.decode() {
                    Ok(recorded) => events.push(recorded),
                    Err(error) => {
                        tracing::error!(position = %stored.position, %error, "an event cannot be read");
                        self.forget_owner_of(stored);
                        all_read = false;
                    }
                }
            }
            for account in self.log.open_most(&mut events).await? {
                self.cache.drop_account(account);
            }
            if !all_read {
                // It may have ended a key all the same, which its columns say, and no event is before it by the log's clock.
                now.recorded_at = self.hear_ends(head).await?.recorded_at;
            }
            for recorded in events {
                now.recorded_at = now.recorded_at.max(recorded.time);
                if let Err(inconsistent) = self.cache.follow(&recorded) {
                    tracing::error!(%inconsistent, "an account's history cannot be folded");
                }
                if let Event::KeyDeleted(deleted) = &recorded.event {
                    self.signals.end(deleted.key);
                }
                if matches!(recorded.event, Event::PricesPublished(_)) {
                    self.signals.prices_published();
                }
            }
            let whole = u32::try_from(page.len()).is_ok_and(|read| read < FOLLOW_EVENTS_MAX);
            self.advance(now);
            if whole {
                return Ok(());
            }
        }
    }

    /// Drops the account whose event cannot be read, or all of them where it does not say whose it is. Whoever wants one next reads
    /// its history, and so that one alone turns out to be broken.
    fn forget_owner_of(&mut self, stored: &Stored) {
        match stored.label().map(|label| label.subject.parse()) {
            Ok(Ok(account)) => self.cache.drop_account(account),
            Ok(Err(_)) | Err(_) => self.cache.clear(),
        }
    }

    /// Goes on from a head that was read anew. Keys that ended since the last one that was known end here too.
    pub(super) async fn resume(&mut self, head: Head) -> Result<(), ReadError> {
        while let Some(heard) = self.heard.filter(|heard| heard.position < head.position) {
            self.heard = Some(self.hear_ends(heard).await?);
        }
        self.advance(head);
        Ok(())
    }

    /// Ends the work of keys that others deleted after `known`, tells of prices, and says how far that reaches.
    async fn hear_ends(&mut self, known: Head) -> Result<Head, ReadError> {
        let Heard {
            head,
            ended,
            prices_published,
        } = self.log.heard_since(known).await?;
        for key in ended {
            self.signals.end(key);
        }
        if prices_published {
            self.signals.prices_published();
        }
        Ok(head)
    }

    pub(super) fn advance(&mut self, head: Head) {
        self.head = Some(head);
        self.signals.heard_time(head.recorded_at);
        self.heard = Some(head);
        self.elsewhere.may_be();
        self.look_at = Instant::now() + FOLLOW_EVERY;
        later(&self.committed, head.position);
        self.reachable_again();
    }

    pub(super) fn note_unreachable(&mut self, error: &dyn std::error::Error) {
        if !std::mem::replace(&mut self.unreachable, true) {
            tracing::warn!(%error, "the log cannot be reached; commands are answered 503 until it can");
        }
    }

    pub(super) fn reachable_again(&mut self) {
        if std::mem::replace(&mut self.unreachable, false) {
            tracing::info!("the log can be reached again");
        }
    }
}
