//! `views.key_list`.

use std::collections::{BTreeMap, BTreeSet};

use keyledger_events::{AccountId, ERASED, Endpoint, KeyId, Scopes};
use keyledger_projections::{KeyChange, KeyListChanges, KeyRow};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Generation, Named, Table, WriteError, all_met};
use crate::log::time_column;
use crate::projector::View;

pub(in crate::projector) struct KeyList;

impl Table for KeyList {
    type Changes = KeyListChanges;
    const VIEW: View = View::KeyList;
    const TABLES: &'static [Named] = &[Named {
        table: "key_list",
        key: "account_id, key_id",
        keyed_late: false,
    }];

    async fn write(
        connection: &mut PgConnection,
        generation: Generation,
        changes: KeyListChanges,
    ) -> Result<(), WriteError> {
        let created: Vec<KeyRow> = changes.created.into_values().collect();
        insert(connection, generation, &created).await?;
        change(connection, generation, changes.changed).await?;
        erase(connection, generation, &changes.erased).await
    }
}

async fn change(
    connection: &mut PgConnection,
    generation: Generation,
    changed: BTreeMap<(AccountId, KeyId), KeyChange>,
) -> Result<(), WriteError> {
    let changed: Vec<_> = changed.into_iter().collect();
    let ids: Vec<_> = changed.iter().map(|(id, _)| *id).collect();
    let changes: Vec<KeyChange> = changed.into_iter().map(|(_, change)| change).collect();
    if changes.is_empty() {
        return Ok(());
    }
    let met = sqlx::query(generation.sql("update views.key_list k
             set name = coalesce(c.name, k.name),
                 deleted_at = coalesce(k.deleted_at, c.deleted_at),
                 delete_reason = coalesce(k.delete_reason, c.delete_reason),
                 successor = coalesce(k.successor, c.successor),
                 stops_at = coalesce(k.stops_at, c.stops_at),
                 last_used_at = greatest(k.last_used_at, c.last_used_at),
                 uses = k.uses + c.uses,
                 denied_day = coalesce(c.denied_day, k.denied_day),
                 denied_count = case
                     when c.denied_day is null then k.denied_count
                     when c.denied_day = k.denied_day then k.denied_count + c.denied_count
                     else c.denied_count end,
                 spending_amount = case when c.spending_changed then c.spending_amount else k.spending_amount end,
                 spending_per = case when c.spending_changed then c.spending_per else k.spending_per end
             from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::text[], $6::timestamptz[], $7::bigint[],
                     $8::uuid[], $9::timestamptz[], $10::timestamptz[], $11::bigint[],
                     $12::boolean[], $13::bigint[], $14::text[])
                 as c (account_id, key_id, name, deleted_at, delete_reason, last_used_at, uses, successor, stops_at, denied_day,
                     denied_count, spending_changed, spending_amount, spending_per)
             where k.account_id = c.account_id and k.key_id = c.key_id"))
        .bind(ids.iter().map(|(account, _)| Uuid::from_bytes(account.to_bytes())).collect::<Vec<_>>())
        .bind(ids.iter().map(|(_, key)| Uuid::from_bytes(key.to_bytes())).collect::<Vec<_>>())
        .bind(changes.iter().map(|c| c.name.as_ref().map(|name| name.as_str().to_owned())).collect::<Vec<_>>())
        .bind(changes.iter().map(|c| c.deleted.map(|(at, _)| time_column(at))).collect::<Vec<_>>())
        .bind(changes.iter().map(|c| c.deleted.map(|(_, why)| why.as_str().to_owned())).collect::<Vec<_>>())
        .bind(changes.iter().map(|c| c.last_used_at.map(time_column)).collect::<Vec<_>>())
        .bind(changes.iter().map(|c| c.uses).collect::<Vec<_>>())
        .bind(changes.iter().map(|c| c.rotated.map(|(key, _)| Uuid::from_bytes(key.to_bytes()))).collect::<Vec<_>>())
        .bind(changes.iter().map(|c| c.rotated.map(|(_, at)| time_column(at))).collect::<Vec<_>>())
        .bind(changes.iter().map(|c| c.denied.map(|denied| time_column(denied.day))).collect::<Vec<_>>())
        .bind(changes.iter().map(|c| c.denied.map(|denied| denied.count)).collect::<Vec<_>>())
        .bind(changes.iter().map(|c| c.spending_limit.is_some()).collect::<Vec<_>>())
        .bind(changes.iter().map(|c| c.spending_limit.flatten().map(|limit| limit.amount.micros())).collect::<Vec<_>>())
        .bind(changes.iter().map(|c| c.spending_limit.flatten().map(|limit| limit.per.as_str())).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    all_met(met.rows_affected(), changes.len(), "keys")
}

/// Takes the names of all keys of accounts away.
async fn erase(
    connection: &mut PgConnection,
    generation: Generation,
    accounts: &BTreeSet<AccountId>,
) -> Result<(), WriteError> {
    if accounts.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = accounts.iter().map(|id| Uuid::from_bytes(id.to_bytes())).collect();
    sqlx::query(generation.sql("update views.key_list set name = $2 where account_id = any($1::uuid[])"))
        .bind(ids)
        .bind(ERASED)
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert(connection: &mut PgConnection, generation: Generation, rows: &[KeyRow]) -> Result<(), WriteError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(generation.sql("insert into views.key_list (account_id, key_id, name, preview, environment, created_at, created_by, expires_at,
             deleted_at, delete_reason, replaces, last_used_at, uses, rate_per_second, rate_burst, scopes, successor, stops_at,
             denied_day, denied_count, spending_amount, spending_per)
         select account_id, key_id, name, preview, environment, created_at, created_by, expires_at,
             deleted_at, delete_reason, replaces, last_used_at, uses, rate_per_second, rate_burst, string_to_array(scopes, ','), successor, stops_at,
             denied_day, denied_count, spending_amount, spending_per
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[],
             $8::timestamptz[], $9::timestamptz[], $10::text[], $11::uuid[], $12::timestamptz[], $13::bigint[],
             $14::integer[], $15::integer[], $16::text[], $17::uuid[], $18::timestamptz[],
             $19::timestamptz[], $20::bigint[], $21::bigint[], $22::text[])
             as k (account_id, key_id, name, preview, environment, created_at, created_by, expires_at,
                 deleted_at, delete_reason, replaces, last_used_at, uses, rate_per_second, rate_burst, scopes, successor, stops_at,
                 denied_day, denied_count, spending_amount, spending_per)"))
    .bind(rows.iter().map(|r| Uuid::from_bytes(r.account.to_bytes())).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| Uuid::from_bytes(r.key.to_bytes())).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.name.as_str().to_owned()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.preview.clone()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.environment.as_str().to_owned()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| time_column(r.created_at)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.created_by.to_string()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.expires_at.map(time_column)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.deleted.map(|(at, _)| time_column(at))).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.deleted.map(|(_, why)| why.as_str().to_owned())).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.replaces.map(|key| Uuid::from_bytes(key.to_bytes()))).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.last_used_at.map(time_column)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.uses).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.rate_limit.map(|rate| count_column(rate.per_second()))).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.rate_limit.map(|rate| count_column(rate.burst()))).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.scopes.as_ref().map(joined)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.rotated.map(|(key, _)| Uuid::from_bytes(key.to_bytes()))).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.rotated.map(|(_, at)| time_column(at))).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.denied.map(|denied| time_column(denied.day))).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.denied.map(|denied| denied.count)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.spending_limit.map(|limit| limit.amount.micros())).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.spending_limit.map(|limit| limit.per.as_str())).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Far below what the column holds.
fn count_column(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Lists of different lengths cannot be one array of arrays; no endpoint's name has a comma.
pub(super) fn joined(scopes: &Scopes) -> String {
    let names: Vec<&str> = scopes.endpoints().iter().map(Endpoint::as_str).collect();
    names.join(",")
}
