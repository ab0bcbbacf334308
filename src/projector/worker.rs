//! One projection's worker: take the next events, fold them, write rows and checkpoint together.

use std::marker::PhantomData;
use std::time::Duration;

use keyledger_events::{Position, Recorded, Shard};
use keyledger_projections::Changes as _;
use sqlx::{Connection as _, PgConnection, PgPool, Row as _};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ProjectionStatus;
use super::feed::{Feed, Shared};
use super::halts::{self, Halt};
use super::source::SourceError;
use super::tables::{Generation, Table, WriteError};
use crate::log::{as_gauge, bigint, time_column, timestamp};

pub(super) struct Worker<T> {
    pool: PgPool,
    shard: Shard,
    feed: Feed,
    tell: watch::Sender<ProjectionStatus>,
    /// No batch begins before.
    next_batch_at: Instant,
    pace: Pace,
    /// The last turn failed too, so the operator has been told.
    stumbling: bool,
    table: PhantomData<T>,
}

/// How far apart batches begin. A row that many events change is written once a batch, so where very many come for long, longer
/// batches write fewer rows.
#[derive(Default)]
struct Pace {
    /// Events of the last batches, each of which was all that there was.
    lately: [usize; 3],
}

/// For each so many events, the next batch begins a millisecond later.
const EVENTS_A_MILLISECOND: u64 = 30;
const BATCH_EVERY_MAX: Duration = Duration::from_millis(200);

/// What stopped one turn.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stumble {
    /// The world: try again.
    #[error("{0}")]
    Retry(String),
    /// The log or this program: stop here until somebody looks.
    #[error("{}", .0.why)]
    Halt(Halt),
}

const PAUSE_AFTER_RETRY: Duration = Duration::from_millis(250);
/// A halted projection tries again this often: another version may have been started meanwhile.
const PAUSE_AFTER_HALT: Duration = Duration::from_secs(5);
/// A statement or SQL transaction that takes longer has lost its connection without being told.
const WRITE_SECONDS_MAX: u64 = 15;

impl Pace {
    /// Notes a batch, and whether it was all that there was: how long from its beginning to the next one's. One long batch alone
    /// was a pause of somebody else's. Who catches up does not wait.
    fn note(&mut self, events: usize, all: bool) -> Duration {
        self.lately.rotate_left(1);
        if let Some(latest) = self.lately.last_mut() {
            *latest = if all { events } else { 0 };
        }
        let least = self.lately.iter().min().copied().unwrap_or(0);
        let milliseconds = u64::try_from(least).unwrap_or(u64::MAX) / EVENTS_A_MILLISECOND;
        Duration::from_millis(milliseconds).min(BATCH_EVERY_MAX)
    }
}

impl<T: Table> Worker<T> {
    pub(super) fn new(pool: PgPool, shard: Shard, feed: Feed, tell: watch::Sender<ProjectionStatus>) -> Worker<T> {
        Worker {
            pool,
            shard,
            feed,
            tell,
            next_batch_at: Instant::now(),
            pace: Pace::default(),
            stumbling: false,
            table: PhantomData,
        }
    }

    /// Works until told to stop. A turn's SQL transaction is never cut in the middle.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut checkpoint = None;
        loop {
            let pause = match self.turn(&mut checkpoint, &stop).await {
                Ok(true) => continue,
                Ok(false) => return,
                Err(stumble) => {
                    checkpoint = None;
                    self.keep(&stumble).await;
                    self.note(&stumble)
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// One batch. Answers whether to go on.
    async fn turn(&mut self, checkpoint: &mut Option<Position>, stop: &CancellationToken) -> Result<bool, Stumble> {
        let from = match *checkpoint {
            Some(position) => position,
            None => self.read_checkpoint().await?,
        };
        *checkpoint = Some(from);
        let next = async {
            tokio::time::sleep_until(self.next_batch_at).await;
            self.feed.next(from).await
        };
        let next = match stop.run_until_cancelled(next).await {
            None => return Ok(false),
            Some(Err(SourceError::Log(error))) => return Err(Stumble::Retry(error.to_string())),
            Some(Err(SourceError::Unreadable { position, error })) => {
                return Err(Stumble::Halt(Halt::at_unreadable(position, &error)));
            }
            Some(Ok(following)) => following,
        };
        self.next_batch_at = Instant::now() + T::BATCH_EVERY.max(self.pace.note(next.events.len(), next.all));
        *checkpoint = self.fold(from, &next.events).await?;
        Ok(true)
    }

    /// Folds and writes a batch. One that does not fit is tried event by event, from the log, to find the one at fault.
    /// Answers the new checkpoint; `None` when somebody else moved it.
    async fn fold(&mut self, from: Position, events: &[Shared]) -> Result<Option<Position>, Stumble> {
        match fold_and_write::<T>(&self.pool, self.shard, from, events).await {
            Ok(Some(to)) => {
                self.note_progress(events);
                Ok(Some(to))
            }
            Ok(None) => Ok(None),
            Err(WriteError::Database(error)) => Err(Stumble::Retry(error.to_string())),
            Err(WriteError::DoesNotFit(_)) => {
                let again = self
                    .feed
                    .again(from, events)
                    .await
                    .map_err(|error| Stumble::Retry(error.to_string()))?;
                self.fold_one_by_one(from, &again).await
            }
        }
    }

    async fn fold_one_by_one(&mut self, from: Position, events: &[Shared]) -> Result<Option<Position>, Stumble> {
        let mut at = from;
        for event in events {
            match fold_and_write::<T>(&self.pool, self.shard, at, std::slice::from_ref(event)).await {
                Ok(Some(to)) => {
                    self.note_progress(std::slice::from_ref(event));
                    at = to;
                }
                Ok(None) => return Ok(None),
                Err(WriteError::Database(error)) => return Err(Stumble::Retry(error.to_string())),
                Err(WriteError::DoesNotFit(why)) => {
                    return Err(Stumble::Halt(Halt {
                        event: Some(event.id),
                        why: format!("event {} cannot be folded: {why}", event.position),
                    }));
                }
            }
        }
        Ok(Some(at))
    }

    /// Where the projection stands. Another projector may have taken it further, also past where this one halted.
    async fn read_checkpoint(&mut self) -> Result<Position, Stumble> {
        let retry = |error: sqlx::Error| Stumble::Retry(error.to_string());
        let asked =
            sqlx::query("select position, recorded_at from views.checkpoints where projection = $1 and shard = $2")
                .bind(T::VIEW.as_str())
                .bind(shard_column(self.shard))
                .fetch_optional(&self.pool);
        let row = in_time(async { Ok(asked.await?) })
            .await
            .map_err(|error| Stumble::Retry(error.to_string()))?
            .ok_or_else(|| {
                Stumble::Halt(Halt {
                    event: None,
                    why: format!("{} has no checkpoint; run `keyledger migrate`", T::VIEW),
                })
            })?;
        let position: i64 = row.try_get("position").map_err(retry)?;
        let recorded_at =
            timestamp(row.try_get("recorded_at").map_err(retry)?).map_err(|e| Stumble::Retry(e.to_string()))?;
        let position = Position(position.unsigned_abs());
        self.tell.send_if_modified(|status| {
            let moved = status.checkpoint != position;
            if moved {
                status.checkpoint = position;
                status.recorded_at = recorded_at;
                status.halted = None;
            }
            moved
        });
        Ok(position)
    }

    fn note_progress(&mut self, events: &[Shared]) {
        let Some(last) = events.last() else { return };
        if std::mem::take(&mut self.stumbling) {
            tracing::info!(view = %T::VIEW, position = %last.position, "a projection goes on");
        }
        metrics::gauge!("keyledger_checkpoint", "view" => T::VIEW.as_str()).set(as_gauge(last.position.0));
        self.tell.send_modify(|status| {
            status.checkpoint = last.position;
            status.recorded_at = last.time;
            status.halted = None;
        });
    }

    /// Writes down what has stopped it. What cannot be written now is written at the next try.
    async fn keep(&mut self, stumble: &Stumble) {
        let Stumble::Halt(halt) = stumble else { return };
        let checkpoint = self.tell.borrow().checkpoint;
        let keeping = halts::keep(&self.pool, T::VIEW, self.shard, checkpoint, halt);
        if let Err(error) = in_time(async { Ok(keeping.await?) }).await {
            tracing::debug!(view = %T::VIEW, %error, "a halt could not be written down");
        }
    }

    /// Says once what went wrong, and how long to wait.
    fn note(&mut self, stumble: &Stumble) -> Duration {
        match stumble {
            Stumble::Retry(why) => {
                if std::mem::replace(&mut self.stumbling, true) {
                    tracing::debug!(view = %T::VIEW, %why, "a projection tries again");
                } else {
                    tracing::warn!(view = %T::VIEW, %why, "a projection tries again until it can go on");
                }
                PAUSE_AFTER_RETRY
            }
            Stumble::Halt(Halt { why, .. }) => {
                let new = self.tell.send_if_modified(|status| {
                    let new = status.halted.as_ref() != Some(why);
                    status.halted = Some(why.clone());
                    new
                });
                if new {
                    tracing::error!(view = %T::VIEW, %why, "a projection has stopped; nothing is skipped");
                }
                PAUSE_AFTER_HALT
            }
        }
    }
}

/// Rows and checkpoint in one SQL transaction. `None`: the checkpoint was not at `from`, and nothing was written.
async fn fold_and_write<T: Table>(
    pool: &PgPool,
    shard: Shard,
    from: Position,
    events: &[Shared],
) -> Result<Option<Position>, WriteError> {
    let mut changes = T::Changes::default();
    for recorded in events {
        changes
            .fold(recorded)
            .map_err(|error| WriteError::DoesNotFit(error.why.to_owned()))?;
    }
    let Some(last) = events.last() else {
        return Ok(Some(from));
    };
    let mut connection = in_time(async { Ok(pool.acquire().await?) }).await?;
    let written = in_time(async {
        let mut transaction = connection.begin().await?;
        if !move_checkpoint::<T>(&mut transaction, shard, from, last).await? {
            transaction.rollback().await?;
            return Ok(None);
        }
        T::write(&mut transaction, Generation::Live, changes).await?;
        transaction.commit().await?;
        Ok(Some(last.position))
    });
    let outcome = written.await;
    // Whatever it was in the middle of, its next user would be in the middle of it too.
    if matches!(outcome, Err(WriteError::Database(_))) {
        connection.close_on_drop();
    }
    outcome
}

/// Runs one use of a connection with an end in time.
async fn in_time<R>(step: impl Future<Output = Result<R, WriteError>>) -> Result<R, WriteError> {
    match tokio::time::timeout(Duration::from_secs(WRITE_SECONDS_MAX), step).await {
        Ok(outcome) => outcome,
        Err(_) => Err(WriteError::Database(sqlx::Error::PoolTimedOut)),
    }
}

/// Moves the checkpoint if it stands where this fold began: of two projectors, one waits here and then learns that it lost.
async fn move_checkpoint<T: Table>(
    connection: &mut PgConnection,
    shard: Shard,
    from: Position,
    to: &Recorded,
) -> Result<bool, WriteError> {
    let moved = sqlx::query(
        "update views.checkpoints set position = $4, recorded_at = $5
         where projection = $1 and shard = $2 and position = $3",
    )
    .bind(T::VIEW.as_str())
    .bind(shard_column(shard))
    .bind(bigint(from.0))
    .bind(bigint(to.position.0))
    .bind(time_column(to.time))
    .execute(connection)
    .await?;
    Ok(moved.rows_affected() == 1)
}

pub(super) fn shard_column(shard: Shard) -> i16 {
    i16::try_from(shard.0).unwrap_or(i16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_longer_only_while_very_many_events_come_for_long() {
        let after = |pace: &mut Pace, events: usize, all: bool| pace.note(events, all).as_millis();
        let mut pace = Pace::default();
        assert_eq!(
            [(); 2].map(|()| after(&mut pace, 3_000, true)),
            [0, 0],
            "a pause is made up for"
        );
        assert_eq!(after(&mut pace, 6_000, true), 100);
        assert_eq!(after(&mut pace, 300, true), 10, "it has become quiet");
        let mut pace = Pace::default();
        let catching_up = [(); 5].map(|()| after(&mut pace, 20_000, false));
        assert_eq!(catching_up, [0; 5], "who is behind does not wait");
        let flooded = [(); 3].map(|()| after(&mut pace, 20_000, true));
        assert_eq!(flooded, [0, 0, BATCH_EVERY_MAX.as_millis()]);
    }
}
