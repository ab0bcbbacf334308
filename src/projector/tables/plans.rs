//! `views.plans`, which belongs to the balance.

use keyledger_events::{AccountId, PlanId};
use keyledger_projections::{PlanChange, PlanRow};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Generation, WriteError, all_met};
use crate::log::time_column;

pub(super) async fn insert(
    connection: &mut PgConnection,
    generation: Generation,
    rows: &[PlanRow],
) -> Result<(), WriteError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(generation.sql(
        "insert into views.plans (account_id, plan_id, amount, period, rollover_cap, starts_at, started_at, ended_at, periods,
             next_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::bigint[], $6::timestamptz[],
             $7::timestamptz[], $8::timestamptz[], $9::bigint[], $10::timestamptz[])",
    ))
    .bind(rows.iter().map(|r| Uuid::from_bytes(r.account.to_bytes())).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| Uuid::from_bytes(r.plan.to_bytes())).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.amount).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.period.as_str().to_owned()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.rollover_cap).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| time_column(r.starts_at)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| time_column(r.started_at)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.ended_at.map(time_column)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.periods).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.next_at.map(time_column)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn change(
    connection: &mut PgConnection,
    generation: Generation,
    changes: &[((AccountId, PlanId), PlanChange)],
) -> Result<(), WriteError> {
    if changes.is_empty() {
        return Ok(());
    }
    let met = sqlx::query(generation.sql(
        "update views.plans p
         set periods = p.periods + c.periods, ended_at = coalesce(p.ended_at, c.ended_at),
             next_at = case when coalesce(p.ended_at, c.ended_at) is null then coalesce(c.next_at, p.next_at) end
         from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::timestamptz[])
             as c (account_id, plan_id, periods, next_at, ended_at)
         where p.account_id = c.account_id and p.plan_id = c.plan_id",
    ))
    .bind(
        changes
            .iter()
            .map(|((account, _), _)| Uuid::from_bytes(account.to_bytes()))
            .collect::<Vec<_>>(),
    )
    .bind(
        changes
            .iter()
            .map(|((_, plan), _)| Uuid::from_bytes(plan.to_bytes()))
            .collect::<Vec<_>>(),
    )
    .bind(changes.iter().map(|(_, c)| c.periods).collect::<Vec<_>>())
    .bind(
        changes
            .iter()
            .map(|(_, c)| c.next_at.map(time_column))
            .collect::<Vec<_>>(),
    )
    .bind(
        changes
            .iter()
            .map(|(_, c)| c.ended_at.map(time_column))
            .collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    all_met(met.rows_affected(), changes.len(), "plans")
}
