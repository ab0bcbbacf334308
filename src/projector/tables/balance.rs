//! `views.balance`, `views.grants` and `views.plans`.

use keyledger_events::{AccountId, GrantId};
use keyledger_projections::{AccountChange, AccountRow, AccountTraits, BalanceChanges, GrantChange, GrantRow};
use sqlx::PgConnection;
use uuid::Uuid;

use super::key_list::joined;
use super::{Generation, Named, Table, WriteError, all_met, plans};
use crate::log::time_column;
use crate::projector::View;

pub(in crate::projector) struct Balance;

impl Table for Balance {
    type Changes = BalanceChanges;
    const VIEW: View = View::Balance;
    const TABLES: &'static [Named] = &[
        Named {
            table: "balance",
            key: "account_id",
            keyed_late: false,
        },
        Named {
            table: "grants",
            key: "account_id, grant_id",
            keyed_late: false,
        },
        Named {
            table: "plans",
            key: "account_id, plan_id",
            keyed_late: false,
        },
    ];

    async fn write(
        connection: &mut PgConnection,
        generation: Generation,
        changes: BalanceChanges,
    ) -> Result<(), WriteError> {
        insert_accounts(
            connection,
            generation,
            &changes.opened.into_values().collect::<Vec<_>>(),
        )
        .await?;
        change_accounts(
            connection,
            generation,
            &changes.accounts.into_iter().collect::<Vec<_>>(),
        )
        .await?;
        change_traits(connection, generation, &changes.traits.into_iter().collect::<Vec<_>>()).await?;
        insert_grants(
            connection,
            generation,
            &changes.granted.into_values().collect::<Vec<_>>(),
        )
        .await?;
        change_grants(connection, generation, &changes.grants.into_iter().collect::<Vec<_>>()).await?;
        plans::insert(
            connection,
            generation,
            &changes.planned.into_values().collect::<Vec<_>>(),
        )
        .await?;
        plans::change(connection, generation, &changes.plans.into_iter().collect::<Vec<_>>()).await
    }
}

async fn insert_accounts(
    connection: &mut PgConnection,
    generation: Generation,
    rows: &[AccountRow],
) -> Result<(), WriteError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(generation.sql("insert into views.balance (account_id, name, external_ref, opened_at, credit_limit, granted, charged, refunded, expired, reserved, closed_at, corrected,
             thresholds)
         select o.account_id, o.name, o.external_ref, o.opened_at, o.credit_limit, o.granted, o.charged, o.refunded, o.expired,
             o.reserved, o.closed_at, o.corrected, string_to_array(o.thresholds, ',')::bigint[]
         from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[], $6::bigint[],
             $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::timestamptz[], $12::bigint[], $13::text[])
             as o (account_id, name, external_ref, opened_at, credit_limit, granted, charged, refunded, expired, reserved, closed_at,
                 corrected, thresholds)"))
    .bind(rows.iter().map(|r| Uuid::from_bytes(r.account.to_bytes())).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.name.as_str().to_owned()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.external_ref.clone()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| time_column(r.opened_at)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.credit_limit).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.sums.granted).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.sums.charged).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.sums.refunded).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.sums.expired).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.sums.reserved).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.closed_at.map(time_column)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.sums.corrected).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| listed(&r.thresholds)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn change_accounts(
    connection: &mut PgConnection,
    generation: Generation,
    changes: &[(AccountId, AccountChange)],
) -> Result<(), WriteError> {
    if changes.is_empty() {
        return Ok(());
    }
    let met = sqlx::query(generation.sql(
        "update views.balance b
         set granted = b.granted + c.granted, charged = b.charged + c.charged, refunded = b.refunded + c.refunded,
             expired = b.expired + c.expired, reserved = b.reserved + c.reserved,
             corrected = b.corrected + c.corrected
         from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
             $7::bigint[]) as c (account_id, granted, charged, refunded, expired, reserved, corrected)
         where b.account_id = c.account_id",
    ))
    .bind(
        changes
            .iter()
            .map(|(id, _)| Uuid::from_bytes(id.to_bytes()))
            .collect::<Vec<_>>(),
    )
    .bind(changes.iter().map(|(_, c)| c.granted).collect::<Vec<_>>())
    .bind(changes.iter().map(|(_, c)| c.charged).collect::<Vec<_>>())
    .bind(changes.iter().map(|(_, c)| c.refunded).collect::<Vec<_>>())
    .bind(changes.iter().map(|(_, c)| c.expired).collect::<Vec<_>>())
    .bind(changes.iter().map(|(_, c)| c.reserved).collect::<Vec<_>>())
    .bind(changes.iter().map(|(_, c)| c.corrected).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    all_met(met.rows_affected(), changes.len(), "accounts")
}

async fn change_traits(
    connection: &mut PgConnection,
    generation: Generation,
    changes: &[(AccountId, AccountTraits)],
) -> Result<(), WriteError> {
    if changes.is_empty() {
        return Ok(());
    }
    let met = sqlx::query(generation.sql(
        "update views.balance b
         set name = coalesce(c.name, b.name), credit_limit = coalesce(c.credit_limit, b.credit_limit),
             closed_at = coalesce(b.closed_at, c.closed_at),
             thresholds = coalesce(string_to_array(c.thresholds, ',')::bigint[], b.thresholds),
             external_ref = case when c.refers then c.external_ref else b.external_ref end
         from unnest($1::uuid[], $2::text[], $3::boolean[], $4::text[], $5::bigint[], $6::timestamptz[], $7::text[])
             as c (account_id, name, refers, external_ref, credit_limit, closed_at, thresholds)
         where b.account_id = c.account_id",
    ))
    .bind(
        changes
            .iter()
            .map(|(id, _)| Uuid::from_bytes(id.to_bytes()))
            .collect::<Vec<_>>(),
    )
    .bind(
        changes
            .iter()
            .map(|(_, c)| c.name.as_ref().map(|name| name.as_str().to_owned()))
            .collect::<Vec<_>>(),
    )
    .bind(
        changes
            .iter()
            .map(|(_, c)| c.external_ref.is_some())
            .collect::<Vec<_>>(),
    )
    .bind(
        changes
            .iter()
            .map(|(_, c)| c.external_ref.clone().flatten())
            .collect::<Vec<_>>(),
    )
    .bind(changes.iter().map(|(_, c)| c.credit_limit).collect::<Vec<_>>())
    .bind(
        changes
            .iter()
            .map(|(_, c)| c.closed_at.map(time_column))
            .collect::<Vec<_>>(),
    )
    .bind(
        changes
            .iter()
            .map(|(_, c)| c.thresholds.as_deref().map(listed))
            .collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    all_met(met.rows_affected(), changes.len(), "accounts")
}

async fn insert_grants(
    connection: &mut PgConnection,
    generation: Generation,
    rows: &[GrantRow],
) -> Result<(), WriteError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(generation.sql("insert into views.grants (account_id, grant_id, amount, priority, expires_at, source, reference, granted_at, remaining, held, expired, starts_at, started, endpoints)
         select g.account_id, g.grant_id, g.amount, g.priority, g.expires_at, g.source, g.reference, g.granted_at, g.remaining, g.held,
             g.expired, g.starts_at, g.started, string_to_array(g.endpoints, ',') from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::integer[], $5::timestamptz[], $6::text[],
             $7::text[], $8::timestamptz[], $9::bigint[], $10::bigint[], $11::bigint[], $12::timestamptz[],
             $13::boolean[], $14::text[]) as g (account_id, grant_id, amount, priority, expires_at, source, reference, granted_at, remaining,
                 held, expired, starts_at, started, endpoints)"))
    .bind(rows.iter().map(|r| Uuid::from_bytes(r.account.to_bytes())).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| Uuid::from_bytes(r.grant.to_bytes())).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.amount).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.priority).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.expires_at.map(time_column)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.source.as_str().to_owned()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.reference.clone()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| time_column(r.granted_at)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.sums.remaining).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.sums.held).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.sums.expired).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.starts_at.map(time_column)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.sums.started).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.endpoints.as_ref().map(joined)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn change_grants(
    connection: &mut PgConnection,
    generation: Generation,
    changes: &[((AccountId, GrantId), GrantChange)],
) -> Result<(), WriteError> {
    if changes.is_empty() {
        return Ok(());
    }
    let met = sqlx::query(generation.sql(
        "update views.grants g
         set remaining = g.remaining + c.remaining, held = g.held + c.held, expired = g.expired + c.expired,
             started = g.started or c.started
         from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::boolean[])
             as c (account_id, grant_id, remaining, held, expired, started)
         where g.account_id = c.account_id and g.grant_id = c.grant_id",
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
            .map(|((_, grant), _)| Uuid::from_bytes(grant.to_bytes()))
            .collect::<Vec<_>>(),
    )
    .bind(changes.iter().map(|(_, c)| c.remaining).collect::<Vec<_>>())
    .bind(changes.iter().map(|(_, c)| c.held).collect::<Vec<_>>())
    .bind(changes.iter().map(|(_, c)| c.expired).collect::<Vec<_>>())
    .bind(changes.iter().map(|(_, c)| c.started).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    all_met(met.rows_affected(), changes.len(), "grants")
}

/// Lists of different lengths cannot be one array of arrays.
fn listed(amounts: &[i64]) -> String {
    let texts: Vec<String> = amounts.iter().map(i64::to_string).collect();
    texts.join(",")
}
