//! An account's history as a person reads it: the newest first, all of it or one key's, some types of events or all.
//!
//! Promise: every read goes down an index, and looks at 10,000 events at most. Types that are seldom have an index of
//! their own; those that every use of a key writes are picked out while looking back.
//!
//! Not here: what the events say.

use keyledger_events::{AccountId, GrantId, KeyId, Position, ReservationId, Seq};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::read::{all_stored, stored};
use super::{Log, ReadError, Stored, bigint, in_time, position};

/// Which events to look for.
#[derive(Debug, Clone, Copy)]
pub struct HistorySearch<'a> {
    pub account: AccountId,
    /// Only what is about this key. Another account's key has nothing here.
    pub key: Option<KeyId>,
    /// CloudEvents types.
    pub types: &'a [&'static str],
}

/// A page of a history, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    pub events: Vec<Stored>,
    /// Everything older begins before this event. `None`: there is nothing older of these types.
    pub older_than: Option<Position>,
}

/// An event with those before and after it in its account's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub event: Stored,
    pub older: Option<Position>,
    pub newer: Option<Position>,
}

/// What settled a reservation, and where in its account's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub reservation: ReservationId,
    pub seq: Seq,
}

/// Events that one page looks at, where the types that it shows have no index.
pub const LOOKED_AT_MAX: u32 = 10_000;

/// Events between a request and what settled it, in one account, beyond which the two are not put together.
const STEPS_APART_MAX: u32 = 200;

/// The types that the indexes by type leave out: migration 0006 says why.
const FREQUENT: [&str; 3] = [
    "keyledger.KeyUsed.v1",
    "keyledger.CreditsReserved.v1",
    "keyledger.CreditsCharged.v1",
];

/// Where an account's history goes on: before the event at $3; from its end where $3 is no event and $4 is.
macro_rules! of_account {
    () => {
        "shard = $1 and account_id = $2 and $5::uuid is null and seq < coalesce(
             (select p.seq from events p where p.shard = $1 and p.position = $3 and p.account_id = $2), $4)"
    };
}

/// The same of a key's.
macro_rules! of_key {
    () => {
        "shard = $1 and account_id = $2 and key_id = $5 and position < coalesce($3, $4)"
    };
}

/// Looks back from the newest, and picks out the types in $6.
macro_rules! looking_back {
    ($of:expr, $by:literal) => {
        concat!(
            "select position, body from (
                 select position, seq, type, body from events where ",
            $of,
            " order by ",
            $by,
            " desc limit 10000
             ) looked_at
             where type = any($6::text[]) order by ",
            $by,
            " desc limit $7"
        )
    };
}

/// The last event that looking back comes to.
macro_rules! end_of_look {
    ($of:expr, $by:literal) => {
        concat!(
            "select position from events where ",
            $of,
            " order by ",
            $by,
            " desc offset 9999 limit 1"
        )
    };
}

/// The newest of each type in $6, by the index that leaves the frequent ones out.
macro_rules! by_type {
    ($of:expr, $by:literal) => {
        concat!(
            "select found.position, found.body from unnest($6::text[]) as wanted (type)
             cross join lateral (
                 select position, seq, body from events where ",
            $of,
            " and type = wanted.type and type not in
                 ('keyledger.KeyUsed.v1', 'keyledger.CreditsReserved.v1', 'keyledger.CreditsCharged.v1')
                 order by ",
            $by,
            " desc limit $7
             ) found
             order by found.",
            $by,
            " desc limit $7"
        )
    };
}

impl Log {
    /// At most `limit` events that are looked for, the newest first, older than the event at `before`.
    pub async fn history(
        &self,
        search: &HistorySearch<'_>,
        before: Option<Position>,
        limit: u32,
    ) -> Result<History, ReadError> {
        let seldom = !search.types.iter().any(|kind| FREQUENT.contains(kind));
        let statement = match (search.key, seldom) {
            (None, true) => by_type!(of_account!(), "seq"),
            (None, false) => looking_back!(of_account!(), "seq"),
            (Some(_), true) => by_type!(of_key!(), "position"),
            (Some(_), false) => looking_back!(of_key!(), "position"),
        };
        let place = before.map(|before| bigint(before.0));
        // An event that is none of this account's has nothing before it.
        let end = if place.is_none() { i64::MAX } else { 0 };
        let key = search.key.map(|key| Uuid::from_bytes(key.to_bytes()));
        in_time(async {
            let rows = sqlx::query(statement)
                .bind(self.shard_column())
                .bind(Uuid::from_bytes(search.account.to_bytes()))
                .bind(place)
                .bind(end)
                .bind(key)
                .bind(search.types)
                .bind(i64::from(limit) + 1)
                .fetch_all(&self.pool)
                .await?;
            let mut events = all_stored(&rows)?;
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let more = events.len() > limit;
            events.truncate(limit);
            let older_than = if more {
                events.last().map(|last| last.position)
            } else if seldom {
                None
            } else {
                let statement = match search.key {
                    None => end_of_look!(of_account!(), "seq"),
                    Some(_) => end_of_look!(of_key!(), "position"),
                };
                let row = sqlx::query(statement)
                    .bind(self.shard_column())
                    .bind(Uuid::from_bytes(search.account.to_bytes()))
                    .bind(place)
                    .bind(end)
                    .bind(key)
                    .fetch_optional(&self.pool)
                    .await?;
                row.map(|row| position(row.try_get("position")?)).transpose()?
            };
            Ok(History { events, older_than })
        })
        .await
    }

    /// The event of an account at a position, if it has one there.
    pub async fn event_of(&self, account: AccountId, at: Position) -> Result<Option<Placed>, ReadError> {
        in_time(async {
            let row = sqlx::query(
                "select e.position, e.body,
                     (select position from events where shard = $1 and account_id = $2 and seq = e.seq - 1) as older,
                     (select position from events where shard = $1 and account_id = $2 and seq = e.seq + 1) as newer
                 from events e where e.shard = $1 and e.position = $3 and e.account_id = $2",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(bigint(at.0))
            .fetch_optional(&self.pool)
            .await?;
            let beside = |row: &PgRow, column| -> Result<Option<Position>, ReadError> {
                row.try_get::<Option<i64>, _>(column)?.map(position).transpose()
            };
            row.map(|row| {
                Ok(Placed {
                    event: stored(&row)?,
                    older: beside(&row, "older")?,
                    newer: beside(&row, "newer")?,
                })
            })
            .transpose()
        })
        .await
    }

    /// The events that gave these grants, or made them of a refund: one for each that this account has, in no order.
    pub async fn births_of_grants(&self, account: AccountId, grants: &[GrantId]) -> Result<Vec<Stored>, ReadError> {
        // Of the events that name a grant only the first has it in this place.
        let marks: Vec<String> = grants
            .iter()
            .flat_map(|grant| {
                [
                    format!("\"data\":{{\"grant\":\"{grant}\""),
                    format!("\"as_grant\":{{\"grant\":\"{grant}\""),
                ]
            })
            .collect();
        in_time(async {
            let rows = sqlx::query(
                "select e.position, e.body from events e
                 where e.shard = $1 and e.account_id = $2
                   and e.type in ('keyledger.CreditsGranted.v1', 'keyledger.CreditsRefunded.v1')
                   and exists (select from unnest($3::text[]) as mark where position(convert_to(mark, 'UTF8') in e.body) > 0)",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(&marks)
            .fetch_all(&self.pool)
            .await?;
            all_stored(&rows)
        })
        .await
    }

    /// The uses of keys that began what these steps ended, in no order. A use that lies more than 200 events of the
    /// account before its end is not found.
    pub async fn uses_behind(&self, account: AccountId, steps: &[Step]) -> Result<Vec<Stored>, ReadError> {
        let reservations: Vec<String> = steps.iter().map(|step| step.reservation.to_string()).collect();
        let seqs: Vec<i64> = steps.iter().map(|step| bigint(step.seq.0)).collect();
        // An id in the bytes is looked for as it is: it is 30 characters that nothing else has.
        in_time(async {
            let rows = sqlx::query(
                "select used.position, used.body from unnest($3::text[], $4::bigint[]) as ended (reservation, seq)
                 cross join lateral (
                     select position, body from events
                     where shard = $1 and account_id = $2 and seq < ended.seq and seq >= ended.seq - $5
                       and type = 'keyledger.KeyUsed.v1' and position(convert_to(ended.reservation, 'UTF8') in body) > 0
                     order by seq desc limit 1
                 ) used",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(&reservations)
            .bind(&seqs)
            .bind(i64::from(STEPS_APART_MAX))
            .fetch_all(&self.pool)
            .await?;
            all_stored(&rows)
        })
        .await
    }

    /// The events of one reservation that lie near a place in an account's history, the oldest first.
    pub async fn steps_near(&self, account: AccountId, near: Step) -> Result<Vec<Stored>, ReadError> {
        in_time(async {
            let rows = sqlx::query(
                "select position, body from events
                 where shard = $1 and account_id = $2 and seq between $3 - $5 and $3 + $5
                   and position(convert_to($4, 'UTF8') in body) > 0
                 order by seq limit 10",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(bigint(near.seq.0))
            .bind(near.reservation.to_string())
            .bind(i64::from(STEPS_APART_MAX))
            .fetch_all(&self.pool)
            .await?;
            all_stored(&rows)
        })
        .await
    }
}
