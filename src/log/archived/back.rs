//! Looking back through an account's or a key's archived events, the newest first.

use keyledger_events::Position;
use uuid::Uuid;

use super::{SEGMENTS_AT_ONCE, segment_columns};
use crate::archive::{Index, Segment};
use crate::log::history::HistorySearch;
use crate::log::{Log, ReadError, Stored, bigint, in_time};

/// How far to look.
#[derive(Debug, Clone, Copy)]
pub(in crate::log) struct Back {
    /// The newest that may be found is before this.
    pub(in crate::log) before: Position,
    /// Events that may be looked at; no bound where none is set, and then segments without the types are left out.
    pub(in crate::log) looked_at_max: Option<usize>,
    pub(in crate::log) found_max: usize,
}

/// What looking back came to.
#[derive(Debug, Default)]
pub(in crate::log) struct Found {
    /// In no order.
    pub(in crate::log) events: Vec<Stored>,
    /// The last event that was looked at, where the bound ended it.
    pub(in crate::log) end: Option<Position>,
}

impl Log {
    pub(in crate::log) async fn archived_back(
        &self,
        search: &HistorySearch<'_>,
        back: Back,
    ) -> Result<Found, ReadError> {
        let mut found = Found::default();
        let mut looked_at = 0;
        let mut before = back.before;
        loop {
            let segments = self.segments_back(search, before, back.looked_at_max.is_none()).await?;
            for segment in &segments {
                let index = self.archive.index(segment).await?;
                let wanted = index.wanted(search.types);
                let mut numbers = Vec::new();
                for number in of_search(&index, search).iter().rev().copied() {
                    if segment.position_of(number) >= back.before || index.account_of(number) != Some(search.account) {
                        continue;
                    }
                    looked_at += 1;
                    if index.is_wanted(number, &wanted) {
                        numbers.push(number);
                    }
                    let full = found.events.len() + numbers.len() >= back.found_max;
                    if !full && back.looked_at_max == Some(looked_at) {
                        found.end = Some(segment.position_of(number));
                    }
                    if full || found.end.is_some() {
                        break;
                    }
                }
                numbers.reverse();
                found.events.extend(self.archived_events(segment, &numbers).await?);
                if found.end.is_some() || found.events.len() >= back.found_max {
                    return Ok(found);
                }
                before = segment.first;
            }
            if bigint(u64::try_from(segments.len()).unwrap_or(0)) < SEGMENTS_AT_ONCE {
                return Ok(found);
            }
        }
    }

    /// The segments that have something of it before a position, the newest first.
    async fn segments_back(
        &self,
        search: &HistorySearch<'_>,
        before: Position,
        with_types_only: bool,
    ) -> Result<Vec<Segment>, ReadError> {
        let (statement, id) = match search.key {
            None => (
                concat!(
                    "select ",
                    segment_columns!(),
                    " from archive_accounts a join archive_segments s on s.shard = a.shard and s.number = a.number
                     where a.shard = $1 and a.account_id = $2 and s.first < $3 and ($4::text[] is null or a.types && $4)
                     order by a.number desc limit $5"
                ),
                search.account.to_bytes(),
            ),
            Some(key) => (
                concat!(
                    "select ",
                    segment_columns!(),
                    " from archive_keys k join archive_segments s on s.shard = k.shard and s.number = k.number
                     where k.shard = $1 and k.key_id = $2 and s.first < $3 and ($4::text[] is null or k.types && $4)
                     order by k.number desc limit $5"
                ),
                key.to_bytes(),
            ),
        };
        in_time(async {
            let rows = sqlx::query(statement)
                .bind(self.shard_column())
                .bind(Uuid::from_bytes(id))
                .bind(bigint(before.0))
                .bind(with_types_only.then_some(search.types))
                .bind(SEGMENTS_AT_ONCE)
                .fetch_all(&self.pool)
                .await?;
            rows.iter().map(|row| self.segment(row)).collect()
        })
        .await
    }
}

fn of_search<'a>(index: &'a Index, search: &HistorySearch<'_>) -> &'a [u32] {
    match search.key {
        None => index.of_account(search.account),
        Some(key) => index.of_key(key),
    }
}
