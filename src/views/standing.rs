//! How far every projection is.

use keyledger_events::{Position, Shard, Timestamp};
use sqlx::Row as _;

use super::{Columns as _, ViewError, Views};

/// Where one projection stands in one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub projection: String,
    pub shard: Shard,
    pub checkpoint: Position,
    /// Time of the last event folded; 1970 before the first.
    pub recorded_at: Timestamp,
}

impl Views {
    /// Every checkpoint of every shard, whichever process moves it.
    pub async fn standings(&self) -> Result<Vec<Standing>, ViewError> {
        let rows = sqlx::query(
            "select projection, shard, position, recorded_at from views.checkpoints order by shard, projection",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Standing {
                    projection: row.text("projection")?,
                    shard: Shard(row.try_get::<i16, _>("shard")?.unsigned_abs()),
                    checkpoint: row.position("position")?,
                    recorded_at: row.time("recorded_at")?,
                })
            })
            .collect()
    }
}
