//! People whose account's personal data was erased.

use keyledger_events::AccountId;
use uuid::Uuid;

use super::{Sessions, SessionsAway};

impl Sessions {
    /// Forgets what the people of an account are called, and where they came from. Their stays go on.
    pub async fn forget_people(&self, account: AccountId) -> Result<(), SessionsAway> {
        sqlx::query("update portal_sessions set name = null, return_url = null where account_id = $1")
            .bind(Uuid::from_bytes(account.to_bytes()))
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
