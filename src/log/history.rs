//! An account's history as a person reads it: the newest first, all of it or one key's, some types of events or all, with
//! what is needed to tell it.
//!
//! Promise: one statement a page. Every read goes down an index, and looks at 10,000 events at most. Types that are
//! seldom have an index of their own; those that every use of a key writes are picked out while looking back.
//!
//! Not here: what the events say.

use keyledger_events::{AccountId, KeyId, Position};
use sqlx::Row as _;
use uuid::Uuid;

use super::read::stored;
use super::told::{Beside, names_beside, reservation_in, uses_beside};
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
    pub beside: Beside,
}

/// Events that one page looks at, where the types that it shows have no index.
pub const LOOKED_AT_MAX: u32 = 10_000;

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

/// Looks back from the newest, and picks out the types in $6. Beside them: the last event that looking back comes to,
/// where they are too few for a page.
macro_rules! looking_back {
    ($of:expr, $by:literal) => {
        concat!(
            "with page as materialized (
                 select position, seq, type, key_id, body from (
                     select position, seq, type, key_id, body from events where ",
            $of,
            " order by ",
            $by,
            " desc limit 10000
                 ) looked_at
                 where type = any($6::text[]) order by ",
            $by,
            " desc limit $7
             )
             select 'event' as part, position, body, null::uuid as session_id, null::text as name from page
             union all
             select 'end', ended.position, null, null, null from (
                 select position from events where ",
            $of,
            " and (select count(*) from page) < $7 order by ",
            $by,
            " desc offset 9999 limit 1
             ) ended
             union all ",
            names_beside!(),
            " union all ",
            uses_beside!()
        )
    };
}

/// The newest of each type in $6, by the index that leaves the frequent ones out.
macro_rules! by_type {
    ($of:expr, $by:literal) => {
        concat!(
            "with page as materialized (
                 select found.* from unnest($6::text[]) as wanted (type)
                 cross join lateral (
                     select position, seq, type, key_id, body from events where ",
            $of,
            " and type = wanted.type and type not in
                     ('keyledger.KeyUsed.v1', 'keyledger.CreditsReserved.v1', 'keyledger.CreditsCharged.v1')
                     order by ",
            $by,
            " desc limit $7
                 ) found
                 order by found.",
            $by,
            " desc limit $7
             )
             select 'event' as part, position, body, null::uuid as session_id, null::text as name from page
             union all ",
            names_beside!(),
            " union all ",
            uses_beside!()
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
            let (mut events, mut end, mut beside) = (Vec::new(), None, Beside::default());
            for row in &rows {
                match row.try_get("part")? {
                    "event" => events.push(stored(row)?),
                    "end" => end = Some(position(row.try_get("position")?)?),
                    part => beside.take(part, row)?,
                }
            }
            events.sort_by_key(|event: &Stored| std::cmp::Reverse(event.position));
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let more = events.len() > limit;
            events.truncate(limit);
            let older_than = if more {
                events.last().map(|last| last.position)
            } else {
                end
            };
            Ok(History {
                events,
                older_than,
                beside,
            })
        })
        .await
    }
}
