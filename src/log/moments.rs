//! Where in the log a moment lies.

use keyledger_events::{Position, Timestamp};
use sqlx::Row as _;

use super::{Log, ReadError, bigint, in_time, timestamp};

impl Log {
    /// The last position up to `end` whose event is from before a moment; 0 when none is. Times never run backwards in a
    /// shard, so some forty looks down the primary key find it in a log of any length.
    pub async fn last_before(&self, moment: Timestamp, end: Position) -> Result<Position, ReadError> {
        let (mut before, mut from) = (0, end.0.saturating_add(1));
        while from - before > 1 {
            let middle = before + (from - before) / 2;
            if self.recorded_at(Position(middle)).await? < moment {
                before = middle;
            } else {
                from = middle;
            }
        }
        Ok(Position(before))
    }

    async fn recorded_at(&self, at: Position) -> Result<Timestamp, ReadError> {
        in_time(async {
            let row = sqlx::query("select recorded_at from events where shard = $1 and position = $2")
                .bind(self.shard_column())
                .bind(bigint(at.0))
                .fetch_optional(&self.pool)
                .await?
                .ok_or(ReadError::Corrupt {
                    what: "a position without an event",
                })?;
            timestamp(row.try_get("recorded_at")?)
        })
        .await
    }
}
