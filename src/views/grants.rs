//! Grants, with what is left of them.

use keyledger_events::{AccountId, Credits, GrantId, Scopes, Timestamp};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::keys::scopes;
use super::{Columns as _, ListOf, ViewError, Views, list, uuid_of};

/// A grant and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub id: GrantId,
    pub account: AccountId,
    pub amount: Credits,
    pub priority: i32,
    pub expires_at: Option<Timestamp>,
    pub source: String,
    pub reference: Option<String>,
    pub granted_at: Timestamp,
    /// When it takes effect, where that is later than when it was given.
    pub starts_at: Option<Timestamp>,
    pub started: bool,
    /// The endpoints that it burns on; `None`: all.
    pub endpoints: Option<Scopes>,
    pub remaining: Credits,
    pub held: Credits,
    pub expired: Credits,
}

pub(super) fn grant(row: &PgRow) -> Result<Grant, ViewError> {
    Ok(Grant {
        id: row.grant("grant_id")?,
        account: row.account("account_id")?,
        amount: row.credits("amount")?,
        priority: row.try_get("priority")?,
        expires_at: row.time_or_none("expires_at")?,
        source: row.text("source")?,
        reference: row.text_or_none("reference")?,
        granted_at: row.time("granted_at")?,
        starts_at: row.time_or_none("starts_at")?,
        started: row.try_get("started")?,
        endpoints: scopes(row, "endpoints")?,
        remaining: row.credits("remaining")?,
        held: row.credits("held")?,
        expired: row.credits("expired")?,
    })
}

impl Views {
    /// An account's grants, newest first.
    pub async fn grants(&self, account: AccountId, limit: u32, after: Option<GrantId>) -> ListOf<Grant, GrantId> {
        let rows = sqlx::query(
            "select c.position as at, exists (select from views.balance where account_id = $2) as known, g.*
             from views.checkpoints c
             left join lateral (
                 select * from views.grants where account_id = $2 and ($3::uuid is null or grant_id < $3)
                 order by grant_id desc limit $4
             ) g on true
             where c.projection = 'balance' and c.shard = $1
             order by g.grant_id desc",
        )
        .bind(self.shard_column())
        .bind(uuid_of(account.to_bytes()))
        .bind(after.map(|id| uuid_of(id.to_bytes())))
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.pool)
        .await?;
        list(&rows, "grant_id", limit, grant, |grant| grant.id)
    }
}
