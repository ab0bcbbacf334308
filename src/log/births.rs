//! How grants came into the world.

use keyledger_events::{AccountId, GrantId, Seq};
use uuid::Uuid;

use super::archived::{has, with_archived};
use super::{Log, ReadError, Stored, in_time};

const GIVING: [&str; 2] = ["keyledger.CreditsGranted.v1", "keyledger.CreditsRefunded.v1"];
/// Archived events that are looked at, at once.
const LOOKED_AT_ONCE: usize = 1_000;

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
        let (archived, mut births) = in_time(async {
            let rows = sqlx::query(
                "(select e.position, e.body from events e
                  where e.shard = $1 and e.account_id = $2
                    and e.type in ('keyledger.CreditsGranted.v1', 'keyledger.CreditsRefunded.v1')
                    and exists (select from unnest($3::text[]) as mark where position(convert_to(mark, 'UTF8') in e.body) > 0))
                 union all
                 (select last_seq, null from archive_accounts
                  where shard = $1 and account_id = $2 order by number desc limit 1)",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(&marks)
            .fetch_all(&self.pool)
            .await?;
            with_archived(&rows)
        })
        .await?;
        let mut after = Seq::START;
        while after.0 < archived && births.len() < grants.len() {
            let page = self
                .archived_of_account(account, after, Seq(archived), Some(&GIVING), LOOKED_AT_ONCE)
                .await?;
            let last = page.last().map(Stored::decode).transpose();
            let last = last.map_err(|_| ReadError::Corrupt {
                what: "an event that cannot be read",
            })?;
            after = last.map_or(Seq(archived), |last| last.seq);
            let is_birth = |stored: &Stored| marks.iter().any(|mark| has(&stored.body, mark.as_bytes()));
            births.extend(page.into_iter().filter(is_birth));
        }
        Ok(births)
    }
}
