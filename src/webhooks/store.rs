//! Receivers, what waits for them, and what became of it: all SQL on the tables `webhook_*`.
//!
//! Promise: a notice becomes one delivery to each receiver that wants it, however often and by how many processes it is
//! tried; what an attempt came to and what follows from it are written together.

use keyledger_events::{Shard, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row as _};
use uuid::Uuid;

use super::Kind;
use super::message::Message;
use super::patience::{Outcome, TRIED_FOR_SECONDS};
use super::rows::{count, message, stale_message, time_of};
use crate::log::{time_column, timestamp};

/// The tables, through a pool of the service's role. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pool: PgPool,
    shard: Shard,
}

/// What is sent next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    pub number: i64,
    pub message: String,
    pub account: Uuid,
    pub body: String,
    pub queued_at: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
}

/// A key's place in the order of all keys: its account's id and its own.
pub(super) type KeyPlace = (Uuid, Uuid);

/// How a receiver stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Standing {
    pub failures: u32,
    pub retry_at: Option<Timestamp>,
}

/// What follows from an attempt for the message: when it is tried again, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Delivered,
    GivenUp,
    At(Timestamp),
}

/// An attempt, as it is written down.
pub(super) struct Attempt<'a> {
    pub due: &'a Due,
    pub at: Timestamp,
    pub took_ms: i32,
    pub outcome: &'a Outcome,
    pub next: Next,
    /// How the receiver stands after it.
    pub standing: Standing,
}

/// Made into deliveries at once.
const NOTICES_MAX: i64 = 500;
/// A process that is killed keeps a receiver from the others for so long: longer than an attempt.
const LEASE_SECONDS: i32 = 45;
/// A key that was not used for so long is told of.
pub(super) const STALE_DAYS: i32 = 90;
/// Looked at in one go.
const KEYS_AT_ONCE: i64 = 5_000;
/// Sent before it is looked again what is to be sent.
const DUE_MAX: i64 = 100;
/// Given up or removed in one go.
const ROWS_AT_ONCE: i64 = 2_000;
/// How long what was delivered is kept.
const KEPT_DAYS: i32 = 90;

impl Store {
    pub(super) fn new(pool: PgPool, shard: Shard) -> Store {
        Store { pool, shard }
    }

    fn shard_column(&self) -> i16 {
        i16::try_from(self.shard.0).unwrap_or(i16::MAX)
    }

    /// Writes down who is told. A receiver that is new hears of what comes from now on.
    pub(super) async fn register(&self, receiver: &str, url: &str, kinds: &[Kind]) -> Result<(), sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "insert into webhook_receivers (receiver, url, kinds) values ($1, $2, $3)
             on conflict (receiver) do update set url = excluded.url, kinds = excluded.kinds,
                 retry_at = case when webhook_receivers.url = excluded.url then webhook_receivers.retry_at end
             where (webhook_receivers.url, webhook_receivers.kinds) is distinct from (excluded.url, excluded.kinds)",
        )
        .bind(receiver)
        .bind(url)
        .bind(kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "insert into webhook_cursors (receiver, shard, position)
             select $1, shard, position from log_head
             on conflict (receiver, shard) do nothing",
        )
        .bind(receiver)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Takes a receiver, or keeps it: nobody else sends to it then. `None`: another process has it.
    pub(super) async fn lease(&self, receiver: &str, process: Uuid) -> Result<Option<Standing>, sqlx::Error> {
        let row = sqlx::query(
            "update webhook_receivers set leased_by = $2, leased_until = now() + make_interval(secs => $3)
             where receiver = $1 and (leased_by = $2 or leased_until is null or leased_until < now())
             returning failures, retry_at",
        )
        .bind(receiver)
        .bind(process)
        .bind(f64::from(LEASE_SECONDS))
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            Ok(Standing {
                failures: count(&row, "failures")?,
                retry_at: row
                    .try_get::<Option<_>, _>("retry_at")?
                    .and_then(|at| timestamp(at).ok()),
            })
        })
        .transpose()
    }

    /// Lets a receiver go, so that another process need not wait for the lease to end.
    pub(super) async fn leave(&self, receiver: &str, process: Uuid) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update webhook_receivers set leased_by = null, leased_until = null where receiver = $1 and leased_by = $2",
        )
        .bind(receiver)
        .bind(process)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Makes deliveries of the next notices. Answers whether there may be more.
    pub(super) async fn queue(&self, receiver: &str, kinds: &[Kind], now: Timestamp) -> Result<bool, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        // Whoever else does the same waits here, and then goes on after what was done.
        let cursor: Option<i64> =
            sqlx::query_scalar("select position from webhook_cursors where receiver = $1 and shard = $2 for update")
                .bind(receiver)
                .bind(self.shard_column())
                .fetch_optional(&mut *tx)
                .await?;
        let Some(cursor) = cursor else { return Ok(false) };
        let notices = sqlx::query(
            "select n.*, b.name as account_name, b.external_ref, k.name as key_name, k.preview
             from views.notices n
             left join views.balance b on b.account_id = n.account_id
             left join views.key_list k on k.account_id = n.account_id and k.key_id = n.key_id
             where n.shard = $1 and n.position > $2
                 -- Whose it is should be known; a view that stands still keeps nobody from being told.
                 and (n.at < $4::timestamptz - interval '1 minute' or n.position <= (
                     select min(c.position) from views.checkpoints c
                     where c.shard = $1 and c.projection in ('balance', 'key_list')))
             order by n.position limit $3",
        )
        .bind(self.shard_column())
        .bind(cursor)
        .bind(NOTICES_MAX)
        .bind(time_column(now))
        .fetch_all(&mut *tx)
        .await?;
        let Some(last) = notices.last() else { return Ok(false) };
        let last: i64 = last.try_get("position")?;
        let mut messages = Vec::new();
        for notice in &notices {
            messages.extend(message(notice)?.filter(|message| kinds.contains(&message.kind)));
        }
        insert(&mut tx, receiver, &messages, now).await?;
        sqlx::query("update webhook_cursors set position = $3 where receiver = $1 and shard = $2")
            .bind(receiver)
            .bind(self.shard_column())
            .bind(last)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(i64::try_from(notices.len()).unwrap_or(i64::MAX) >= NOTICES_MAX)
    }

    /// Makes deliveries of keys that nobody has used for long, and that were not told of since they were last used: among the
    /// next keys after one. Answers the last of these, unless there are no more.
    pub(super) async fn queue_stale(
        &self,
        receiver: &str,
        after: KeyPlace,
        now: Timestamp,
    ) -> Result<Option<KeyPlace>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let last: Option<KeyPlace> = sqlx::query_as(
            "select account_id, key_id from views.key_list where (account_id, key_id) > ($1, $2)
             order by account_id, key_id offset $3 limit 1",
        )
        .bind(after.0)
        .bind(after.1)
        .bind(KEYS_AT_ONCE - 1)
        .fetch_optional(&mut *tx)
        .await?;
        let until = last.unwrap_or((Uuid::max(), Uuid::max()));
        let stale = sqlx::query(
            "select k.account_id, k.key_id, k.name as key_name, k.preview, k.created_at, k.last_used_at,
                 b.name as account_name, b.external_ref
             from views.key_list k left join views.balance b on b.account_id = k.account_id
             where (k.account_id, k.key_id) > ($4, $5) and (k.account_id, k.key_id) <= ($6, $7)
                 and k.deleted_at is null and (k.stops_at is null or k.stops_at > $2::timestamptz)
                 and (k.expires_at is null or k.expires_at > $2)
                 and coalesce(k.last_used_at, k.created_at) < $2 - make_interval(days => $3)
                 and coalesce(k.last_used_at, k.created_at)
                     >= (select since from webhook_receivers where receiver = $1) - make_interval(days => $3)
                 and not exists (
                     select from webhook_deliveries d
                     where d.receiver = $1 and d.message = 'stale_' || k.key_id || '_'
                         || floor(extract(epoch from coalesce(k.last_used_at, k.created_at)))::bigint)
             order by coalesce(k.last_used_at, k.created_at)",
        )
        .bind(receiver)
        .bind(time_column(now))
        .bind(STALE_DAYS)
        .bind(after.0)
        .bind(after.1)
        .bind(until.0)
        .bind(until.1)
        .fetch_all(&mut *tx)
        .await?;
        let messages: Result<Vec<_>, _> = stale.iter().map(|row| stale_message(row, now)).collect();
        insert(&mut tx, receiver, &messages?, now).await?;
        tx.commit().await?;
        Ok(last)
    }

    /// What is to be sent next, the oldest first: what waits no longer, and does not come after something of the same account
    /// that does.
    pub(super) async fn due(&self, receiver: &str, now: Timestamp) -> Result<Vec<Due>, sqlx::Error> {
        let rows = sqlx::query(
            "select number, message, account_id, body, queued_at, attempts from webhook_deliveries d
             where receiver = $1 and state = 'waiting' and next_at <= $2
                 and not exists (
                     select from webhook_deliveries b
                     where b.receiver = $1 and b.state = 'waiting' and b.account_id = d.account_id
                         and b.number < d.number and b.next_at > $2)
             order by number limit $3",
        )
        .bind(receiver)
        .bind(time_column(now))
        .bind(DUE_MAX)
        .fetch_all(&self.pool)
        .await?;
        let due = |row: &PgRow| {
            Ok(Due {
                number: row.try_get("number")?,
                message: row.try_get("message")?,
                account: row.try_get("account_id")?,
                body: row.try_get("body")?,
                queued_at: time_of(row, "queued_at")?,
                attempts: count(row, "attempts")?,
            })
        };
        rows.iter().map(due).collect()
    }

    /// Writes down what an attempt came to, and what follows. `false`: another process has the receiver now, and what follows
    /// is its business. What was asked to be sent again meanwhile still waits.
    pub(super) async fn note(
        &self,
        (receiver, process): (&str, Uuid),
        attempt: Attempt<'_>,
    ) -> Result<bool, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let ours = sqlx::query("select from webhook_receivers where receiver = $1 and leased_by = $2 for update")
            .bind(receiver)
            .bind(process)
            .fetch_optional(&mut *tx)
            .await?
            .is_some();
        let (status, error) = match attempt.outcome {
            Outcome::Answered { status, .. } => (i16::try_from(*status).ok(), None),
            Outcome::Unreachable => (None, Some("cannot be reached")),
            Outcome::Silent { why } => (None, Some(*why)),
        };
        let number = attempt.due.number;
        sqlx::query(
            "insert into webhook_attempts (number, attempt, at, took_ms, status, error)
             select $1, coalesce(max(attempt), 0) + 1, $2, $3, $4, $5 from webhook_attempts where number = $1",
        )
        .bind(number)
        .bind(time_column(attempt.at))
        .bind(attempt.took_ms)
        .bind(status)
        .bind(error)
        .execute(&mut *tx)
        .await?;
        if !ours {
            tx.commit().await?;
            return Ok(false);
        }
        let (state, next_at) = match attempt.next {
            Next::Delivered => ("delivered", attempt.at),
            Next::GivenUp => ("given-up", attempt.at),
            Next::At(moment) => ("waiting", moment),
        };
        sqlx::query(
            "update webhook_deliveries set state = $2, attempts = attempts + 1, next_at = $3,
                 ended_at = case when $2 = 'waiting' then null else $4::timestamptz end
             where number = $1 and queued_at = $5",
        )
        .bind(number)
        .bind(state)
        .bind(time_column(next_at))
        .bind(time_column(attempt.at))
        .bind(time_column(attempt.due.queued_at))
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "update webhook_receivers set failures = $2, retry_at = $3,
                 failing_since = case when $2 = 0 then null else coalesce(failing_since, $4) end
             where receiver = $1",
        )
        .bind(receiver)
        .bind(i32::try_from(attempt.standing.failures).unwrap_or(i32::MAX))
        .bind(attempt.standing.retry_at.map(time_column))
        .bind(time_column(attempt.at))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Gives up what waited too long for a receiver that takes nothing. Answers whether there may be more.
    pub(super) async fn give_up(&self, receiver: &str, now: Timestamp) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(
            "update webhook_deliveries set state = 'given-up', ended_at = $2
             where number in (
                 select number from webhook_deliveries
                 where receiver = $1 and state = 'waiting' and queued_at < $3
                     and exists (select from webhook_receivers where receiver = $1 and failing_since < $3)
                 order by number limit $4)",
        )
        .bind(receiver)
        .bind(time_column(now))
        .bind(time_column(now.minus_seconds(TRIED_FOR_SECONDS)))
        .bind(ROWS_AT_ONCE)
        .execute(&self.pool)
        .await?;
        Ok(i64::try_from(done.rows_affected()) == Ok(ROWS_AT_ONCE))
    }

    /// Removes what was delivered or given up long ago. Keys that are told of as unused are kept: they are told of once. Answers
    /// whether there may be more.
    pub(super) async fn forget(&self, receiver: &str, now: Timestamp) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(
            "delete from webhook_deliveries where number in (
                 select number from webhook_deliveries
                 where receiver = $1 and kind <> $2 and ended_at < $3::timestamptz - make_interval(days => $4)
                 order by ended_at limit $5)",
        )
        .bind(receiver)
        .bind(Kind::KeyStale.as_str())
        .bind(time_column(now))
        .bind(KEPT_DAYS)
        .bind(ROWS_AT_ONCE)
        .execute(&self.pool)
        .await?;
        Ok(i64::try_from(done.rows_affected()) == Ok(ROWS_AT_ONCE))
    }
}

async fn insert(
    connection: &mut PgConnection,
    receiver: &str,
    messages: &[Message],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if messages.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into webhook_deliveries (receiver, message, kind, account_id, body, queued_at, state, next_at)
         select $1, m.message, m.kind, m.account_id, m.body, $2, 'waiting', $2
         from unnest($3::text[], $4::text[], $5::uuid[], $6::text[]) with ordinality
             as m (message, kind, account_id, body, place)
         order by m.place
         on conflict (receiver, message) do nothing",
    )
    .bind(receiver)
    .bind(time_column(now))
    .bind(messages.iter().map(|m| m.id.as_str()).collect::<Vec<_>>())
    .bind(messages.iter().map(|m| m.kind.as_str()).collect::<Vec<_>>())
    .bind(
        messages
            .iter()
            .map(|m| Uuid::from_bytes(m.account.to_bytes()))
            .collect::<Vec<_>>(),
    )
    .bind(messages.iter().map(|m| m.body.as_str()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
