//! What keys are called now, for pages that speak of them.

use keyledger_events::{AccountId, KeyId};

use super::{Columns as _, ViewError, Views, uuid_of};

impl Views {
    /// The names of these keys of an account, deleted ones too, in no order. One that it does not have is left out.
    pub async fn key_names(&self, account: AccountId, keys: &[KeyId]) -> Result<Vec<(KeyId, String)>, ViewError> {
        let rows =
            sqlx::query("select key_id, name from views.key_list where account_id = $1 and key_id = any($2::uuid[])")
                .bind(uuid_of(account.to_bytes()))
                .bind(keys.iter().map(|key| uuid_of(key.to_bytes())).collect::<Vec<_>>())
                .fetch_all(&self.pool)
                .await?;
        rows.iter()
            .map(|row| Ok((row.key("key_id")?, row.text("name")?)))
            .collect()
    }
}
