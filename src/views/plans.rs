//! Credits that come again and again.

use keyledger_events::{AccountId, Credits, PlanId, Timestamp};
use sqlx::postgres::PgRow;

use super::{Columns as _, ListOf, ViewError, Views, list, uuid_of};

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub id: PlanId,
    pub account: AccountId,
    pub amount: Credits,
    /// `day`, `week`, `month`.
    pub period: String,
    pub rollover_cap: Credits,
    pub starts_at: Timestamp,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// Periods that were granted for.
    pub periods: u64,
    /// When the next begins; `None` when the plan has ended.
    pub next_at: Option<Timestamp>,
}

fn plan(row: &PgRow) -> Result<Plan, ViewError> {
    Ok(Plan {
        id: row.plan("plan_id")?,
        account: row.account("account_id")?,
        amount: row.credits("amount")?,
        period: row.text("period")?,
        rollover_cap: row.credits("rollover_cap")?,
        starts_at: row.time("starts_at")?,
        started_at: row.time("started_at")?,
        ended_at: row.time_or_none("ended_at")?,
        periods: row.count("periods")?,
        next_at: row.time_or_none("next_at")?,
    })
}

impl Views {
    /// An account's plans, the newest first, those that have ended among them.
    pub async fn plans(&self, account: AccountId, limit: u32, after: Option<PlanId>) -> ListOf<Plan, PlanId> {
        let rows = sqlx::query(
            "select c.position as at, exists (select from views.balance where account_id = $2) as known, p.*
             from views.checkpoints c
             left join lateral (
                 select * from views.plans where account_id = $2 and ($3::uuid is null or plan_id < $3)
                 order by plan_id desc limit $4
             ) p on true
             where c.projection = 'balance' and c.shard = $1
             order by p.plan_id desc",
        )
        .bind(self.shard_column())
        .bind(uuid_of(account.to_bytes()))
        .bind(after.map(|id| uuid_of(id.to_bytes())))
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.pool)
        .await?;
        list(&rows, "plan_id", limit, plan, |plan| plan.id)
    }

    /// An account's plans that go on, the next to give first. The rules have no more than 20.
    pub async fn running_plans(&self, account: AccountId) -> Result<Vec<Plan>, ViewError> {
        let rows = sqlx::query(
            "select * from views.plans where account_id = $1 and next_at is not null order by next_at, plan_id limit 20",
        )
        .bind(uuid_of(account.to_bytes()))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(plan).collect()
    }
}
