//! How grants came into the world.

use keyledger_events::{AccountId, GrantId};
use uuid::Uuid;

use super::read::all_stored;
use super::{Log, ReadError, Stored, in_time};

impl Log {
    /// The events that gave these grants, or made them of a refund: one for each that this account has, in no order.
    pub async fn births_of_grants(&self, account: AccountId, grants: &[GrantId]) -> Result<Vec<Stored>, ReadError> {
        // Of the events that name a grant only the first has it in this place.
        let marks: Vec<String> = grants
            .iter()
            .flat_map(|grant| {
                [
                    format!("\"data\":{{\"grant\":\"{grant}\""),
                    format!("\"as_grant\":{{\"grant\":\"{grant}\""),
                ]
            })
            .collect();
        in_time(async {
            let rows = sqlx::query(
                "select e.position, e.body from events e
                 where e.shard = $1 and e.account_id = $2
                   and e.type in ('keyledger.CreditsGranted.v1', 'keyledger.CreditsRefunded.v1')
                   and exists (select from unnest($3::text[]) as mark where position(convert_to(mark, 'UTF8') in e.body) > 0)",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(&marks)
            .fetch_all(&self.pool)
            .await?;
            all_stored(&rows)
        })
        .await
    }
}
