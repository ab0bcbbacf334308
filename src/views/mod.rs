//! The views, as queries read them.
//!
//! In: what is asked. Out: rows, with the position at which they are true.
//!
//! Promise: rows and position come from one statement, so they belong together.
//!
//! Not here: the log, the bus, and how rows come to be.

mod account_search;
mod accounts;
mod available;
mod charge_search;
mod charges;
mod due;
mod generations;
mod grants;
mod key_label;
mod key_search;
mod key_totals;
mod key_use;
mod keys;
mod keys_tried;
mod live;
mod open_grants;
mod plans;
mod reservations;
mod runway;
mod spending;
mod standing;
mod usage;
mod wait;

use std::sync::Arc;

use keyledger_events::{AccountId, Credits, GrantId, KeyId, PlanId, Position, ReservationId, Shard, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

pub use accounts::{Account, Balance};
pub use charge_search::{ChargeLine, ChargeSearch};
pub use charges::{Charge, ChargeCursor};
pub use grants::Grant;
pub use key_label::KeyLabel;
pub use key_search::KeySearch;
pub use key_totals::{KeyTotal, KeyTotals};
pub use key_use::{KeyDay, KeyPage, KeyUse};
pub use keys::{Key, KeyState};
pub use live::{LIVE_KEYS_MAX, Live, LiveKey};
pub use plans::Plan;
pub use reservations::Reservation;
pub use runway::{Lot, Runway};
pub use spending::Spending;
pub use standing::{Halted, Standing};
pub use usage::{LINES_MAX, Line, Lines, POINTS_MAX, Point, Range, RangeError, ReleasedByCause, Step};
use wait::Reached;
pub use wait::{ViewBehind, ViewName};

/// The views of one shard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Views {
    pool: PgPool,
    shard: Shard,
    reached: Arc<Reached>,
}

/// An answer and the position at which it is true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    pub position: Position,
    pub value: T,
}

/// One page of a list, newest first, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, C> {
    pub items: Vec<T>,
    pub next: Option<C>,
}

/// The views cannot be read now. Ask again.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    #[error("the views cannot be reached: {0}")]
    Unreachable(#[from] sqlx::Error),
    #[error("the views hold what they cannot: {what}")]
    Corrupt { what: &'static str },
}

impl Views {
    pub fn new(pool: PgPool, shard: Shard) -> Views {
        Views {
            pool,
            shard,
            reached: Arc::default(),
        }
    }

    pub fn shard(&self) -> Shard {
        self.shard
    }

    fn shard_column(&self) -> i16 {
        i16::try_from(self.shard.0).unwrap_or(i16::MAX)
    }
}

/// Takes one row more than the page has, so that whether there is a next page needs no second question.
fn page<T, C>(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> C) -> Page<T, C> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(cursor) } else { None };
    Page { items, next }
}

fn uuid_of(bytes: [u8; 16]) -> Uuid {
    Uuid::from_bytes(bytes)
}

/// Reads columns into the vocabulary.
trait Columns {
    fn account(&self, column: &str) -> Result<AccountId, ViewError>;
    fn key(&self, column: &str) -> Result<KeyId, ViewError>;
    fn key_or_none(&self, column: &str) -> Result<Option<KeyId>, ViewError>;
    fn grant(&self, column: &str) -> Result<GrantId, ViewError>;
    fn plan(&self, column: &str) -> Result<PlanId, ViewError>;
    fn reservation(&self, column: &str) -> Result<ReservationId, ViewError>;
    fn credits(&self, column: &str) -> Result<Credits, ViewError>;
    fn time(&self, column: &str) -> Result<Timestamp, ViewError>;
    fn time_or_none(&self, column: &str) -> Result<Option<Timestamp>, ViewError>;
    fn position(&self, column: &str) -> Result<Position, ViewError>;
    fn count(&self, column: &str) -> Result<u64, ViewError>;
    fn text(&self, column: &str) -> Result<String, ViewError>;
    fn text_or_none(&self, column: &str) -> Result<Option<String>, ViewError>;
    /// Whether the outer join found a row at all.
    fn has(&self, column: &str) -> Result<bool, ViewError>;
}

impl Columns for PgRow {
    fn account(&self, column: &str) -> Result<AccountId, ViewError> {
        Ok(AccountId::from_bytes(self.try_get::<Uuid, _>(column)?.into_bytes()))
    }

    fn key(&self, column: &str) -> Result<KeyId, ViewError> {
        Ok(KeyId::from_bytes(self.try_get::<Uuid, _>(column)?.into_bytes()))
    }

    fn key_or_none(&self, column: &str) -> Result<Option<KeyId>, ViewError> {
        Ok(self
            .try_get::<Option<Uuid>, _>(column)?
            .map(|id| KeyId::from_bytes(id.into_bytes())))
    }

    fn grant(&self, column: &str) -> Result<GrantId, ViewError> {
        Ok(GrantId::from_bytes(self.try_get::<Uuid, _>(column)?.into_bytes()))
    }

    fn plan(&self, column: &str) -> Result<PlanId, ViewError> {
        Ok(PlanId::from_bytes(self.try_get::<Uuid, _>(column)?.into_bytes()))
    }

    fn reservation(&self, column: &str) -> Result<ReservationId, ViewError> {
        Ok(ReservationId::from_bytes(self.try_get::<Uuid, _>(column)?.into_bytes()))
    }

    fn credits(&self, column: &str) -> Result<Credits, ViewError> {
        Credits::from_micros(self.try_get(column)?).ok_or(ViewError::Corrupt {
            what: "an amount out of bounds",
        })
    }

    fn time(&self, column: &str) -> Result<Timestamp, ViewError> {
        self.time_or_none(column)?.ok_or(ViewError::Corrupt {
            what: "no time where one must be",
        })
    }

    fn time_or_none(&self, column: &str) -> Result<Option<Timestamp>, ViewError> {
        let Some(moment) = self.try_get::<Option<time::OffsetDateTime>, _>(column)? else {
            return Ok(None);
        };
        let micros = i64::try_from(moment.unix_timestamp_nanos() / 1_000).ok();
        let moment = micros.and_then(Timestamp::from_micros);
        moment.map(Some).ok_or(ViewError::Corrupt {
            what: "a time outside 1970 to 9999",
        })
    }

    fn position(&self, column: &str) -> Result<Position, ViewError> {
        self.count(column).map(Position)
    }

    fn count(&self, column: &str) -> Result<u64, ViewError> {
        u64::try_from(self.try_get::<i64, _>(column)?).map_err(|_| ViewError::Corrupt {
            what: "a negative count",
        })
    }

    fn text(&self, column: &str) -> Result<String, ViewError> {
        Ok(self.try_get(column)?)
    }

    fn text_or_none(&self, column: &str) -> Result<Option<String>, ViewError> {
        Ok(self.try_get(column)?)
    }

    fn has(&self, column: &str) -> Result<bool, ViewError> {
        Ok(self.try_get::<Option<Uuid>, _>(column)?.is_some())
    }
}

/// A moment as Postgres takes it.
fn time_column(moment: Timestamp) -> time::OffsetDateTime {
    let rest = time::Duration::microseconds(moment.micros() % 1_000_000);
    let whole = time::OffsetDateTime::from_unix_timestamp(moment.micros() / 1_000_000);
    whole.unwrap_or(time::OffsetDateTime::UNIX_EPOCH) + rest
}

/// What a list answers: `None` when there is no such account, which a list of none is not.
type ListOf<T, C> = Result<At<Option<Page<T, C>>>, ViewError>;

/// Makes a list's answer of the rows of an outer join: there is always one row, which says the position and whether the
/// account exists.
fn list<T, C>(
    rows: &[PgRow],
    id_column: &str,
    limit: u32,
    read: impl Fn(&PgRow) -> Result<T, ViewError>,
    cursor: impl Fn(&T) -> C,
) -> ListOf<T, C> {
    let first = rows.first().ok_or(ViewError::Corrupt { what: "no checkpoint" })?;
    let position = first.position("at")?;
    if !first.try_get::<bool, _>("known")? {
        return Ok(At { position, value: None });
    }
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        if row.has(id_column)? {
            items.push(read(row)?);
        }
    }
    Ok(At {
        position,
        value: Some(page(items, limit, cursor)),
    })
}
