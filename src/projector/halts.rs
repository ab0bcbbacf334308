//! What stops a projection, written down where every process can read it.
//!
//! In: why it stopped, and where its checkpoint stands. Out: a row of `views.halts`.
//!
//! Promise: a halt counts while the checkpoint stands there. So it ends with whatever moves the checkpoint, a rebuild or
//! another process among them, and there is no second write for that, which could be missed.
//!
//! Not here: reading it. The views do.

use keyledger_events::{DecodeError, EventId, Position, Shard};
use sqlx::PgPool;
use uuid::Uuid;

use super::view::View;
use super::worker::shard_column;
use crate::log::bigint;

/// Why a projection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Halt {
    /// The event at fault, if it can be read.
    pub event: Option<EventId>,
    /// Nothing in it is out of an event: it is kept, and read by people who need not know that.
    pub why: String,
}

impl Halt {
    /// At an event that cannot be read. What stands in it is left out.
    pub(super) fn at_unreadable(position: Position, error: &DecodeError) -> Halt {
        let what = match error {
            DecodeError::Json(error) => format!("not a document of ours, from byte {} on", error.column()),
            DecodeError::Member { .. } | DecodeError::UnknownType { .. } | DecodeError::NotCanonical => {
                error.to_string()
            }
        };
        Halt {
            event: None,
            why: format!("event {position} cannot be read: {what}"),
        }
    }
}

/// Keeps it. The same halt again is no write.
pub(super) async fn keep(
    pool: &PgPool,
    view: View,
    shard: Shard,
    checkpoint: Position,
    halt: &Halt,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into views.halts as h (projection, shard, checkpoint, event_id, reason, since)
         values ($1, $2, $3, $4, $5, now())
         on conflict (projection, shard) do update set checkpoint = excluded.checkpoint, event_id = excluded.event_id,
             reason = excluded.reason,
             since = case when h.checkpoint = excluded.checkpoint then h.since else excluded.since end
         where (h.checkpoint, h.reason) is distinct from (excluded.checkpoint, excluded.reason)",
    )
    .bind(view.as_str())
    .bind(shard_column(shard))
    .bind(bigint(checkpoint.0))
    .bind(halt.event.map(|id| Uuid::from_bytes(id.to_bytes())))
    .bind(&halt.why)
    .execute(pool)
    .await?;
    Ok(())
}
