//! Requests that came with an idempotency key and leave nothing in the log that would remember them.
//!
//! In: a hash of where a key is good and of what was asked. Out: whether it came before, and what it made then.
//!
//! Promise: of the same request at the same moment in several processes, one is the first. What is kept is no secret.
//!
//! Not here: commands of the ledger. Their accounts remember them.

use keyledger_events::Timestamp;
use sqlx::{PgPool, Row as _};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::log::{time_column, timestamp};

/// What was asked under keys. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Requests {
    pool: PgPool,
}

/// Whether a request came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// Never, or more than a day ago: it is noted now.
    First,
    /// The same did, and made this at that moment.
    Again { made: [u8; 16], at: Timestamp },
    /// Another request came under this key.
    Otherwise,
}

/// It is not known whether the request came before. Nothing was done for it; ask again.
#[derive(Debug, thiserror::Error)]
#[error("what was asked before cannot be read: {0}")]
pub struct RequestsAway(#[from] sqlx::Error);

/// Each sees the table as it was before; that of two at once the second finds nothing is why it looks again.
const LOOKS_MAX: usize = 3;

impl Requests {
    /// Looks at them through a pool of the service's role.
    pub fn new(pool: PgPool) -> Requests {
        Requests { pool }
    }

    /// Notes a request and what it will make, unless one came under the same key within 25 h.
    pub async fn note(
        &self,
        scope: &str,
        fingerprint: &str,
        made: [u8; 16],
        now: Timestamp,
    ) -> Result<Came, RequestsAway> {
        for _ in 0..LOOKS_MAX {
            let row = sqlx::query(
                "with old as (
                     delete from idempotent_requests where requested_at < $4 - interval '25 hours' and scope <> $1
                 ), noted as (
                     insert into idempotent_requests (scope, fingerprint, made, requested_at) values ($1, $2, $3, $4)
                     on conflict on constraint idempotent_requests_pkey do update
                     set fingerprint = excluded.fingerprint, made = excluded.made, requested_at = excluded.requested_at
                     where idempotent_requests.requested_at < $4 - interval '25 hours'
                     returning scope
                 )
                 select exists (select from noted) as first, before.fingerprint, before.made, before.requested_at
                 from (select $1 as scope) asked left join idempotent_requests before using (scope)",
            )
            .bind(scope)
            .bind(fingerprint)
            .bind(Uuid::from_bytes(made))
            .bind(time_column(now))
            .fetch_one(&self.pool)
            .await?;
            if row.try_get("first")? {
                return Ok(Came::First);
            }
            let (before, made): (Option<String>, Option<Uuid>) = (row.try_get("fingerprint")?, row.try_get("made")?);
            let at: Option<OffsetDateTime> = row.try_get("requested_at")?;
            if let (Some(before), Some(made), Some(at)) = (before, made, at) {
                return Ok(if before == fingerprint {
                    Came::Again {
                        made: made.into_bytes(),
                        at: timestamp(at).unwrap_or(Timestamp::EPOCH),
                    }
                } else {
                    Came::Otherwise
                });
            }
        }
        Err(RequestsAway(sqlx::Error::RowNotFound))
    }
}
