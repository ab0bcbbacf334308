//! The key list.

use keyledger_events::{AccountId, CallRate, KeyId, Scopes, SpendingLimit, SpendingPeriod, Timestamp};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::{At, Columns as _, ViewError, Views, uuid_of};

/// A key as its customer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub id: KeyId,
    pub account: AccountId,
    pub name: String,
    pub preview: String,
    pub environment: String,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
    pub delete_reason: Option<String>,
    pub replaces: Option<KeyId>,
    /// Who takes its place, and when it stops or has stopped.
    pub rotated: Option<(KeyId, Timestamp)>,
    /// The endpoints that the key is for. `None`: all of them.
    pub scopes: Option<Scopes>,
    /// How often the key may call. `None`: as often as any.
    pub rate_limit: Option<CallRate>,
    /// What the key may spend. `None`: all there is.
    pub spending_limit: Option<SpendingLimit>,
    /// When the key was last let through to fetch data.
    pub last_used_at: Option<Timestamp>,
    pub uses: u64,
    /// The last day, UTC, on which uses were refused, and how many on it.
    pub denied: Option<(Timestamp, u64)>,
}

/// Whether a key is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    Active,
    Expired,
    Deleted,
}

impl KeyState {
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyState::Active => "active",
            KeyState::Expired => "expired",
            KeyState::Deleted => "deleted",
        }
    }
}

impl Key {
    /// How many uses were refused on the day of a moment, UTC.
    pub fn denied_on(&self, now: Timestamp) -> u64 {
        let today = self.denied.filter(|(day, _)| *day == now.start_of_day());
        today.map_or(0, |(_, count)| count)
    }

    /// The key's state at a moment.
    pub fn state(&self, now: Timestamp) -> KeyState {
        let stopped = self.rotated.is_some_and(|(_, end)| end <= now);
        if self.deleted_at.is_some() || stopped {
            KeyState::Deleted
        } else if self.expires_at.is_some_and(|end| end <= now) {
            KeyState::Expired
        } else {
            KeyState::Active
        }
    }
}

pub(super) fn key(row: &PgRow) -> Result<Key, ViewError> {
    Ok(Key {
        id: row.key("key_id")?,
        account: row.account("account_id")?,
        name: row.text("name")?,
        preview: row.text("preview")?,
        environment: row.text("environment")?,
        created_at: row.time("created_at")?,
        created_by: row.text("created_by")?,
        expires_at: row.time_or_none("expires_at")?,
        deleted_at: row.time_or_none("deleted_at")?,
        delete_reason: row.text_or_none("delete_reason")?,
        replaces: row.key_or_none("replaces")?,
        rotated: row.key_or_none("successor")?.zip(row.time_or_none("stops_at")?),
        scopes: scopes(row, "scopes")?,
        rate_limit: rate_limit(row)?,
        spending_limit: spending_limit(row)?,
        last_used_at: row.time_or_none("last_used_at")?,
        uses: row.count("uses")?,
        denied: denied(row)?,
    })
}

fn denied(row: &PgRow) -> Result<Option<(Timestamp, u64)>, ViewError> {
    match row.time_or_none("denied_day")? {
        Some(day) => Ok(Some((day, row.count("denied_count")?))),
        None => Ok(None),
    }
}

pub(super) fn scopes(row: &PgRow, column: &str) -> Result<Option<Scopes>, ViewError> {
    let names: Option<Vec<String>> = row.try_get(column)?;
    let scopes = names.map(Scopes::try_from).transpose();
    scopes.map_err(|_| ViewError::Corrupt {
        what: "scopes that are none",
    })
}

fn rate_limit(row: &PgRow) -> Result<Option<CallRate>, ViewError> {
    let per_second: Option<i32> = row.try_get("rate_per_second")?;
    let burst: Option<i32> = row.try_get("rate_burst")?;
    let Some((per_second, burst)) = per_second.zip(burst) else {
        return Ok(None);
    };
    let count = |count: i32| u64::from(count.unsigned_abs());
    let rate = CallRate::new(count(per_second), count(burst));
    rate.map(Some).map_err(|_| ViewError::Corrupt {
        what: "a rate that is none",
    })
}

fn spending_limit(row: &PgRow) -> Result<Option<SpendingLimit>, ViewError> {
    let Some(per) = row.text_or_none("spending_per")? else {
        return Ok(None);
    };
    let per = SpendingPeriod::parse(&per).ok_or(ViewError::Corrupt {
        what: "a period that is none",
    })?;
    let amount = row.credits("spending_amount")?;
    Ok(Some(SpendingLimit { amount, per }))
}

impl Views {
    /// One key of an account, if there is one.
    pub async fn key(&self, account: AccountId, id: KeyId) -> Result<At<Option<Key>>, ViewError> {
        let row = sqlx::query(
            "select c.position as at, k.*
             from views.checkpoints c left join views.key_list k on k.account_id = $2 and k.key_id = $3
             where c.projection = 'key_list' and c.shard = $1",
        )
        .bind(self.shard_column())
        .bind(uuid_of(account.to_bytes()))
        .bind(uuid_of(id.to_bytes()))
        .fetch_one(&self.pool)
        .await?;
        let value = if row.has("key_id")? { Some(key(&row)?) } else { None };
        Ok(At {
            position: row.position("at")?,
            value,
        })
    }
}
