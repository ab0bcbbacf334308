//! Folding a view again from the first event, in one SQL transaction.
//!
//! Readers see the old rows until it commits, and the new ones after. The live projector waits at the checkpoint, then
//! finds it moved and goes on from there. Killed in the middle, nothing has changed.

use keyledger_events::{Position, Recorded, Shard};
use keyledger_projections::Changes as _;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgConnection, Row as _};

use super::tables::{Balance, Charges, KeyList, Reservations, Table, WriteError};
use super::view::View;
use super::worker::{move_checkpoint, shard_column};
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
}

const EVENTS_AT_ONCE_MAX: u32 = 5_000;

/// Rebuilds a view, as the database's owner. Tells how far it is and where the log ends after every page; answers the
/// position up to which the new rows are true.
pub async fn rebuild(
    database_url: &str,
    view: View,
    progress: impl FnMut(u64, u64) + Send,
) -> Result<Position, RebuildError> {
    match view {
        View::KeyList => rebuild_table::<KeyList>(database_url, progress).await,
        View::Balance => rebuild_table::<Balance>(database_url, progress).await,
        View::Charges => rebuild_table::<Charges>(database_url, progress).await,
        View::Reservations => rebuild_table::<Reservations>(database_url, progress).await,
    }
}

async fn rebuild_table<T: Table>(
    database_url: &str,
    mut progress: impl FnMut(u64, u64) + Send,
) -> Result<Position, RebuildError> {
    let shard = Shard(0);
    let log = Log::new(
        PgPoolOptions::new().max_connections(1).connect(database_url).await?,
        shard,
    );
    let mut connection = PgConnection::connect(database_url).await?;
    let mut transaction = connection.begin().await?;
    let live = lock_checkpoint::<T>(&mut transaction, shard).await?;
    T::clear(&mut transaction)
        .await
        .map_err(|error| does_not_fit(Position::START, error))?;
    let mut folded = Position::START;
    let mut last: Option<Recorded> = None;
    loop {
        let head = log.head().await?.position;
        progress(folded.0, head.0);
        let page = log.read(folded, EVENTS_AT_ONCE_MAX).await?;
        let mut changes = T::Changes::default();
        for stored in &page {
            let position = stored.position;
            let recorded = stored.decode().map_err(|error| RebuildError::DoesNotFit {
                position,
                why: error.to_string(),
            })?;
            changes.fold(&recorded).map_err(|e| RebuildError::DoesNotFit {
                position,
                why: e.why.to_owned(),
            })?;
            last = Some(recorded);
        }
        T::write(&mut transaction, changes)
            .await
            .map_err(|error| does_not_fit(folded, error))?;
        match page.last() {
            Some(stored) => folded = stored.position,
            None => break,
        }
    }
    if let Some(last) = last {
        move_checkpoint::<T>(&mut transaction, shard, live, &last)
            .await
            .map_err(|error| does_not_fit(folded, error))?;
    }
    transaction.commit().await?;
    Ok(folded)
}

/// Takes the checkpoint's row: from here on the live projector waits.
async fn lock_checkpoint<T: Table>(connection: &mut PgConnection, shard: Shard) -> Result<Position, RebuildError> {
    let row = sqlx::query("select position from views.checkpoints where projection = $1 and shard = $2 for update")
        .bind(T::VIEW.as_str())
        .bind(shard_column(shard))
        .fetch_optional(connection)
        .await?
        .ok_or(RebuildError::NoCheckpoint { view: T::VIEW })?;
    let position: i64 = row.try_get("position")?;
    Ok(Position(position.unsigned_abs()))
}

fn does_not_fit(position: Position, error: WriteError) -> RebuildError {
    match error {
        WriteError::Database(error) => RebuildError::Unreachable(error),
        WriteError::DoesNotFit(why) => RebuildError::DoesNotFit { position, why },
    }
}
