//! The append: one statement that moves the head if it stands where expected, and inserts the events with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyledger_events::{AccountId, Position, Recorded, Timestamp};
use sqlx::Row as _;
use uuid::Uuid;

use super::wire_array::WireArray;
use super::{Head, Log, ReadError, bigint, in_time, position, time_column, timestamp};

/// Events that stand one after the other, encoded as the arrays that are sent.
#[derive(Debug, Default)]
pub struct Batch {
    first: Option<(Position, Uuid)>,
    last: Option<(Position, time::OffsetDateTime)>,
    account_ids: WireArray<Uuid>,
    seqs: WireArray<i64>,
    event_ids: WireArray<Uuid>,
    types: WireArray<String>,
    key_ids: WireArray<Uuid>,
    key_digests: WireArray<Vec<u8>>,
    recorded_ats: WireArray<time::OffsetDateTime>,
    bodies: WireArray<Vec<u8>>,
    leads_key: WireArray<bool>,
    /// The events themselves, for those who read along.
    decoded: Vec<Option<Arc<Recorded>>>,
    /// Data keys that are made with these events, by account.
    keyed_ids: WireArray<Uuid>,
    data_keys: WireArray<Vec<u8>>,
}

/// How much a batch has.
#[derive(Debug, Clone, Copy, Default)]
pub struct BatchSize {
    events: usize,
    body_bytes: usize,
}

/// What stands before each element of an array.
const LENGTH_BYTES: usize = 4;
/// Of a long event type's name.
const TYPE_BYTES: usize = 32;

/// Why an append did not happen, or may not have.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Someone else appended first. Nothing was written. Catch up and decide again.
    #[error("the log stands at {found}, not at {expected}")]
    Behind { expected: Position, found: Position },
    /// Nothing was written, because the log never got the statement or refused it.
    #[error("nothing was appended: {0}")]
    NotWritten(#[source] sqlx::Error),
    /// The connection died and the log could not be asked in time. The events may be there: retry with the same ids.
    #[error("the append's outcome is unknown: {0}")]
    Unknown(#[source] sqlx::Error),
}

/// How long a lost answer is looked for before the caller is told that it is lost.
const LOST_ANSWER_SECONDS_MAX: u64 = 3;
/// One attempt's own end, for connections that die without a word.
const ATTEMPT_SECONDS_MAX: u64 = 5;
const RETRY_PAUSE: Duration = Duration::from_millis(50);

const APPEND: &str = "\
with pen as (
    update log_head set position = $3, recorded_at = $4
    where shard = $1 and position = $2
    returning shard
)
insert into events (shard, position, account_id, seq, event_id, type, key_id, key_digest, recorded_at, body, leads_key)
select pen.shard, $2 + row.n, row.account_id, row.seq, row.event_id, row.type, row.key_id, row.key_digest, row.recorded_at, row.body,
    row.leads_key
from pen, unnest($5::uuid[], $6::bigint[], $7::uuid[], $8::text[], $9::uuid[], $10::bytea[], $11::timestamptz[], $12::bytea[],
    $13::boolean[]) with ordinality as row (account_id, seq, event_id, type, key_id, key_digest, recorded_at, body, leads_key, n)";

/// The same, with data keys: they are there when the head is moved, and not otherwise. Who makes one has the pen, so that of two
/// processes that make one for the same account, one is behind.
const APPEND_WITH_KEYS: &str = "\
with pen as (
    update log_head set position = $3, recorded_at = $4
    where shard = $1 and position = $2
    returning shard
), made as (
    insert into data_keys (shard, account_id, key, made_at)
    select pen.shard, k.account_id, k.key, $4 from pen, unnest($14::uuid[], $15::bytea[]) as k (account_id, key)
)
insert into events (shard, position, account_id, seq, event_id, type, key_id, key_digest, recorded_at, body, leads_key)
select pen.shard, $2 + row.n, row.account_id, row.seq, row.event_id, row.type, row.key_id, row.key_digest, row.recorded_at, row.body,
    row.leads_key
from pen, unnest($5::uuid[], $6::bigint[], $7::uuid[], $8::text[], $9::uuid[], $10::bytea[], $11::timestamptz[], $12::bytea[],
    $13::boolean[]) with ordinality as row (account_id, seq, event_id, type, key_id, key_digest, recorded_at, body, leads_key, n)";

impl Batch {
    /// Empty, with room for as much as another one has: an array that grows is copied each time.
    pub fn with_room_of(other: &BatchSize) -> Batch {
        let BatchSize { events, body_bytes } = *other;
        let of = |bytes: usize| events * (LENGTH_BYTES + bytes);
        Batch {
            account_ids: WireArray::with_room(of(16)),
            seqs: WireArray::with_room(of(8)),
            event_ids: WireArray::with_room(of(16)),
            types: WireArray::with_room(of(TYPE_BYTES)),
            key_ids: WireArray::with_room(of(16)),
            key_digests: WireArray::with_room(of(0)),
            recorded_ats: WireArray::with_room(of(8)),
            bodies: WireArray::with_room(body_bytes),
            leads_key: WireArray::with_room(of(1)),
            ..Batch::default()
        }
    }

    pub fn size(&self) -> BatchSize {
        BatchSize {
            events: self.len(),
            body_bytes: self.bodies.bytes(),
        }
    }

    /// Adds the next event. Its position must follow the last one's. Whether it leads to its key, `KeysOfBlock` tells.
    pub fn push(&mut self, recorded: &Recorded, leads_key: bool) {
        debug_assert!(
            self.last.is_none_or(|(last, _)| last.next() == recorded.position),
            "positions have no gap"
        );
        let event_id = recorded.id.to_bytes();
        self.first
            .get_or_insert_with(|| (recorded.position, Uuid::from_bytes(event_id)));
        self.last = Some((recorded.position, time_column(recorded.time)));
        self.account_ids.push(&recorded.account.to_bytes());
        self.seqs.push(&bigint(recorded.seq.0).to_be_bytes());
        self.event_ids.push(&event_id);
        self.types.push(recorded.event.type_name().as_bytes());
        let key = recorded.event.key().map(|key| key.to_bytes());
        self.key_ids.push_or_null(key.as_ref().map(<[u8; 16]>::as_slice));
        let digest = recorded.event.new_key_digest();
        self.key_digests
            .push_or_null(digest.as_ref().map(|digest| digest.as_bytes().as_slice()));
        self.recorded_ats.push(&micros_since_2000(recorded.time).to_be_bytes());
        self.bodies.push_with(|out| recorded.encode_into(out));
        self.leads_key.push(&[u8::from(leads_key)]);
    }

    /// Keeps the event that was added, for those who read along: all of them are kept, in their order, or none.
    pub fn keep(&mut self, recorded: Recorded) {
        debug_assert!(self.decoded.len() < self.len(), "what is kept was added");
        // What is sealed has to be opened first, as when it is read.
        let open = recorded.sealed.is_none();
        self.decoded.push(open.then(|| Arc::new(recorded)));
    }

    /// Adds an account's data key, as it is kept. It must have none.
    pub fn push_data_key(&mut self, account: AccountId, stored: &[u8]) {
        self.keyed_ids.push(&account.to_bytes());
        self.data_keys.push(stored);
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn first(&self) -> Option<Position> {
        self.first.map(|(position, _)| position)
    }

    /// Where events were kept: one for each, and nothing in the place of one that is sealed.
    pub(super) fn decoded(&self) -> &[Option<Arc<Recorded>>] {
        &self.decoded
    }

    pub(super) fn bodies(&self) -> &WireArray<Vec<u8>> {
        &self.bodies
    }

    pub fn len(&self) -> usize {
        self.bodies.len()
    }
}

/// A moment as Postgres keeps it.
fn micros_since_2000(moment: Timestamp) -> i64 {
    const YEAR_2000: i64 = 946_684_800_000_000;
    moment.micros() - YEAR_2000
}

impl Log {
    /// Appends a batch whole, or not at all.
    ///
    /// When an answer is lost, the same statement is sent again: a first one that is still under way holds the head
    /// row, so the second waits for it and then finds the head moved. Whose id stands at the first position tells whose
    /// append it was. Must run to its end: call it from a task that no client can drop.
    pub async fn append(&self, batch: &Batch) -> Result<(), AppendError> {
        let appended = self.append_whole(batch).await;
        match appended {
            Ok(()) => self.keep_recent(batch),
            Err(AppendError::Behind { .. }) => self.recent.forget(),
            Err(AppendError::NotWritten(_) | AppendError::Unknown(_)) => {}
        }
        appended
    }

    async fn append_whole(&self, batch: &Batch) -> Result<(), AppendError> {
        let (Some((first, first_id)), Some((last, last_time))) = (batch.first, batch.last) else {
            return Ok(());
        };
        let expected = Position(first.0 - 1);
        let mut lost: Option<(Instant, sqlx::Error)> = None;
        loop {
            let fault = match self.attempt(batch, expected, last, last_time).await {
                Ok(true) => return Ok(()),
                Ok(false) => match self.first_id_after(expected).await {
                    Ok((found, id)) if id == Some(first_id) => {
                        debug_assert!(found >= last, "an append is whole");
                        return Ok(());
                    }
                    Ok((found, _)) => return Err(AppendError::Behind { expected, found }),
                    // Only an earlier attempt of ours could have moved the head to our own events.
                    Err(fault) => fault,
                },
                Err(Attempt::NotSent(fault)) if lost.is_none() => return Err(AppendError::NotWritten(fault)),
                Err(Attempt::NotSent(fault) | Attempt::Lost(fault)) => fault,
            };
            let (since, _) = lost.get_or_insert_with(|| (Instant::now(), fault));
            if since.elapsed() > Duration::from_secs(LOST_ANSWER_SECONDS_MAX) {
                let fault = lost.map_or(sqlx::Error::PoolTimedOut, |(_, fault)| fault);
                return Err(AppendError::Unknown(fault));
            }
            tracing::warn!(shard = %self.shard, position = %first, "an append's answer was lost; asking the log again");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Sends the statement once: did it move the head?
    async fn attempt(
        &self,
        batch: &Batch,
        expected: Position,
        last: Position,
        last_time: time::OffsetDateTime,
    ) -> Result<bool, Attempt> {
        let mut held = self.pen.lock().await;
        let mut pen = match held.take() {
            Some(pen) => pen,
            None => self.new_pen().await.map_err(Attempt::NotSent)?,
        };
        let with_keys = batch.data_keys.len() > 0;
        let statement = sqlx::query(if with_keys { APPEND_WITH_KEYS } else { APPEND })
            .bind(self.shard_column())
            .bind(bigint(expected.0))
            .bind(bigint(last.0))
            .bind(last_time)
            .bind(&batch.account_ids)
            .bind(&batch.seqs)
            .bind(&batch.event_ids)
            .bind(&batch.types)
            .bind(&batch.key_ids)
            .bind(&batch.key_digests)
            .bind(&batch.recorded_ats)
            .bind(&batch.bodies)
            .bind(&batch.leads_key);
        let statement = if with_keys {
            statement.bind(&batch.keyed_ids).bind(&batch.data_keys)
        } else {
            statement
        };
        let sent = async {
            let moved = statement.execute(&mut pen.connection).await?.rows_affected() > 0;
            if pen.in_turn {
                let end = if moved { "commit" } else { "rollback" };
                sqlx::query(end).execute(&mut pen.connection).await?;
                pen.in_turn = false;
            }
            Ok(moved)
        };
        // After a fault the connection is dropped: it may still be at work.
        match tokio::time::timeout(Duration::from_secs(ATTEMPT_SECONDS_MAX), sent).await {
            Ok(Ok(moved)) => {
                *held = Some(pen);
                Ok(moved)
            }
            Ok(Err(fault)) if refused_by_postgres(&fault) => Err(Attempt::NotSent(fault)),
            Ok(Err(fault)) => Err(Attempt::Lost(fault)),
            Err(_) => Err(Attempt::Lost(sqlx::Error::PoolTimedOut)),
        }
    }

    /// The head, and the id of the event that stands right after `expected`.
    async fn first_id_after(&self, expected: Position) -> Result<(Position, Option<Uuid>), sqlx::Error> {
        let row = sqlx::query(
            "select h.position, (select e.event_id from events e where e.shard = $1 and e.position = $2 + 1) as event_id
             from log_head h where h.shard = $1",
        )
        .bind(self.shard_column())
        .bind(bigint(expected.0))
        .fetch_one(&self.pool)
        .await?;
        let found: i64 = row.try_get("position")?;
        let mut id: Option<Uuid> = row.try_get("event_id")?;
        if id.is_none() && found.unsigned_abs() > expected.0 {
            // An answer that was lost for long: the event may be archived by now.
            id = self.archived_id_after(expected).await?;
        }
        Ok((Position(found.unsigned_abs()), id))
    }

    async fn archived_id_after(&self, expected: Position) -> Result<Option<Uuid>, sqlx::Error> {
        let event = self.read(expected, 1).await.map_err(|error| match error {
            ReadError::Unreachable(error) => error,
            error @ (ReadError::TimedOut { .. }
            | ReadError::NoHead { .. }
            | ReadError::Corrupt { .. }
            | ReadError::Archive(_)) => sqlx::Error::Io(std::io::Error::other(error)),
        })?;
        let event = event.first().and_then(|event| event.decode().ok());
        Ok(event.map(|event| Uuid::from_bytes(event.id.to_bytes())))
    }

    /// Where the log ends now.
    pub async fn head(&self) -> Result<Head, ReadError> {
        in_time(async {
            let row = sqlx::query("select position, recorded_at from log_head where shard = $1")
                .bind(self.shard_column())
                .fetch_optional(&self.pool)
                .await?
                .ok_or(ReadError::NoHead { shard: self.shard })?;
            Ok(Head {
                position: position(row.try_get("position")?)?,
                recorded_at: timestamp(row.try_get("recorded_at")?)?,
            })
        })
        .await
    }
}

enum Attempt {
    /// The statement had no effect.
    NotSent(sqlx::Error),
    /// The statement may have had its effect.
    Lost(sqlx::Error),
}

/// Whether Postgres itself answered that the statement failed, and so rolled it back. A server that is going down
/// (class 57P) says so too, but may say it after the commit record was written: that is no such answer.
fn refused_by_postgres(fault: &sqlx::Error) -> bool {
    fault
        .as_database_error()
        .and_then(|refusal| refusal.code())
        .is_some_and(|code| {
            let class_unsure = ["57P", "08", "XX", "58"];
            !class_unsure.iter().any(|class| code.starts_with(class))
        })
}
