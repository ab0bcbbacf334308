//! An account's history as a person reads it: the newest first, all of it or one key's, some types of events or all, with
//! what is needed to tell it.
//!
//! Promise: one statement a page. Every read goes down an index, and looks at 10,000 events at most, or at a key's in 1,000
//! blocks. Types that are seldom have an index of their own; those that every use of a key writes are picked out while looking
//! back: through all of the account's events, or through a key's in those blocks of them that have any (`key_blocks.rs`).
//!
//! Not here: what the events say.

use keyledger_events::{AccountId, KeyId, Position};
use sqlx::Row as _;
use uuid::Uuid;

use super::archived::Back;
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

/// How far is archived of a shard, where something of the account is.
macro_rules! archived {
    () => {
        " union all
         (select 'archived', s.last, null, null, null
          from archive_accounts a join archive_segments s on s.shard = a.shard and s.number = a.number
          where a.shard = $1 and a.account_id = $2 order by a.number desc limit 1) union all "
    };
}

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

/// Rows beside those of `page`.
macro_rules! beside {
    () => {
        concat!(archived!(), names_beside!(), " union all ", uses_beside!())
    };
}

/// Looks back from the newest, and picks out the types in $6. Beside them: the last event that looking back comes to,
/// where they are too few for a page.
const ACCOUNT_BACK: &str = concat!(
    "with page as materialized (
         select position, seq, type, key_id, body from (
             select position, seq, type, key_id, body from events where ",
    of_account!(),
    " order by seq desc limit 10000
         ) looked_at
         where type = any($6::text[]) order by seq desc limit $7
     )
     select 'event' as part, position, body, null::uuid as session_id, null::text as name from page
     union all
     select 'end', ended.position, null, null, null from (
         select position from events where ",
    of_account!(),
    " and (select count(*) from page) < $7 order by seq desc offset 9999 limit 1
     ) ended",
    beside!()
);

/// The same of a key; and how many events were looked at, where that did not end it.
const KEY_BACK: &str = concat!(
    "with back as materialized (
         select part, at, number, kind, bytes from key_events_before($1, $2, $5, coalesce($3, $4), $6, $7, 10000)
     ), page as (
         select at as position, number as seq, kind as type, $5::uuid as key_id, bytes as body from back where part = 'event'
     )
     select 'event' as part, position, body, null::uuid as session_id, null::text as name from page
     union all
     select part, at, null, null, null from back where part <> 'event'",
    beside!()
);

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
             select 'event' as part, position, body, null::uuid as session_id, null::text as name from page",
            beside!()
        )
    };
}

/// How many events looking back looks at.
const ACCOUNT_LOOKED_AT: &str = concat!(
    "select count(*) from (select from events where ",
    of_account!(),
    " limit 10000) looked_at"
);

/// What Postgres has of a page.
struct Here {
    events: Vec<Stored>,
    end: Option<Position>,
    beside: Beside,
    archived: Option<Position>,
    /// How many events were looked at, where it was told.
    looked_at: Option<u64>,
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
            (None, false) => ACCOUNT_BACK,
            (Some(_), true) => by_type!(of_key!(), "position"),
            (Some(_), false) => KEY_BACK,
        };
        let place = before.map(|before| bigint(before.0));
        // An event that is none of this account's has nothing before it.
        let end = if place.is_none() { i64::MAX } else { 0 };
        let key = search.key.map(|key| Uuid::from_bytes(key.to_bytes()));
        let mut page = in_time(async {
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
            let (mut archived, mut looked_at) = (None, None);
            for row in &rows {
                match row.try_get("part")? {
                    "event" => events.push(stored(row)?),
                    "end" => end = Some(position(row.try_get("position")?)?),
                    "looked_at" => looked_at = Some(position(row.try_get("position")?)?.0),
                    "archived" => archived = Some(position(row.try_get("position")?)?),
                    part => beside.take(part, row)?,
                }
            }
            Ok(Here {
                events,
                end,
                beside,
                archived,
                looked_at,
            })
        })
        .await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if let Some(archived) = page.archived {
            self.look_further(search, before, archived, seldom, limit, &mut page)
                .await?;
        }
        let Here {
            mut events,
            end,
            beside,
            ..
        } = page;
        events.sort_by_key(|event: &Stored| std::cmp::Reverse(event.position));
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
    }

    /// Fills a page with what is archived, and tells everything beside it anew.
    async fn look_further(
        &self,
        search: &HistorySearch<'_>,
        before: Option<Position>,
        archived: Position,
        seldom: bool,
        limit: usize,
        page: &mut Here,
    ) -> Result<(), ReadError> {
        let room = (limit + 1).saturating_sub(page.events.len());
        if room > 0 && page.end.is_none() && self.is_a_place(search, before, archived).await? {
            let looked_at_max = if seldom {
                None
            } else {
                Some(self.may_look_at(search, before, archived, page.looked_at).await?)
            };
            let back = Back {
                before: before.unwrap_or(archived.next()).min(archived.next()),
                looked_at_max,
                found_max: room,
            };
            if looked_at_max != Some(0) {
                let found = self.archived_back(search, back).await?;
                page.events.extend(found.events);
                page.end = found.end;
            }
        }
        page.beside = self.beside(search.account, &page.events, true).await?;
        Ok(())
    }

    /// Whether something can be before it: an event that is none of this account's has nothing before it.
    async fn is_a_place(
        &self,
        search: &HistorySearch<'_>,
        before: Option<Position>,
        archived: Position,
    ) -> Result<bool, ReadError> {
        match before {
            Some(before) if search.key.is_none() && before <= archived => {
                Ok(self.archived_account_at(before).await? == Some(search.account))
            }
            Some(before) if search.key.is_none() => {
                let here: Option<Uuid> = in_time(async {
                    let asked = sqlx::query_scalar("select account_id from events where shard = $1 and position = $2");
                    let asked = asked.bind(self.shard_column()).bind(bigint(before.0));
                    Ok(asked.fetch_optional(&self.pool).await?)
                })
                .await?;
                // One that left meanwhile is in the archive.
                match here {
                    Some(account) => Ok(account.into_bytes() == search.account.to_bytes()),
                    None => Ok(self.archived_account_at(before).await? == Some(search.account)),
                }
            }
            Some(_) | None => Ok(true),
        }
    }

    /// How many archived events may be looked at, after those in Postgres.
    async fn may_look_at(
        &self,
        search: &HistorySearch<'_>,
        before: Option<Position>,
        archived: Position,
        looked_at: Option<u64>,
    ) -> Result<usize, ReadError> {
        let all = usize::try_from(LOOKED_AT_MAX).unwrap_or(usize::MAX);
        if before.is_some_and(|before| before <= archived) {
            return Ok(all);
        }
        if let Some(looked_at) = looked_at {
            return Ok(all.saturating_sub(usize::try_from(looked_at).unwrap_or(all)));
        }
        let looked_at: i64 = in_time(async {
            let counted = sqlx::query_scalar(ACCOUNT_LOOKED_AT)
                .bind(self.shard_column())
                .bind(Uuid::from_bytes(search.account.to_bytes()))
                .bind(before.map(|before| bigint(before.0)))
                .bind(if before.is_none() { i64::MAX } else { 0 })
                .bind(None::<Uuid>)
                .fetch_one(&self.pool)
                .await?;
            Ok(counted)
        })
        .await?;
        Ok(all.saturating_sub(usize::try_from(looked_at).unwrap_or(all)))
    }
}
