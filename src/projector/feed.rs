//! What the log has new, heard, read and decoded once for all projections.
//!
//! In: the source, from where the log ends at the start. Out: to each projection, the events right after its place.
//!
//! Promise: what a projection is given follows its place without a gap. Whoever stands before what is kept here, or hears
//! nothing for a while, reads the log; projections that stand at the same place share the page. So none waits for
//! another, and one that has stopped keeps nothing from the rest.
//!
//! Not here: checkpoints, and what the events mean.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyledger_events::{Position, Recorded};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::source::{LOOK_EVERY, Source, SourceError, is_full, read_page};
use crate::log::Log;

/// An event that several projections fold.
pub(super) type Shared = Arc<Recorded>;

/// What follows a projection's place.
pub(super) struct Following {
    /// At least one.
    pub(super) events: Vec<Shared>,
    /// Whether this is all that is known to follow.
    pub(super) all: bool,
}

/// The newest events of one shard. Cheap to clone.
#[derive(Clone)]
pub(super) struct Feed {
    log: Log,
    newest: Arc<Mutex<Newest>>,
    pages: Arc<tokio::sync::Mutex<VecDeque<Vec<Shared>>>>,
    grown: watch::Sender<Position>,
}

/// The end of the log as far as it is known, in order and without a gap.
#[derive(Default)]
struct Newest {
    events: VecDeque<Shared>,
    end: Position,
    /// Something in it did not fit a view: it may not be what the log holds.
    doubted: bool,
}

/// A projection that is further behind reads the log: some megabytes.
const EVENTS_KEPT_MAX: usize = 40_000;
const FOLDED_AT_ONCE_MAX: usize = 20_000;
/// Full pages of the log that projections read lately, while they catch up side by side.
const PAGES_KEPT_MAX: usize = 4;
/// After a look at the log that found nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(250);

impl Feed {
    /// Begins to listen, until told to stop.
    pub(super) fn start(log: Log, source: Source, stop: CancellationToken) -> Feed {
        let feed = Feed {
            log,
            newest: Arc::default(),
            pages: Arc::default(),
            grown: watch::Sender::new(Position::START),
        };
        let listening = feed.clone();
        tokio::spawn(async move { stop.run_until_cancelled(listening.listen(source)).await });
        feed
    }

    /// Waits for the events right after a position.
    pub(super) async fn next(&self, after: Position) -> Result<Following, SourceError> {
        let mut grown = self.grown.subscribe();
        loop {
            let following = match self.kept(after) {
                Some(kept) if !kept.events.is_empty() => kept,
                // Level, or ahead of what is known here.
                Some(_) if tokio::time::timeout(LOOK_EVERY, grown.changed()).await.is_ok() => continue,
                Some(_) | None => {
                    let events = self.page(after).await?;
                    let all = !is_full(events.len());
                    Following { events, all }
                }
            };
            if !following.events.is_empty() {
                return Ok(following);
            }
            // The log has nothing: it is not asked again at once, whatever is kept here.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The log's own page after a position, when what was given for it did not fit. If the log holds something else, nothing
    /// that is kept is believed any more.
    pub(super) async fn again(&self, after: Position, given: &[Shared]) -> Result<Vec<Shared>, SourceError> {
        let page = shared(read_page(&self.log, after).await?);
        if page.iter().zip(given).any(|(read, given)| read != given) {
            let mut newest = self.newest();
            newest.events.clear();
            newest.doubted = true;
        }
        Ok(page)
    }

    /// What is kept after a position, as much as is folded at once. `None`: it is kept no more.
    fn kept(&self, after: Position) -> Option<Following> {
        let newest = self.newest();
        let missing = usize::try_from(newest.end.0.saturating_sub(after.0)).ok()?;
        let skip = newest.events.len().checked_sub(missing)?;
        let events = newest.events.range(skip..).take(FOLDED_AT_ONCE_MAX);
        Some(Following {
            events: events.cloned().collect(),
            all: missing <= FOLDED_AT_ONCE_MAX,
        })
    }

    /// One page of the log. Who asks for the same one at the same time waits for it instead of reading it too.
    async fn page(&self, after: Position) -> Result<Vec<Shared>, SourceError> {
        let mut pages = self.pages.lock().await;
        if let Some(events) = pages.iter().find_map(|page| follow(page, after)) {
            return Ok(events);
        }
        let events = shared(read_page(&self.log, after).await?);
        if is_full(events.len()) {
            pages.push_back(events.clone());
            if pages.len() > PAGES_KEPT_MAX {
                pages.pop_front();
            }
        }
        Ok(events)
    }

    /// Keeps up with the log. What goes wrong is met by each projection for itself: an event that cannot be read is only
    /// passed over here.
    async fn listen(self, mut source: Source) {
        let mut from = self.begin().await;
        let mut stumbling = false;
        loop {
            match source.next(from).await {
                Ok(events) => {
                    stumbling = false;
                    from = events.last().map_or(from, |last| last.position);
                    if self.keep(events) {
                        source.doubt();
                    }
                    continue;
                }
                Err(SourceError::Unreadable { position, .. }) => {
                    from = position;
                    self.begin_again(from);
                }
                Err(SourceError::Log(error)) => {
                    if !std::mem::replace(&mut stumbling, true) {
                        tracing::warn!(%error, "the log cannot be read; it is tried until it can");
                    }
                }
            }
            tokio::time::sleep(PAUSE_AFTER_FAULT).await;
        }
    }

    /// Where the log ends now. What was written before is read from the log by those who do not have it yet.
    async fn begin(&self) -> Position {
        loop {
            match self.log.head().await {
                Ok(head) => {
                    self.begin_again(head.position);
                    return head.position;
                }
                Err(error) => tracing::debug!(%error, "the end of the log is not known yet"),
            }
            tokio::time::sleep(PAUSE_AFTER_FAULT).await;
        }
    }

    fn begin_again(&self, end: Position) {
        let mut newest = self.newest();
        newest.events.clear();
        newest.end = end;
    }

    /// Adds what is newest. Answers whether something that was added before was doubted since.
    fn keep(&self, events: Vec<Shared>) -> bool {
        let (end, doubted) = {
            let mut newest = self.newest();
            newest.end = events.last().map_or(newest.end, |last| last.position);
            newest.events.extend(events);
            let over = newest.events.len().saturating_sub(EVENTS_KEPT_MAX);
            newest.events.drain(..over);
            (newest.end, std::mem::take(&mut newest.doubted))
        };
        self.grown.send_replace(end);
        doubted
    }

    fn newest(&self) -> MutexGuard<'_, Newest> {
        // Nothing panics while it is held; a list that was cut short would only be read from the log.
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn shared(events: Vec<Recorded>) -> Vec<Shared> {
    events.into_iter().map(Arc::new).collect()
}

/// The events of a page that follow a position, if the very next one is among them.
fn follow(page: &[Shared], after: Position) -> Option<Vec<Shared>> {
    let skip = after.next().0.checked_sub(page.first()?.position.0)?;
    let events = page.get(usize::try_from(skip).ok()?..)?;
    (!events.is_empty()).then(|| events.to_vec())
}
