//! How far every projection is, and what keeps it there.

use keyledger_events::{EventId, Position, Shard, Timestamp};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{Columns as _, ViewError, Views};

/// Where one projection stands in one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub projection: String,
    pub shard: Shard,
    pub checkpoint: Position,
    /// Time of the last event folded; 1970 before the first.
    pub recorded_at: Timestamp,
    /// What keeps it there, whichever process has found out.
    pub halted: Option<Halted>,
}

/// Why a projection has stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halted {
    /// For operators: nothing of what the event holds.
    pub reason: String,
    /// The event at fault, where it can be read.
    pub event: Option<EventId>,
    pub since: Timestamp,
}

impl Views {
    /// Every checkpoint of every shard, whichever process moves it.
    pub async fn standings(&self) -> Result<Vec<Standing>, ViewError> {
        let rows = sqlx::query(
            "select c.projection, c.shard, c.position, c.recorded_at, h.reason, h.event_id, h.since
             from views.checkpoints c
             left join views.halts h
                 on h.projection = c.projection and h.shard = c.shard and h.checkpoint = c.position
             order by c.shard, c.projection",
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
                    halted: halted(row)?,
                })
            })
            .collect()
    }
}

fn halted(row: &PgRow) -> Result<Option<Halted>, ViewError> {
    let Some(reason) = row.text_or_none("reason")? else {
        return Ok(None);
    };
    let event = row.try_get::<Option<Uuid>, _>("event_id")?;
    Ok(Some(Halted {
        reason,
        event: event.map(|id| EventId::from_bytes(id.into_bytes())),
        since: row.time("since")?,
    }))
}
