//! What the sweeper looks for.

use keyledger_events::{AccountId, Timestamp};

use super::{Columns as _, ViewError, Views, time_column, uuid_of};

impl Views {
    /// At most `limit` accounts with a hold, a grant or a rotated key whose end has come by `now`, or a grant or a plan's
    /// period that has to begin. Not those of `except`: what is due for them would hide the others'.
    pub async fn due_accounts(
        &self,
        now: Timestamp,
        limit: u32,
        except: &[AccountId],
    ) -> Result<Vec<AccountId>, ViewError> {
        let rows = sqlx::query(
            "select distinct account_id from (
                 (select account_id from views.reservations
                  where expires_at <= $1 and account_id <> all($3)
                  order by expires_at limit $2)
                 union all
                 (select account_id from views.grants
                  where remaining > 0 and expires_at is not null and expires_at <= $1 and account_id <> all($3)
                  order by expires_at limit $2)
                 union all
                 (select account_id from views.key_list
                  where stops_at is not null and deleted_at is null and stops_at <= $1 and account_id <> all($3)
                  order by stops_at limit $2)
                 union all
                 (select account_id from views.grants
                  where not started and starts_at <= $1 and account_id <> all($3) order by starts_at limit $2)
                 union all
                 (select account_id from views.plans
                  where next_at <= $1 and account_id <> all($3) order by next_at limit $2)
            ) due limit $2",
        )
        .bind(time_column(now))
        .bind(i64::from(limit))
        .bind(
            except
                .iter()
                .map(|account| uuid_of(account.to_bytes()))
                .collect::<Vec<_>>(),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| row.account("account_id")).collect()
    }
}
