//! Keys that work no more and were refused of late: somebody may still have them.

use keyledger_events::{AccountId, Timestamp};

use super::keys::key;
use super::{Key, ViewError, Views, time_column, uuid_of};

impl Views {
    /// An account's keys that are deleted or over at `now` and were refused on the day of `since` or later, the last tried
    /// first. Looks at the account's own keys only.
    pub async fn dead_keys_tried(
        &self,
        account: AccountId,
        now: Timestamp,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<Key>, ViewError> {
        let rows = sqlx::query(
            "select * from views.key_list
             where account_id = $1 and denied_day >= $2
               and (deleted_at is not null or stops_at <= $3 or expires_at <= $3)
             order by denied_day desc, key_id desc limit $4",
        )
        .bind(uuid_of(account.to_bytes()))
        .bind(time_column(since.start_of_day()))
        .bind(time_column(now))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(key).collect()
    }
}
