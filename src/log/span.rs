//! The part of an account's history that lies in a range of time, and the events of some types in it.
//!
//! Promise: time does not run backwards in a shard, so a range of time is a range of an account's events, and its ends are
//! found by halving: some twenty looks into the index of the account's events, and no index on times that every append
//! would pay for.

use keyledger_events::{AccountId, Position, Seq, Timestamp};
use sqlx::Row as _;
use uuid::Uuid;

use super::archived::with_archived;
use super::{Head, Log, ReadError, Stored, bigint, in_time, position, time_column, timestamp};

/// Which events of an account lie in a range of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The last event before the range, or 0.
    pub before: Seq,
    /// The last event before the range's end: the range is empty where it is the same.
    pub last: Seq,
    /// Its place in the log, or 0.
    pub last_position: Position,
    /// Where the log ended when the range was found.
    pub head: Head,
}

/// The last event of the account before a moment: halving from its last event down to the archived ones, which are told as
/// one: the archive knows more. What the events up to `low` have in common
/// is that they are before the moment; what those after `high` have, that they are not.
macro_rules! last_before {
    ($moment:literal) => {
        concat!(
            "(with recursive halving (low, high) as (
                 select archive.until, coalesce((select seq from events where shard = $1 and account_id = $2
                                                 order by seq desc limit 1), archive.until)
                 union all
                 select case when looked_at.is_before then halves.middle else halving.low end,
                        case when looked_at.is_before then halving.high else halves.middle - 1 end
                 from halving
                 cross join lateral (select (halving.low + halving.high + 1) / 2 as middle) halves
                 cross join lateral (
                     select recorded_at < ",
            $moment,
            " as is_before from events
                     where shard = $1 and account_id = $2 and seq = halves.middle
                 ) looked_at
                 where halving.low < halving.high
             )
             select low from halving where low >= high limit 1)"
        )
    };
}

impl Log {
    /// The account's events from a moment up to another, which is not included. `None`: it was
    /// never opened.
    pub async fn span(&self, account: AccountId, from: Timestamp, to: Timestamp) -> Result<Option<Span>, ReadError> {
        let found = in_time(async {
            let row = sqlx::query(concat!(
                "with archive as materialized (
                     select coalesce(max(last_seq), 0) as until from archive_accounts where shard = $1 and account_id = $2
                 )
                 select ends.before, ends.last, archive.until, log_head.position as head, log_head.recorded_at,
                     exists (select from events where shard = $1 and account_id = $2 and seq = 1
                             and type = 'keyledger.AccountOpened.v1')
                     or exists (select from archive_accounts where shard = $1 and account_id = $2 and first_seq = 1
                                and 'keyledger.AccountOpened.v1' = any(types)) as known,
                     coalesce((select position from events
                               where shard = $1 and account_id = $2 and seq = ends.last), 0) as last_position
                 from log_head cross join archive cross join (select ",
                last_before!("$3"),
                " as before, ",
                last_before!("$4"),
                " as last from archive) ends where shard = $1"
            ))
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(time_column(from))
            .bind(time_column(to))
            .fetch_optional(&self.pool)
            .await?
            .ok_or(ReadError::NoHead { shard: self.shard })?;
            if !row.try_get::<bool, _>("known")? {
                return Ok(None);
            }
            let seq = |column| Ok::<Seq, ReadError>(Seq(position(row.try_get(column)?)?.0));
            let span = Span {
                before: seq("before")?,
                last: seq("last")?,
                last_position: position(row.try_get("last_position")?)?,
                head: Head {
                    position: position(row.try_get("head")?)?,
                    recorded_at: timestamp(row.try_get("recorded_at")?)?,
                },
            };
            Ok(Some((span, seq("until")?)))
        })
        .await?;
        let Some((mut span, archived)) = found else {
            return Ok(None);
        };
        if span.before <= archived {
            (span.before, _) = self.archived_before(account, from).await?;
        }
        if span.last <= archived {
            (span.last, span.last_position) = self.archived_before(account, to).await?;
        }
        Ok(Some(span))
    }

    /// The events of some types among an account's events after `after` up to and with `last`, in order. Whoever asks bounds
    /// the range.
    pub async fn events_of_types(
        &self,
        account: AccountId,
        after: Seq,
        last: Seq,
        types: &[&'static str],
    ) -> Result<Vec<Stored>, ReadError> {
        let (archived, here) = in_time(async {
            let rows = sqlx::query(
                "(select position, body from events
                  where shard = $1 and account_id = $2 and seq > $3 and seq <= $4 and type = any($5::text[]) order by seq)
                 union all
                 (select last_seq, null from archive_accounts
                  where shard = $1 and account_id = $2 order by number desc limit 1)",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(bigint(after.0))
            .bind(bigint(last.0))
            .bind(types)
            .fetch_all(&self.pool)
            .await?;
            with_archived(&rows)
        })
        .await?;
        if archived <= after.0 {
            return Ok(here);
        }
        let mut events = self
            .archived_of_account(account, after, last.min(Seq(archived)), Some(types), usize::MAX)
            .await?;
        events.extend(here);
        Ok(events)
    }

    /// At most `limit` events of one seldom type after `after` up to and with `last`, in order, by the index of those types.
    pub async fn events_of_seldom_type(
        &self,
        account: AccountId,
        after: Seq,
        last: Seq,
        of_type: &'static str,
        limit: u32,
    ) -> Result<Vec<Stored>, ReadError> {
        let (archived, here) = in_time(async {
            let rows = sqlx::query(
                "(select position, body from events
                  where shard = $1 and account_id = $2 and type = $3 and seq > $4 and seq <= $5 and type not in
                      ('keyledger.KeyUsed.v1', 'keyledger.CreditsReserved.v1', 'keyledger.CreditsCharged.v1')
                  order by seq limit $6)
                 union all
                 (select last_seq, null from archive_accounts
                  where shard = $1 and account_id = $2 order by number desc limit 1)",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(of_type)
            .bind(bigint(after.0))
            .bind(bigint(last.0))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            with_archived(&rows)
        })
        .await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if archived <= after.0 || limit == 0 {
            return Ok(here);
        }
        let mut events = self
            .archived_of_account(account, after, last.min(Seq(archived)), Some(&[of_type]), limit)
            .await?;
        events.extend(here);
        events.truncate(limit);
        Ok(events)
    }
}
