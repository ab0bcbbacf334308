//! The log in Postgres: all SQL on events and heads, and nothing else.
//!
//! In: encoded events with the position that they must follow. Out: the same bytes, in order.
//!
//! Old events may be in an archive instead: a read gives them as if they had never left (`archived/`).
//!
//! Promise: an append is whole or absent, positions have no gap and become visible in order, and whoever lost the race
//! learns it without having written anything. Any number of processes may append.
//!
//! Not here: what the events mean, who may cause them, the bus.

mod append;
mod archived;
mod births;
mod columns;
mod data_keys;
mod exported;
mod history;
mod key_blocks;
mod lead;
mod moments;
mod placed;
mod read;
mod recent;
mod replay_marks;
mod snapshots;
mod span;
mod statement_marks;
mod told;
mod turn;
mod wire_array;

use std::sync::Arc;
use std::time::Duration;

use keyledger_events::{Position, Shard, Timestamp};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::Mutex;
use turn::Pen;

use crate::archive::{Archive, ArchiveError, Environment, StoreError};

pub use append::{AppendError, Batch, BatchSize};
pub use archived::entries::SegmentFault;
pub use archived::moving::{MoveError, Moved, Moving, Stays, Until};
pub(crate) use archived::with_archived;
pub use columns::Columns;
pub use data_keys::DataKeyFound;
pub(crate) use data_keys::opened;
pub use history::{History, HistorySearch, LOOKED_AT_MAX};
pub use key_blocks::{EVENTS_A_BLOCK, KeysOfBlock};
pub use lead::{Candidate, Heard, Lead};
pub use placed::Placed;
pub use read::{AccountHistory, Label, Stored};
pub use recent::AtHand;
pub use replay_marks::{Grown, ReplayMark};
pub use snapshots::Snapshot;
pub use span::Span;
pub(crate) use statement_marks::STATEMENT_MARKS_FORMAT;
pub use statement_marks::StatementMark;
pub use told::Beside;

/// One shard's log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    pool: PgPool,
    shard: Shard,
    archive: Archive,
    /// The connection that appends, once there was an append. It does not go back to the pool, which would ask it after
    /// each use whether it is well: a round trip that the next append would wait for, or pass by on a colder connection.
    pen: Arc<Mutex<Option<Pen>>>,
    data_keys: Arc<data_keys::Kept>,
    recent: Arc<recent::Recent>,
}

/// Where a shard's log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub position: Position,
    /// Time of the last event, or 1970.
    pub recorded_at: Timestamp,
}

/// The log could not be read. Nothing was written; ask again.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the log cannot be reached: {0}")]
    Unreachable(#[from] sqlx::Error),
    #[error("the log did not answer within {limit_s} s")]
    TimedOut { limit_s: u64 },
    #[error("shard {shard} has no head row; run `keyledger migrate`")]
    NoHead { shard: Shard },
    #[error("the log holds what it cannot: {what}")]
    Corrupt { what: &'static str },
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl ReadError {
    /// Whether it is about what was archived, and not about Postgres.
    pub(crate) fn is_of_archive(&self) -> bool {
        matches!(self, ReadError::Archive(_) | ReadError::Corrupt { .. })
    }

    /// Whether it is about the place where segments are, which does not answer, and so about all of them.
    fn is_of_store(&self) -> bool {
        matches!(
            self,
            ReadError::Archive(ArchiveError::Away {
                error: StoreError::Unreachable { .. },
                ..
            })
        )
    }
}

/// A read that takes longer has lost its connection without being told.
const READ_SECONDS_MAX: u64 = 5;

/// Makes the options of a pool that works under the service's role: it may append to the log, and not change it.
pub fn service_options(database_url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let options: PgConnectOptions = database_url.parse()?;
    Ok(options.application_name("keyledger").options([
        ("role", "keyledger_service"),
        // A statement that takes longer is stuck, and its caller has long been told so.
        ("statement_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "10s"),
        // What is asked for is in memory or on a disk without a head to move: with the usual 4 Postgres reads a whole table
        // of an account with many keys where its index has all that is wanted.
        ("random_page_cost", "1.1"),
    ]))
}

/// Opens a bounded pool. Connections are made when first needed, so a Postgres that is down at start is no failure.
pub fn open_pool(options: PgConnectOptions, connections_max: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(Duration::from_secs(2))
        // A ping before each use would double the round trips; a dead connection shows itself in the statement.
        .test_before_acquire(false)
        .connect_lazy_with(options)
}

impl Log {
    /// Looks at one shard's log through a pool of the service's role. What is archived is where the database says, or the
    /// environment.
    pub fn new(pool: PgPool, shard: Shard) -> Log {
        Log::over(pool, shard, Archive::new(Environment::read()))
    }

    /// The same, with an archive that is open already.
    pub fn over(pool: PgPool, shard: Shard, archive: Archive) -> Log {
        Log {
            pool,
            shard,
            archive,
            pen: Arc::default(),
            data_keys: Arc::default(),
            recent: Arc::default(),
        }
    }

    /// The same log through another pool: what was read of the archive, and what was just appended, is at hand for both.
    pub fn through(&self, pool: PgPool) -> Log {
        Log {
            recent: self.recent.clone(),
            ..Log::over(pool, self.shard, self.archive.clone())
        }
    }

    pub fn shard(&self) -> Shard {
        self.shard
    }

    fn shard_column(&self) -> i16 {
        i16::try_from(self.shard.0).unwrap_or(i16::MAX)
    }
}

/// Runs one read with an end in time.
async fn in_time<T>(read: impl Future<Output = Result<T, ReadError>>) -> Result<T, ReadError> {
    match tokio::time::timeout(Duration::from_secs(READ_SECONDS_MAX), read).await {
        Ok(answer) => answer,
        Err(_) => Err(ReadError::TimedOut {
            limit_s: READ_SECONDS_MAX,
        }),
    }
}

/// A moment as Postgres gave it.
pub(crate) fn timestamp(column: time::OffsetDateTime) -> Result<Timestamp, ReadError> {
    i64::try_from(column.unix_timestamp_nanos() / 1_000)
        .ok()
        .and_then(Timestamp::from_micros)
        .ok_or(ReadError::Corrupt {
            what: "a time outside 1970 to 9999",
        })
}

/// A moment as Postgres takes it, exactly.
pub(crate) fn time_column(moment: Timestamp) -> time::OffsetDateTime {
    // Exact: whole seconds, then the microseconds. Both parts lie in range by the type.
    let seconds = moment.micros() / 1_000_000;
    let rest = time::Duration::microseconds(moment.micros() % 1_000_000);
    time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH) + rest
}

fn position(column: i64) -> Result<Position, ReadError> {
    u64::try_from(column).map(Position).map_err(|_| ReadError::Corrupt {
        what: "a negative position",
    })
}

/// A place or count as a figure of `/metrics`, whose numbers are floating. Exact up to 2^53, which no log reaches.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, which no log reaches")]
pub(crate) fn as_gauge(number: u64) -> f64 {
    number as f64
}

/// A place or count as Postgres takes it.
pub(crate) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
