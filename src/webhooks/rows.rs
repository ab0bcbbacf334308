//! What the views say, made into messages.

use keyledger_events::{AccountId, Credits, EventId, KeyId, Timestamp};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::Kind;
use super::message::{Message, Said, Told, ToldAccount, ToldKey, body};
use crate::log::timestamp;

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
pub(super) fn message(row: &PgRow) -> Result<Option<Message>, sqlx::Error> {
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

pub(super) fn stale_message(row: &PgRow, now: Timestamp) -> Result<Message, sqlx::Error> {
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

pub(super) fn time_of(row: &PgRow, column: &str) -> Result<Timestamp, sqlx::Error> {
    timestamp(row.try_get(column)?).map_err(|error| sqlx::Error::Decode(error.into()))
}

pub(super) fn count(row: &PgRow, column: &str) -> Result<u32, sqlx::Error> {
    Ok(row.try_get::<i32, _>(column)?.unsigned_abs())
}
