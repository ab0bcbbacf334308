//! One pass over the log for all views that are rebuilt: each page is read and decoded once, the next one meanwhile.

use std::sync::Arc;

use futures_util::{Stream, StreamExt as _, stream};
use keyledger_events::{Position, Recorded, Shard};
use sqlx::{PgPool, Row as _};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::RebuildError;
use crate::log::{Log, Stored};
use crate::projector::View;

/// Events of one shard, in order.
#[derive(Clone)]
pub(super) struct Page {
    pub(super) shard: Shard,
    pub(super) events: Arc<Vec<Recorded>>,
}

pub(super) const EVENTS_A_PAGE: u32 = 5_000;
/// A view that writes lets this many pages wait; then it keeps the pass waiting.
pub(super) const PAGES_WAITING_MAX: usize = 8;
/// Pages that are being read or decoded, and pages that are ready.
const DECODING_MAX: usize = 3;
const PAGES_AHEAD: usize = 2;

pub(super) struct Pass {
    logs: Vec<Log>,
    takers: Vec<mpsc::Sender<Page>>,
}

impl Pass {
    /// Over every shard that one of the views knows.
    pub(super) async fn over(pool: PgPool, views: &[View]) -> Result<Pass, RebuildError> {
        let names: Vec<&str> = views.iter().copied().map(View::as_str).collect();
        let rows =
            sqlx::query("select distinct shard from views.checkpoints where projection = any($1) order by shard")
                .bind(&names)
                .fetch_all(&pool)
                .await?;
        let logs = rows.iter().map(|row| Ok(Log::new(pool.clone(), shard_of(row)?)));
        Ok(Pass {
            logs: logs.collect::<Result<_, sqlx::Error>>()?,
            takers: Vec::new(),
        })
    }

    pub(super) fn hand_to(&mut self, taker: mpsc::Sender<Page>) {
        self.takers.push(taker);
    }

    /// Hands out every page. Tells after each how many events are read and how many there are. It ends early when nobody
    /// takes any more.
    pub(super) async fn run(&mut self, mut progress: impl FnMut(u64, u64) + Send) -> Result<(), RebuildError> {
        let mut heads = 0;
        for log in &self.logs {
            heads += log.head().await?.position.0;
        }
        let mut read = 0;
        for log in self.logs.clone() {
            let shard = log.shard();
            let (send, mut pages) = mpsc::channel(PAGES_AHEAD);
            // Reads on while a page is handed out. It ends with this.
            let reading = AbortOnDropHandle::new(tokio::spawn(read_ahead(log, send)));
            while let Some(events) = pages.recv().await {
                let events = Arc::new(events?);
                read += u64::try_from(events.len()).unwrap_or(0);
                self.hand_out(&Page { shard, events }).await;
                if self.takers.is_empty() {
                    return Ok(());
                }
                progress(read, heads.max(read));
            }
            // One that broke off is no log that ended.
            reading.await.map_err(|_| RebuildError::CutShort)?;
        }
        Ok(())
    }

    /// A view whose rebuild has ended takes no more.
    async fn hand_out(&mut self, page: &Page) {
        let mut gone = Vec::new();
        for (index, taker) in self.takers.iter().enumerate() {
            if taker.send(page.clone()).await.is_err() {
                gone.push(index);
            }
        }
        for index in gone.into_iter().rev() {
            self.takers.swap_remove(index);
        }
    }
}

/// Sends every page of a shard's log. What goes wrong is sent as well, and is the last.
async fn read_ahead(log: Log, send: mpsc::Sender<Result<Vec<Recorded>, RebuildError>>) {
    let mut pages = std::pin::pin!(decoded(log));
    while let Some(page) = pages.next().await {
        let failed = page.is_err();
        if send.send(page).await.is_err() || failed {
            return;
        }
    }
}

/// The pages of a shard's log, up to where it ends when it is got there.
fn decoded(log: Log) -> impl Stream<Item = Result<Vec<Recorded>, RebuildError>> {
    stored(log.clone())
        .map(move |page| (page, log.clone()))
        .map(|(page, opening)| async move {
            let page = page?;
            let decoding = tokio::task::spawn_blocking(move || decode(&page));
            let mut events = decoding.await.map_err(|_| RebuildError::CutShort)??;
            opening.open(&mut events).await?;
            Ok(events)
        })
        .buffered(DECODING_MAX)
}

fn stored(log: Log) -> impl Stream<Item = Result<Vec<Stored>, RebuildError>> {
    stream::try_unfold(Some(Position::START), move |after| {
        let log = log.clone();
        async move {
            let Some(after) = after else { return Ok(None) };
            let page = log.read(after, EVENTS_A_PAGE).await?;
            let full = u32::try_from(page.len()) == Ok(EVENTS_A_PAGE);
            let next = page.last().map(|last| last.position).filter(|_| full);
            Ok((!page.is_empty()).then_some((page, next)))
        }
    })
}

pub(super) fn decode(page: &[Stored]) -> Result<Vec<Recorded>, RebuildError> {
    let decoded = page.iter().map(|stored| {
        stored.decode().map_err(|error| RebuildError::DoesNotFit {
            position: stored.position,
            why: error.to_string(),
        })
    });
    decoded.collect()
}

pub(super) fn shard_of(row: &sqlx::postgres::PgRow) -> Result<Shard, sqlx::Error> {
    Ok(Shard(row.try_get::<i16, _>("shard")?.unsigned_abs()))
}
