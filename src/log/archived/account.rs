//! An account's archived events.

use keyledger_events::{AccountId, Position, Seq, Timestamp};
use sqlx::Row as _;
use uuid::Uuid;

use super::{SEGMENTS_AT_ONCE, segment_columns};
use crate::archive::Segment;
use crate::log::{Log, ReadError, Stored, bigint, in_time, position, time_column};

/// What a segment has of an account.
struct Part {
    segment: Segment,
    first: Seq,
}

impl Log {
    /// At most `limit` archived events of an account after `after` up to and with `last`, in order: of some types, or all.
    pub(in crate::log) async fn archived_of_account(
        &self,
        account: AccountId,
        after: Seq,
        last: Seq,
        types: Option<&[&'static str]>,
        limit: usize,
    ) -> Result<Vec<Stored>, ReadError> {
        let (mut events, mut at) = (Vec::new(), after);
        loop {
            let parts = self.parts_of_account(account, at, last, types).await?;
            for part in &parts {
                let index = self.archive.index(&part.segment).await?;
                let wanted = types.map(|types| index.wanted(types));
                let numbers = (part.first.0..).zip(index.of_account(account));
                let numbers: Vec<u32> = numbers
                    .filter(|(seq, _)| after.0 < *seq && *seq <= last.0)
                    .map(|(_, number)| *number)
                    .filter(|number| wanted.as_ref().is_none_or(|wanted| index.is_wanted(*number, wanted)))
                    .take(limit - events.len())
                    .collect();
                events.extend(self.archived_events(&part.segment, &numbers).await?);
                if events.len() >= limit {
                    return Ok(events);
                }
                let there = u64::try_from(index.of_account(account).len()).unwrap_or(0);
                at = Seq(part.first.0.saturating_add(there).saturating_sub(1));
            }
            if bigint(u64::try_from(parts.len()).unwrap_or(0)) < SEGMENTS_AT_ONCE {
                return Ok(events);
            }
        }
    }

    /// The segments that have events of an account in a range, and of some types, in order.
    async fn parts_of_account(
        &self,
        account: AccountId,
        after: Seq,
        last: Seq,
        types: Option<&[&'static str]>,
    ) -> Result<Vec<Part>, ReadError> {
        in_time(async {
            let rows = sqlx::query(concat!(
                "select a.first_seq, ",
                segment_columns!(),
                " from archive_accounts a join archive_segments s on s.shard = a.shard and s.number = a.number
                 where a.shard = $1 and a.account_id = $2 and a.last_seq > $3 and a.first_seq <= $4
                   and ($5::text[] is null or a.types && $5) order by a.number limit $6"
            ))
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(bigint(after.0))
            .bind(bigint(last.0))
            .bind(types)
            .bind(SEGMENTS_AT_ONCE)
            .fetch_all(&self.pool)
            .await?;
            let part = |row| {
                Ok(Part {
                    segment: self.segment(row)?,
                    first: Seq(position(row.try_get("first_seq")?)?.0),
                })
            };
            rows.iter().map(part).collect()
        })
        .await
    }

    /// The last archived event of an account before a moment, and its place in the log: nought where there is none.
    pub(in crate::log) async fn archived_before(
        &self,
        account: AccountId,
        moment: Timestamp,
    ) -> Result<(Seq, Position), ReadError> {
        let part = in_time(async {
            let row = sqlx::query(concat!(
                "select a.first_seq, ",
                segment_columns!(),
                " from archive_accounts a join archive_segments s on s.shard = a.shard and s.number = a.number
                 where a.shard = $1 and a.account_id = $2 and a.first_at < $3 order by a.number desc limit 1"
            ))
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(time_column(moment))
            .fetch_optional(&self.pool)
            .await?;
            let part = |row| {
                Ok::<_, ReadError>(Part {
                    segment: self.segment(row)?,
                    first: Seq(position(row.try_get("first_seq")?)?.0),
                })
            };
            row.as_ref().map(part).transpose()
        })
        .await?;
        let Some(part) = part else {
            return Ok((Seq::START, Position::START));
        };
        let index = self.archive.index(&part.segment).await?;
        let numbers = index.of_account(account);
        let before = numbers.partition_point(|number| index.time_of(*number).is_some_and(|time| time < moment));
        let last = before.checked_sub(1).and_then(|last| numbers.get(last));
        let last = last.ok_or(ReadError::Corrupt {
            what: "an account's first time in a segment",
        })?;
        let seq = index.seq_of(*last).ok_or(ReadError::Corrupt {
            what: "a segment's index",
        })?;
        Ok((seq, part.segment.position_of(*last)))
    }
}
