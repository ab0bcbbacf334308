//! The part of the log that left Postgres: which segments have it, and reading it there.
//!
//! In: what a read asks for, and how far the log was archived when Postgres answered it. Out: what Postgres has not.
//!
//! Promise: archived is the beginning of a shard, of each account's history and of each key's, without a gap, and rows leave
//! Postgres in the SQL transaction that names their segment. So a statement that tells both its rows and how far is archived
//! tells of one moment, and the archive has the rest for ever: no event is missed, and none comes twice, however much is
//! archived meanwhile.
//!
//! Not here: the files themselves (`src/archive/`), and moving events there (`moving.rs`).

mod account;
mod back;
mod beside;
mod ends;
pub(super) mod entries;
mod key;
pub(super) mod moving;
mod place;

use std::sync::Arc;

use keyledger_events::{AccountId, Position, Timestamp};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

pub(super) use back::Back;
pub(super) use beside::has;
pub(super) use ends::Whose;

use super::{Log, ReadError, Stored, bigint, in_time, position, timestamp};
use crate::archive::{Index, Segment};

/// The columns of a segment `s`.
macro_rules! segment_columns {
    () => {
        "s.number, s.first, s.last, s.first_at, s.last_at, s.bytes, s.sha256, s.index_at, s.index_bytes, s.index_sha256, s.place, s.name"
    };
}
use segment_columns;

/// Segments whose rows are read at once.
const SEGMENTS_AT_ONCE: i64 = 64;

/// Where a row of a result tells how far is archived: without an event's bytes.
pub(crate) fn with_archived(rows: &[PgRow]) -> Result<(u64, Vec<Stored>), ReadError> {
    let (mut archived, mut events) = (0, Vec::with_capacity(rows.len()));
    for row in rows {
        let at = position(row.try_get("position")?)?;
        match row.try_get::<Option<Vec<u8>>, _>("body")? {
            Some(body) => events.push(Stored { position: at, body }),
            None => archived = at.0,
        }
    }
    events.sort_by_key(|event| event.position);
    Ok((archived, events))
}

impl Log {
    fn segment(&self, row: &PgRow) -> Result<Segment, ReadError> {
        let digest = |column| -> Result<[u8; 32], ReadError> {
            let bytes: Vec<u8> = row.try_get(column)?;
            bytes.try_into().map_err(|_| ReadError::Corrupt {
                what: "a segment's digest of another length",
            })
        };
        let number: i32 = row.try_get("number")?;
        let count = |column| Ok::<u64, ReadError>(position(row.try_get(column)?)?.0);
        Ok(Segment {
            shard: self.shard,
            number: number.unsigned_abs(),
            first: position(row.try_get("first")?)?,
            last: position(row.try_get("last")?)?,
            first_at: timestamp(row.try_get("first_at")?)?,
            last_at: timestamp(row.try_get("last_at")?)?,
            bytes: count("bytes")?,
            sha256: digest("sha256")?,
            index_at: count("index_at")?,
            index_bytes: count("index_bytes")?,
            index_sha256: digest("index_sha256")?,
            place: row.try_get("place")?,
            name: row.try_get("name")?,
        })
    }

    /// Segments that have what comes after a position, in order.
    pub async fn segments_after(&self, after: Position) -> Result<Vec<Segment>, ReadError> {
        in_time(async {
            let rows = sqlx::query(concat!(
                "select ",
                segment_columns!(),
                " from archive_segments s where s.shard = $1 and s.last > $2 order by s.last limit $3"
            ))
            .bind(self.shard_column())
            .bind(bigint(after.0))
            .bind(SEGMENTS_AT_ONCE)
            .fetch_all(&self.pool)
            .await?;
            rows.iter().map(|row| self.segment(row)).collect()
        })
        .await
    }

    /// The archived events after a position up to and with `last`, which is archived.
    pub(super) async fn archived_after(&self, after: Position, last: Position) -> Result<Vec<Stored>, ReadError> {
        let (mut events, mut at) = (Vec::new(), after);
        while at < last {
            let segments = self.segments_after(at).await?;
            for segment in &segments {
                let first = segment.number_of(at.next());
                let end = segment.number_of(last.min(segment.last));
                let (Some(first), Some(end)) = (first, end) else { break };
                let numbers: Vec<u32> = (first..=end).collect();
                events.extend(self.archived_events(segment, &numbers).await?);
                at = last.min(segment.last);
            }
            if segments.is_empty() {
                return Err(ReadError::Corrupt {
                    what: "a position that is neither in Postgres nor archived",
                });
            }
        }
        Ok(events)
    }

    /// Events of a segment, which are named in order.
    async fn archived_events(&self, segment: &Segment, numbers: &[u32]) -> Result<Vec<Stored>, ReadError> {
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        let bodies = self.archive.events(segment, numbers).await?;
        let events = numbers.iter().zip(bodies).map(|(number, body)| Stored {
            position: segment.position_of(*number),
            body,
        });
        Ok(events.collect())
    }

    /// The segment and its number of an archived event.
    async fn archived_at(&self, at: Position) -> Result<Option<(Segment, Arc<Index>, u32)>, ReadError> {
        let before = Position(at.0.saturating_sub(1));
        let Some(segment) = self.segments_after(before).await?.into_iter().next() else {
            return Ok(None);
        };
        let Some(number) = segment.number_of(at) else {
            return Ok(None);
        };
        let index = self.archive.index(&segment).await?;
        Ok(Some((segment, index, number)))
    }

    /// Whose an archived event is.
    pub(super) async fn archived_account_at(&self, at: Position) -> Result<Option<AccountId>, ReadError> {
        let there = self.archived_at(at).await?;
        Ok(there.and_then(|(_, index, number)| index.account_of(number)))
    }

    /// The accounts that were opened under idempotency keys within a day and are archived already.
    pub(super) async fn archived_opened_by(&self, scopes: &[&str]) -> Result<Vec<AccountId>, ReadError> {
        let (since, segments) = in_time(async {
            let rows = sqlx::query(concat!(
                "select now() - interval '26 hours' as since, ",
                segment_columns!(),
                " from archive_segments s where s.shard = $1 and s.last_at > now() - interval '26 hours' order by s.number"
            ))
            .bind(self.shard_column())
            .fetch_all(&self.pool)
            .await?;
            let since = rows.first().map(|row| timestamp(row.try_get("since")?)).transpose()?;
            let segments = rows.iter().map(|row| self.segment(row));
            Ok::<_, ReadError>((since, segments.collect::<Result<Vec<_>, _>>()?))
        })
        .await?;
        let marks: Vec<String> = scopes
            .iter()
            .map(|scope| format!("\"commandid\":\"idem:{scope}"))
            .collect();
        let mut accounts = Vec::new();
        for segment in &segments {
            let index = self.archive.index(segment).await?;
            let wanted = index.wanted(&["keyledger.AccountOpened.v1"]);
            let numbers: Vec<u32> = (0..index.len())
                .filter(|number| index.is_wanted(*number, &wanted) && index.time_of(*number) > since)
                .collect();
            for (number, event) in numbers.iter().zip(self.archived_events(segment, &numbers).await?) {
                if marks.iter().any(|mark| has(&event.body, mark.as_bytes())) {
                    accounts.extend(index.account_of(*number));
                }
            }
        }
        Ok(accounts)
    }

    /// When an archived event was.
    pub(super) async fn archived_time(&self, at: Position) -> Result<Option<Timestamp>, ReadError> {
        let there = self.archived_at(at).await?;
        Ok(there.and_then(|(_, index, number)| index.time_of(number)))
    }
}
