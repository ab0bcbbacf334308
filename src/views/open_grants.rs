//! Grants that something is left of.

use keyledger_events::{AccountId, Timestamp};

use super::grants::grant;
use super::{Grant, ViewError, Views, time_column, uuid_of};

impl Views {
    /// An account's grants that something is left of or held from at `now`: the next to expire first, and those that
    /// never do last. At most `limit`.
    pub async fn open_grants(&self, account: AccountId, now: Timestamp, limit: u32) -> Result<Vec<Grant>, ViewError> {
        let rows = sqlx::query(
            "select * from views.grants
             where account_id = $1 and (remaining > 0 or held > 0) and (expires_at is null or expires_at > $2)
             order by expires_at nulls last, priority, grant_id limit $3",
        )
        .bind(uuid_of(account.to_bytes()))
        .bind(time_column(now))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(grant).collect()
    }
}
