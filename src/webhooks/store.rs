//! Receivers, what waits for them, and what became of it: all SQL on the tables `webhook_*`.
//!
//! Promise: a notice becomes one delivery to each receiver that wants it, however often and by how many processes it is
//! tried; what an attempt came to and what follows from it are written together.

use keyledger_events::{AccountId, Credits, EventId, KeyId, Shard, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row as _};
use uuid::Uuid;

use super::Kind;
use super::message::{Message, Said, Told, ToldAccount, ToldKey, body};
use super::patience::Outcome;
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
    pub body: String,
    pub queued_at: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
}

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
const STALE_KEYS_MAX: i64 = 5_000;
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
             select $1, shard, position from views.checkpoints where projection = 'notices'
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
             order by n.position limit $3",
        )
        .bind(self.shard_column())
        .bind(cursor)
        .bind(NOTICES_MAX)
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

    /// Makes deliveries of keys that nobody has used for long, and that were not told of since they were last used.
    pub(super) async fn queue_stale(&self, receiver: &str, now: Timestamp) -> Result<(), sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let stale = sqlx::query(
            "select k.account_id, k.key_id, k.name as key_name, k.preview, k.created_at, k.last_used_at,
                 b.name as account_name, b.external_ref
             from views.key_list k left join views.balance b on b.account_id = k.account_id
             where k.deleted_at is null and (k.stops_at is null or k.stops_at > $2::timestamptz) and (k.expires_at is null or k.expires_at > $2)
                 and coalesce(k.last_used_at, k.created_at) < $2 - make_interval(days => $3)
                 and not exists (
                     select from webhook_deliveries d
                     where d.receiver = $1 and d.message = 'stale_' || k.key_id || '_'
                         || floor(extract(epoch from coalesce(k.last_used_at, k.created_at)))::bigint)
             order by coalesce(k.last_used_at, k.created_at) limit $4",
        )
        .bind(receiver)
        .bind(time_column(now))
        .bind(STALE_DAYS)
        .bind(STALE_KEYS_MAX)
        .fetch_all(&mut *tx)
        .await?;
        let messages: Result<Vec<_>, _> = stale.iter().map(|row| stale_message(row, now)).collect();
        insert(&mut tx, receiver, &messages?, now).await?;
        tx.commit().await
    }

    /// What is to be sent next: the oldest that waits no longer, and that none of the same account must go before.
    pub(super) async fn due(&self, receiver: &str, now: Timestamp) -> Result<Option<Due>, sqlx::Error> {
        let row = sqlx::query(
            "select number, message, body, queued_at, attempts from webhook_deliveries d
             where receiver = $1 and state = 'waiting' and next_at <= $2
                 and not exists (
                     select from webhook_deliveries b
                     where b.receiver = $1 and b.state = 'waiting' and b.account_id = d.account_id and b.number < d.number)
             order by number limit 1",
        )
        .bind(receiver)
        .bind(time_column(now))
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            Ok(Due {
                number: row.try_get("number")?,
                message: row.try_get("message")?,
                body: row.try_get("body")?,
                queued_at: time_of(&row, "queued_at")?,
                attempts: count(&row, "attempts")?,
            })
        })
        .transpose()
    }

    /// Writes down what an attempt came to, and what follows.
    pub(super) async fn note(&self, receiver: &str, attempt: Attempt<'_>) -> Result<(), sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let (status, error) = match attempt.outcome {
            Outcome::Answered { status, .. } => (i16::try_from(*status).ok(), None),
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
        let (state, next_at) = match attempt.next {
            Next::Delivered => ("delivered", attempt.at),
            Next::GivenUp => ("given-up", attempt.at),
            Next::At(moment) => ("waiting", moment),
        };
        sqlx::query(
            "update webhook_deliveries set state = $2, attempts = attempts + 1, next_at = $3,
                 ended_at = case when $2 = 'waiting' then null else $4::timestamptz end
             where number = $1",
        )
        .bind(number)
        .bind(state)
        .bind(time_column(next_at))
        .bind(time_column(attempt.at))
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
        tx.commit().await
    }

    /// Removes what was delivered or given up long ago. Keys that are told of as unused are kept: they are told of once.
    pub(super) async fn forget(&self, receiver: &str, now: Timestamp) -> Result<(), sqlx::Error> {
        sqlx::query(
            "delete from webhook_deliveries where receiver = $1 and kind <> $2
                 and ended_at < $3::timestamptz - make_interval(days => $4)",
        )
        .bind(receiver)
        .bind(Kind::KeyStale.as_str())
        .bind(time_column(now))
        .bind(KEPT_DAYS)
        .execute(&self.pool)
        .await?;
        Ok(())
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

fn told_account(row: &PgRow) -> Result<ToldAccount, sqlx::Error> {
    Ok(ToldAccount {
        account: AccountId::from_bytes(row.try_get::<Uuid, _>("account_id")?.into_bytes()),
        name: row.try_get("account_name")?,
        external_ref: row.try_get("external_ref")?,
    })
}

fn told_key(row: &PgRow) -> Result<Option<ToldKey>, sqlx::Error> {
    let id: Option<Uuid> = row.try_get("key_id")?;
    let Some(id) = id else { return Ok(None) };
    Ok(Some(ToldKey {
        id: KeyId::from_bytes(id.into_bytes()),
        name: row.try_get("key_name")?,
        preview: row.try_get("preview")?,
    }))
}

/// A notice as a message. `None`: a kind that only a later version knows.
fn message(row: &PgRow) -> Result<Option<Message>, sqlx::Error> {
    let Some(kind) = Kind::parse(row.try_get("kind")?) else {
        return Ok(None);
    };
    let amount = |column: &str| -> Result<Option<Credits>, sqlx::Error> {
        Ok(row.try_get::<Option<i64>, _>(column)?.and_then(Credits::from_micros))
    };
    let told = match (kind, told_key(row)?) {
        (Kind::ThresholdReached, _) => amount("threshold")?
            .zip(amount("balance")?)
            .map(|(threshold, balance)| Told::Threshold { threshold, balance }),
        (Kind::KeyLeaked, Some(key)) => Some(Told::Leaked { key }),
        (Kind::KeyDenied, Some(key)) => Some(Told::Denied {
            key,
            reason: row.try_get("reason")?,
            count: row.try_get::<i64, _>("count")?.unsigned_abs(),
        }),
        (Kind::KeyStale | Kind::KeyLeaked | Kind::KeyDenied, _) => None,
    };
    let Some(told) = told else { return Ok(None) };
    let event = EventId::from_bytes(row.try_get::<Uuid, _>("event_id")?.into_bytes()).to_string();
    let said = Said {
        event: &event,
        shard: row.try_get("shard")?,
        position: row.try_get("position")?,
    };
    let account = told_account(row)?;
    let at = time_of(row, "at")?;
    let body = body(kind, at, &account, &told, Some(said));
    Ok(body.map(|body| Message {
        id: event,
        kind,
        account: account.account,
        body,
    }))
}

fn stale_message(row: &PgRow, now: Timestamp) -> Result<Message, sqlx::Error> {
    let account = told_account(row)?;
    let key_id: Uuid = row.try_get("key_id")?;
    let created = time_of(row, "created_at")?;
    let last_used = row
        .try_get::<Option<_>, _>("last_used_at")?
        .and_then(|at| timestamp(at).ok());
    let since = last_used.unwrap_or(created).micros() / 1_000_000;
    let told = Told::Stale {
        key: ToldKey {
            id: KeyId::from_bytes(key_id.into_bytes()),
            name: row.try_get("key_name")?,
            preview: row.try_get("preview")?,
        },
        last_used,
        created,
    };
    let body = body(Kind::KeyStale, now, &account, &told, None);
    Ok(Message {
        id: format!("stale_{key_id}_{since}"),
        kind: Kind::KeyStale,
        account: account.account,
        body: body.ok_or_else(|| sqlx::Error::Decode("a message cannot be written".into()))?,
    })
}

fn time_of(row: &PgRow, column: &str) -> Result<Timestamp, sqlx::Error> {
    timestamp(row.try_get(column)?).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn count(row: &PgRow, column: &str) -> Result<u32, sqlx::Error> {
    Ok(row.try_get::<i32, _>(column)?.unsigned_abs())
}
