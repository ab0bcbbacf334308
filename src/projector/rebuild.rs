//! Folding a view again from the first event, beside the one that is read: blue/green.
//!
//! In: the log. Out: rows in schema `views_next`, which take the place of those in `views` when they are level.
//!
//! Promise: queries see the old rows or the new ones, never half of them, and the live projector goes on until the
//! moment of the exchange, which is one SQL transaction. Killed in the middle, nothing has changed; the next rebuild
//! clears away what was left. Two at once: the later one goes on, the earlier one ends and says so.
//!
//! The exchange writes only the rows that differ. Tables that others built SQL views on stay the same tables, and a
//! rebuild that finds nothing wrong changes nothing and says that too.

use std::marker::PhantomData;

use keyledger_events::{Position, Recorded, Shard};
use keyledger_projections::Changes as _;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::tables::{Balance, Charges, Generation, KeyList, Named, Reservations, Table, Usage, WriteError};
use super::view::View;
use super::worker::move_checkpoint;
use crate::log::{Log, ReadError};

/// Why a view was not rebuilt. It is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("the database cannot be reached: {0}")]
    Unreachable(#[from] sqlx::Error),
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error("event {position} cannot be folded: {why}")]
    DoesNotFit { position: Position, why: String },
    #[error("{view} has no checkpoint; run `keyledger migrate`")]
    NoCheckpoint { view: View },
    #[error("another rebuild of {view} has begun")]
    Superseded { view: View },
}

/// What a rebuild did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// Events folded, over all shards.
    pub events: u64,
    /// Rows that were removed or added because they differed from the log. None: the view was right.
    pub rows_changed: u64,
}

const EVENTS_AT_ONCE_MAX: u32 = 5_000;

/// Rebuilds a view, as the database's owner. Tells after every page how many events are folded and how many there are.
pub async fn rebuild(
    database_url: &str,
    view: View,
    progress: impl FnMut(u64, u64) + Send,
) -> Result<Rebuilt, RebuildError> {
    match view {
        View::KeyList => Rebuild::<KeyList>::run(database_url, progress).await,
        View::Balance => Rebuild::<Balance>::run(database_url, progress).await,
        View::Charges => Rebuild::<Charges>::run(database_url, progress).await,
        View::Reservations => Rebuild::<Reservations>::run(database_url, progress).await,
        View::Usage => Rebuild::<Usage>::run(database_url, progress).await,
    }
}

/// One shard's part of the next generation.
struct Part {
    log: Log,
    folded: Position,
}

struct Rebuild<T> {
    parts: Vec<Part>,
    table: PhantomData<T>,
}

impl<T: Table> Rebuild<T> {
    async fn run(database_url: &str, mut progress: impl FnMut(u64, u64) + Send) -> Result<Rebuilt, RebuildError> {
        // A connection of its own and no pool: when this future is dropped, it closes, and Postgres rolls back.
        let mut connection = PgConnection::connect(database_url).await?;
        let log_pool = PgPoolOptions::new().max_connections(1).connect(database_url).await?;
        let mut rebuild = Rebuild::<T> {
            parts: shards::<T>(&mut connection)
                .await?
                .into_iter()
                .map(|shard| Part {
                    log: Log::new(log_pool.clone(), shard),
                    folded: Position::START,
                })
                .collect(),
            table: PhantomData,
        };
        rebuild.begin(&mut connection).await?;
        for index in 0..rebuild.parts.len() {
            while rebuild.fold_page(&mut connection, index).await? {
                rebuild.tell(&mut progress).await?;
            }
        }
        let rows_changed = rebuild.take_over(&mut connection).await?;
        rebuild.tell(&mut progress).await?;
        Ok(Rebuilt {
            events: rebuild.events(),
            rows_changed,
        })
    }

    fn events(&self) -> u64 {
        self.parts.iter().map(|part| part.folded.0).sum()
    }

    async fn tell(&self, progress: &mut impl FnMut(u64, u64)) -> Result<(), RebuildError> {
        let mut heads = 0;
        for part in &self.parts {
            heads += part.log.head().await?.position.0;
        }
        progress(self.events(), heads);
        Ok(())
    }

    /// Makes empty tables like the live ones, whatever an earlier rebuild left.
    async fn begin(&self, connection: &mut PgConnection) -> Result<(), RebuildError> {
        let mut transaction = connection.begin().await?;
        for Named { table, .. } in T::TABLES {
            for statement in [
                format!("drop table if exists views_next.{table}"),
                format!("create table views_next.{table} (like views.{table} including all)"),
            ] {
                sqlx::query(AssertSqlSafe(statement)).execute(&mut *transaction).await?;
            }
        }
        sqlx::query(
            "insert into views_next.checkpoints (projection, shard, position, recorded_at)
             select projection, shard, 0, 'epoch' from views.checkpoints where projection = $1
             on conflict (projection, shard) do update set position = 0, recorded_at = 'epoch'",
        )
        .bind(T::VIEW.as_str())
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Folds the next page of one shard into the next generation. Answers whether it was a full one.
    async fn fold_page(&mut self, connection: &mut PgConnection, index: usize) -> Result<bool, RebuildError> {
        let Some(part) = self.parts.get_mut(index) else {
            return Ok(false);
        };
        let page = part.log.read(part.folded, EVENTS_AT_ONCE_MAX).await?;
        let mut changes = T::Changes::default();
        let mut last: Option<Recorded> = None;
        for stored in &page {
            let unfit = |why: String| RebuildError::DoesNotFit {
                position: stored.position,
                why,
            };
            let recorded = stored.decode().map_err(|error| unfit(error.to_string()))?;
            changes.fold(&recorded).map_err(|error| unfit(error.why.to_owned()))?;
            last = Some(recorded);
        }
        let Some(last) = last else { return Ok(false) };
        let unfit = |error| does_not_fit(last.position, error);
        let mut transaction = connection.begin().await?;
        let moved = move_checkpoint::<T>(&mut transaction, Generation::Next, part.log.shard(), part.folded, &last);
        if !moved.await.map_err(unfit)? {
            return Err(RebuildError::Superseded { view: T::VIEW });
        }
        T::write(&mut transaction, Generation::Next, changes)
            .await
            .map_err(unfit)?;
        transaction.commit().await?;
        part.folded = last.position;
        Ok(u32::try_from(page.len()) == Ok(EVENTS_AT_ONCE_MAX))
    }

    /// Folds one shard until it is level with the live view, or the log has no more: a view that says it is further than
    /// its log is as far as the log after this.
    async fn fold_up_to(
        &mut self,
        connection: &mut PgConnection,
        index: usize,
        live: &[(Shard, Position)],
    ) -> Result<(), RebuildError> {
        loop {
            let Some(part) = self.parts.get(index) else {
                return Ok(());
            };
            let (shard, before) = (part.log.shard(), part.folded);
            if live
                .iter()
                .all(|(other, position)| *other != shard || *position <= before)
            {
                return Ok(());
            }
            self.fold_page(connection, index).await?;
            if self.parts.get(index).is_none_or(|part| part.folded == before) {
                return Ok(());
            }
        }
    }

    /// Exchanges the generations. From the first statement on the live projector waits; afterwards it finds its
    /// checkpoint moved, or not, and goes on from there. Answers how many rows differed.
    async fn take_over(&mut self, connection: &mut PgConnection) -> Result<u64, RebuildError> {
        let mut transaction = connection.begin().await?;
        let live = lock_checkpoints::<T>(&mut transaction).await?;
        for index in 0..self.parts.len() {
            self.fold_up_to(&mut transaction, index, &live).await?;
        }
        let mut rows_changed = 0;
        for named in T::TABLES {
            rows_changed += exchange(&mut transaction, named).await?;
        }
        sqlx::query(
            "update views.checkpoints c set position = n.position, recorded_at = n.recorded_at
             from views_next.checkpoints n
             where c.projection = $1 and n.projection = c.projection and n.shard = c.shard",
        )
        .bind(T::VIEW.as_str())
        .execute(&mut *transaction)
        .await?;
        sqlx::query("delete from views_next.checkpoints where projection = $1")
            .bind(T::VIEW.as_str())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(rows_changed)
    }
}

/// Makes a live table equal to the next one, and removes that.
async fn exchange(connection: &mut PgConnection, Named { table, key }: &Named) -> Result<u64, RebuildError> {
    let wrong = format!("select * from views.{table} except select * from views_next.{table}");
    let right = format!("select * from views_next.{table} except select * from views.{table}");
    let mut changed = 0;
    for statement in [
        format!("delete from views.{table} where ({key}) in (select {key} from ({wrong}) wrong)"),
        format!("insert into views.{table} {right}"),
        format!("drop table views_next.{table}"),
    ] {
        let done = sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await?;
        changed += done.rows_affected();
    }
    Ok(changed)
}

async fn shards<T: Table>(connection: &mut PgConnection) -> Result<Vec<Shard>, RebuildError> {
    let rows = sqlx::query("select shard, position from views.checkpoints where projection = $1 order by shard")
        .bind(T::VIEW.as_str())
        .fetch_all(connection)
        .await?;
    let shards: Vec<Shard> = rows.iter().map(shard_of).collect::<Result<_, _>>()?;
    if shards.is_empty() {
        return Err(RebuildError::NoCheckpoint { view: T::VIEW });
    }
    Ok(shards)
}

/// Takes the checkpoints' rows, and says where they stand.
async fn lock_checkpoints<T: Table>(connection: &mut PgConnection) -> Result<Vec<(Shard, Position)>, RebuildError> {
    let rows =
        sqlx::query("select shard, position from views.checkpoints where projection = $1 order by shard for update")
            .bind(T::VIEW.as_str())
            .fetch_all(connection)
            .await?;
    rows.iter()
        .map(|row| {
            let position: i64 = row.try_get("position")?;
            Ok((shard_of(row)?, Position(position.unsigned_abs())))
        })
        .collect()
}

fn shard_of(row: &sqlx::postgres::PgRow) -> Result<Shard, sqlx::Error> {
    Ok(Shard(row.try_get::<i16, _>("shard")?.unsigned_abs()))
}

fn does_not_fit(position: Position, error: WriteError) -> RebuildError {
    match error {
        WriteError::Database(error) => RebuildError::Unreachable(error),
        WriteError::DoesNotFit(why) => RebuildError::DoesNotFit { position, why },
    }
}
