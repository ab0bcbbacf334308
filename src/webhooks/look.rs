//! The delivery log, as people and their programs read it, and sending again.

use keyledger_events::{AccountId, ERASED, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

use crate::log::{ReadError, time_column, timestamp};

/// The delivery log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Deliveries {
    pool: PgPool,
}

/// Whom the config files name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    pub name: String,
    /// Without its query.
    pub url: String,
    pub kinds: Vec<String>,
    pub waiting: u64,
    /// Since when it takes nothing, how often it was tried since, and when it is tried again.
    pub failing_since: Option<Timestamp>,
    pub failures: u32,
    pub retry_at: Option<Timestamp>,
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    Waiting,
    Delivered,
    GivenUp,
}

impl DeliveryState {
    pub const ALL: [DeliveryState; 3] = [DeliveryState::Waiting, DeliveryState::Delivered, DeliveryState::GivenUp];

    pub const fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Waiting => "waiting",
            DeliveryState::Delivered => "delivered",
            DeliveryState::GivenUp => "given-up",
        }
    }

    pub fn parse(text: &str) -> Option<DeliveryState> {
        DeliveryState::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// A message to a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its place among all deliveries.
    pub number: i64,
    pub receiver: String,
    /// `webhook-id`.
    pub message: String,
    pub kind: String,
    pub account: AccountId,
    /// What is sent, to the letter.
    pub body: String,
    pub state: DeliveryState,
    pub queued_at: Timestamp,
    pub attempts: u32,
    /// When it is tried next, unless the receiver is away.
    pub next_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub last: Option<AttemptMade>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptMade {
    pub at: Timestamp,
    pub took_ms: u32,
    pub status: Option<u16>,
    /// Why there was no answer.
    pub error: Option<String>,
}

/// Which deliveries to look for.
#[derive(Debug, Clone, Default)]
pub struct DeliverySearch {
    pub receiver: Option<String>,
    pub state: Option<DeliveryState>,
    pub before: Option<i64>,
    pub limit: u32,
}

/// The delivery log cannot be read now. Ask again.
#[derive(Debug, thiserror::Error)]
pub enum DeliveriesAway {
    #[error("the delivery log cannot be reached: {0}")]
    Unreachable(#[from] sqlx::Error),
    #[error(transparent)]
    Corrupt(#[from] ReadError),
}

/// Sent again in one go.
const ROWS_AT_ONCE: i64 = 5_000;

const DELIVERY: &str =
    "select d.*, a.at as last_at, a.took_ms as last_took_ms, a.status as last_status, a.error as last_error
     from webhook_deliveries d
     left join lateral (
         select at, took_ms, status, error from webhook_attempts where number = d.number order by attempt desc limit 1
     ) a on true ";

impl Deliveries {
    /// Takes the names of an account and its keys out of all messages about it: its personal data was erased.
    pub async fn forget_names(&self, account: AccountId) -> Result<(), DeliveriesAway> {
        sqlx::query(
            "update webhook_deliveries
             set body = jsonb_set(jsonb_set(jsonb_set(body::jsonb, '{data,name}', to_jsonb($2::text), false),
                 '{data,external_ref}', 'null', false), '{data,key,name}', to_jsonb($2::text), false)::text
             where account_id = $1",
        )
        .bind(Uuid::from_bytes(account.to_bytes()))
        .bind(ERASED)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Through a pool of the service's role.
    pub fn new(pool: PgPool) -> Deliveries {
        Deliveries { pool }
    }

    /// All receivers, by name.
    pub async fn receivers(&self) -> Result<Vec<Receiver>, DeliveriesAway> {
        let rows = sqlx::query(
            "select r.*, (select count(*) from webhook_deliveries d where d.receiver = r.receiver and d.state = 'waiting')
                 as waiting
             from webhook_receivers r order by receiver",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(receiver).collect()
    }

    /// Whether a config file has named it.
    pub async fn knows(&self, receiver: &str) -> Result<bool, DeliveriesAway> {
        let known = sqlx::query_scalar("select exists (select from webhook_receivers where receiver = $1)")
            .bind(receiver)
            .fetch_one(&self.pool)
            .await?;
        Ok(known)
    }

    /// One more delivery than the limit, the newest first.
    pub async fn list(&self, search: &DeliverySearch) -> Result<Vec<Delivery>, DeliveriesAway> {
        // Only what is asked for stands there, and states as they are: each has an index of its own.
        let receiver = search
            .receiver
            .as_ref()
            .map_or("$1::text is null", |_| "d.receiver = $1");
        let state = match search.state {
            None => "",
            Some(DeliveryState::Waiting) => "and d.state = 'waiting'",
            Some(DeliveryState::Delivered) => "and d.state = 'delivered'",
            Some(DeliveryState::GivenUp) => "and d.state = 'given-up'",
        };
        let statement = format!(
            "{DELIVERY} where {receiver} {state} and d.number < coalesce($2, 9223372036854775807)
             order by d.number desc limit $3"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(&search.receiver)
            .bind(search.before)
            .bind(i64::from(search.limit) + 1)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(delivery).collect()
    }

    /// One delivery and its attempts, the first one first. `None`: there is none.
    pub async fn one(
        &self,
        receiver: &str,
        message: &str,
    ) -> Result<Option<(Delivery, Vec<AttemptMade>)>, DeliveriesAway> {
        let statement = format!("{DELIVERY} where d.receiver = $1 and d.message = $2");
        let row = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(receiver)
            .bind(message)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let found = delivery(&row)?;
        let attempts = sqlx::query(
            "select at as last_at, took_ms as last_took_ms, status as last_status, error as last_error
             from webhook_attempts where number = $1 order by attempt limit 1000",
        )
        .bind(found.number)
        .fetch_all(&self.pool)
        .await?;
        let attempts: Result<Vec<_>, DeliveriesAway> = attempts.iter().map(attempt).collect();
        Ok(Some((found, attempts?.into_iter().flatten().collect())))
    }

    /// Sends one again, with the same id and body; one that waits already is tried at once. Asked again for the same moment,
    /// it does nothing more. `false`: there is none.
    pub async fn replay(&self, receiver: &str, message: &str, at: Timestamp) -> Result<bool, DeliveriesAway> {
        let known = sqlx::query_scalar(
            "with again as (
                 update webhook_deliveries set state = 'waiting', queued_at = $3, next_at = $3, ended_at = null
                 where receiver = $1 and message = $2 and queued_at <> $3
             )
             select exists (select from webhook_deliveries where receiver = $1 and message = $2)",
        )
        .bind(receiver)
        .bind(message)
        .bind(time_column(at))
        .fetch_one(&self.pool)
        .await?;
        Ok(known)
    }

    /// Sends all again that were queued in a span of time. Asked again for the same moment, it does nothing more. Answers how
    /// many there were; `None`: no such receiver.
    pub async fn replay_between(
        &self,
        receiver: &str,
        (from, to): (Timestamp, Timestamp),
        at: Timestamp,
    ) -> Result<Option<u64>, DeliveriesAway> {
        if !self.knows(receiver).await? {
            return Ok(None);
        }
        // Piece by piece, so that none takes long. Whoever repeats it goes on where it was left.
        loop {
            let done = sqlx::query(
                "update webhook_deliveries set state = 'waiting', queued_at = $4, next_at = $4, ended_at = null
                 where number in (
                     select number from webhook_deliveries
                     where receiver = $1 and queued_at >= $2 and queued_at < $3 and queued_at <> $4 limit $5)",
            )
            .bind(receiver)
            .bind(time_column(from))
            .bind(time_column(to))
            .bind(time_column(at))
            .bind(ROWS_AT_ONCE)
            .execute(&self.pool)
            .await?;
            if i64::try_from(done.rows_affected()) != Ok(ROWS_AT_ONCE) {
                break;
            }
        }
        let again: i64 =
            sqlx::query_scalar("select count(*) from webhook_deliveries where receiver = $1 and queued_at = $2")
                .bind(receiver)
                .bind(time_column(at))
                .fetch_one(&self.pool)
                .await?;
        Ok(Some(again.unsigned_abs()))
    }
}

/// A URL as it is shown: what it asks may hold what nobody else should know.
fn without_query(url: &str) -> String {
    match url.split_once('?') {
        Some((plain, _)) => format!("{plain}?…"),
        None => url.to_owned(),
    }
}

fn receiver(row: &PgRow) -> Result<Receiver, DeliveriesAway> {
    Ok(Receiver {
        name: row.try_get("receiver")?,
        url: without_query(row.try_get("url")?),
        kinds: row.try_get("kinds")?,
        waiting: row.try_get::<i64, _>("waiting")?.unsigned_abs(),
        failing_since: time_or_none(row, "failing_since")?,
        failures: row.try_get::<i32, _>("failures")?.unsigned_abs(),
        retry_at: time_or_none(row, "retry_at")?,
    })
}

fn delivery(row: &PgRow) -> Result<Delivery, DeliveriesAway> {
    let state = DeliveryState::parse(row.try_get("state")?).ok_or(ReadError::Corrupt {
        what: "a delivery in no state that there is",
    })?;
    Ok(Delivery {
        number: row.try_get("number")?,
        receiver: row.try_get("receiver")?,
        message: row.try_get("message")?,
        kind: row.try_get("kind")?,
        account: AccountId::from_bytes(row.try_get::<Uuid, _>("account_id")?.into_bytes()),
        body: row.try_get("body")?,
        state,
        queued_at: timestamp(row.try_get("queued_at")?)?,
        attempts: row.try_get::<i32, _>("attempts")?.unsigned_abs(),
        next_at: time_or_none(row, "next_at")?.filter(|_| state == DeliveryState::Waiting),
        ended_at: time_or_none(row, "ended_at")?,
        last: attempt(row)?,
    })
}

fn attempt(row: &PgRow) -> Result<Option<AttemptMade>, DeliveriesAway> {
    let Some(at) = time_or_none(row, "last_at")? else {
        return Ok(None);
    };
    Ok(Some(AttemptMade {
        at,
        took_ms: row.try_get::<i32, _>("last_took_ms")?.unsigned_abs(),
        status: row.try_get::<Option<i16>, _>("last_status")?.map(i16::unsigned_abs),
        error: row.try_get("last_error")?,
    }))
}

fn time_or_none(row: &PgRow, column: &str) -> Result<Option<Timestamp>, DeliveriesAway> {
    let moment: Option<time::OffsetDateTime> = row.try_get(column)?;
    Ok(moment.map(timestamp).transpose()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_address_asks_is_not_shown() {
        assert_eq!(without_query("https://a/hooks"), "https://a/hooks");
        assert_eq!(without_query("https://a/hooks?token=secret"), "https://a/hooks?…");
    }
}
