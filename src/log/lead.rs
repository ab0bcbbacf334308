//! Which process decides for all of them: a lease in the database. And what the others still must know of the log.
//!
//! Promise: none about safety. An append needs no lead; the lease only says where commands are decided fastest.

use keyledger_events::{KeyId, Position};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{Head, Log, ReadError, bigint, in_time, position, timestamp};

/// A run of a process that may lead: its name, and what only those know who may read the lease.
#[derive(Clone, PartialEq, Eq)]
pub struct Candidate {
    pub process: Uuid,
    pub secret: [u8; 32],
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate")
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

/// Who has the lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    pub leader: Candidate,
    /// When the leader last said so, in microseconds of the database's clock: tells a leader that is alive from one that was.
    pub lasts_until_us: i64,
}

/// What every process has to hear of, whoever decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// So far it reaches.
    pub head: Head,
    /// Keys that were deleted.
    pub ended: Vec<KeyId>,
    pub prices_published: bool,
}

/// How long a lead lasts when its holder falls silent.
const LEAD_SECONDS: f64 = 15.0;

/// Positions looked through at once for what has to be heard of: some 50 ms of reading.
const LOOKED_THROUGH_MAX: u64 = 200_000;

impl Log {
    /// Takes the lead if nobody has it, or keeps it. Says who has it now; `None` where two took it at this very moment.
    pub async fn lead(&self, candidate: &Candidate) -> Result<Option<Lead>, ReadError> {
        in_time(async {
            // The lease that is there counts, unless it is over or ours.
            let row = sqlx::query(
                "with taken as (
                     insert into log_leads (shard, process, secret, lasts_until)
                     values ($1, $2, $3, now() + make_interval(secs => $4))
                     on conflict on constraint log_leads_pkey do update
                     set process = excluded.process, secret = excluded.secret, lasts_until = excluded.lasts_until
                     where log_leads.process = excluded.process or log_leads.lasts_until < now()
                     returning process, secret, lasts_until
                 )
                 select process, secret, lasts_until from taken
                 union all
                 select process, secret, lasts_until from log_leads
                 where shard = $1 and lasts_until >= now() and not exists (select from taken)",
            )
            .bind(self.shard_column())
            .bind(candidate.process)
            .bind(candidate.secret.as_slice())
            .bind(LEAD_SECONDS)
            .fetch_optional(&self.pool)
            .await?;
            row.as_ref().map(lead).transpose()
        })
        .await
    }

    /// Gives the lead up, if it is this candidate's.
    pub async fn leave_lead(&self, candidate: &Candidate) -> Result<(), ReadError> {
        in_time(async {
            sqlx::query("update log_leads set lasts_until = '-infinity' where shard = $1 and process = $2")
                .bind(self.shard_column())
                .bind(candidate.process)
                .execute(&self.pool)
                .await?;
            Ok(())
        })
        .await
    }

    /// Where the log stands, and what every process has to hear of since `known`. Of a log that is far ahead only as far as
    /// one look goes: ask again until the head is the one that was known.
    pub async fn heard_since(&self, known: Head) -> Result<Heard, ReadError> {
        let until = known.position.0.saturating_add(LOOKED_THROUGH_MAX);
        in_time(async {
            let rows = sqlx::query(
                "select head.position, head.recorded_at, heard.type = 'keyledger.PricesPublished.v1' as prices, heard.key_id,
                     (select max(archived.last) from archive_segments archived
                      where archived.shard = head.shard and archived.last > $2) as archived
                 from log_head head
                 left join events heard
                     on heard.shard = head.shard and heard.position > $2 and heard.position <= least(head.position, $3)
                     and heard.type in ('keyledger.KeyDeleted.v1', 'keyledger.PricesPublished.v1')
                 where head.shard = $1",
            )
            .bind(self.shard_column())
            .bind(bigint(known.position.0))
            .bind(bigint(until))
            .fetch_all(&self.pool)
            .await?;
            let first = rows.first().ok_or(ReadError::NoHead { shard: self.shard })?;
            // Of what is archived all is heard of at once, and nothing of it is among the events.
            let archived: Option<i64> = first.try_get("archived")?;
            let until = archived.map(position).transpose()?.unwrap_or_default().max(Position(until));
            let head = Head {
                position: position(first.try_get("position")?)?.min(until),
                recorded_at: timestamp(first.try_get("recorded_at")?)?,
            };
            let (mut ended, mut prices_published) = (Vec::new(), false);
            if archived.is_some() {
                ended = self.ended_in_archive(known.position).await?;
                // They may have been: looking costs no more than asking the archive.
                prices_published = true;
            }
            for row in &rows {
                prices_published |= row.try_get::<Option<bool>, _>("prices")?.unwrap_or(false);
                let key: Option<Uuid> = row.try_get("key_id")?;
                ended.extend(key.map(|key| KeyId::from_bytes(key.into_bytes())));
            }
            Ok(Heard {
                head,
                ended,
                prices_published,
            })
        })
        .await
    }
}

impl Log {
    /// Keys that were deleted in the segments that have something after a position, those from before it in them included.
    async fn ended_in_archive(&self, after: Position) -> Result<Vec<KeyId>, ReadError> {
        let keys: Vec<Uuid> = sqlx::query_scalar(
            "select key_id from archive_keys
             where shard = $1 and 'keyledger.KeyDeleted.v1' = any(types)
                 and number >= (select min(number) from archive_segments where shard = $1 and last > $2)",
        )
        .bind(self.shard_column())
        .bind(bigint(after.0))
        .fetch_all(&self.pool)
        .await?;
        Ok(keys
            .into_iter()
            .map(|key| KeyId::from_bytes(key.into_bytes()))
            .collect())
    }
}

fn lead(row: &PgRow) -> Result<Lead, ReadError> {
    let secret: Vec<u8> = row.try_get("secret")?;
    Ok(Lead {
        leader: Candidate {
            process: row.try_get("process")?,
            secret: secret.try_into().map_err(|_| ReadError::Corrupt {
                what: "a secret of another length",
            })?,
        },
        lasts_until_us: timestamp(row.try_get("lasts_until")?)?.micros(),
    })
}
