//! A key's archived events.

use keyledger_events::{AccountId, KeyId, Position};
use uuid::Uuid;

use super::{SEGMENTS_AT_ONCE, segment_columns};
use crate::archive::Segment;
use crate::log::{Log, ReadError, Stored, bigint, in_time};

/// The events that say how a key is called.
const NAMINGS: [&str; 2] = ["keyledger.KeyCreated.v1", "keyledger.KeyRenamed.v1"];

impl Log {
    /// At most `limit` archived events of an account's key after a position up to and with `last`, in order.
    pub(in crate::log) async fn archived_of_key(
        &self,
        account: AccountId,
        key: KeyId,
        after: Position,
        last: Position,
        limit: usize,
    ) -> Result<Vec<Stored>, ReadError> {
        let (mut events, mut at) = (Vec::new(), after);
        loop {
            let segments = self.segments_of_key(key, at, last).await?;
            for segment in &segments {
                let index = self.archive.index(segment).await?;
                let numbers = index.of_key(key).iter().copied();
                let numbers: Vec<u32> = numbers
                    .filter(|number| (after.next()..=last).contains(&segment.position_of(*number)))
                    .filter(|number| index.account_of(*number) == Some(account))
                    .take(limit - events.len())
                    .collect();
                events.extend(self.archived_events(segment, &numbers).await?);
                if events.len() >= limit {
                    return Ok(events);
                }
                at = segment.last;
            }
            if bigint(u64::try_from(segments.len()).unwrap_or(0)) < SEGMENTS_AT_ONCE {
                return Ok(events);
            }
        }
    }

    async fn segments_of_key(&self, key: KeyId, after: Position, last: Position) -> Result<Vec<Segment>, ReadError> {
        in_time(async {
            let rows = sqlx::query(concat!(
                "select ",
                segment_columns!(),
                " from archive_keys k join archive_segments s on s.shard = k.shard and s.number = k.number
                 where k.shard = $1 and k.key_id = $2 and k.last_position > $3 and s.last > $3 and s.first <= $4
                 order by k.number limit $5"
            ))
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(key.to_bytes()))
            .bind(bigint(after.0))
            .bind(bigint(last.0))
            .bind(SEGMENTS_AT_ONCE)
            .fetch_all(&self.pool)
            .await?;
            rows.iter().map(|row| self.segment(row)).collect()
        })
        .await
    }

    /// The archived event that named a key last.
    pub(super) async fn archived_naming(&self, key: KeyId) -> Result<Option<Stored>, ReadError> {
        let segment = in_time(async {
            let row = sqlx::query(concat!(
                "select ",
                segment_columns!(),
                " from archive_keys k join archive_segments s on s.shard = k.shard and s.number = k.number
                 where k.shard = $1 and k.key_id = $2 and k.types && $3::text[] order by k.number desc limit 1"
            ))
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(key.to_bytes()))
            .bind(NAMINGS.as_slice())
            .fetch_optional(&self.pool)
            .await?;
            row.as_ref().map(|row| self.segment(row)).transpose()
        })
        .await?;
        let Some(segment) = segment else { return Ok(None) };
        let index = self.archive.index(&segment).await?;
        let wanted = index.wanted(&NAMINGS);
        let mut newest_first = index.of_key(key).iter().rev();
        let Some(number) = newest_first.find(|number| index.is_wanted(**number, &wanted)) else {
            return Ok(None);
        };
        Ok(self.archived_events(&segment, &[*number]).await?.pop())
    }
}
