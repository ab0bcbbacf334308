//! `views.usage`, `views.usage_by_endpoint` and `views.key_networks`.

use std::collections::{BTreeMap, BTreeSet};

use keyledger_events::{AccountId, Endpoint, KeyId, Timestamp};
use keyledger_projections::{NETWORKS_A_KEY_MAX, Networks, UsageChanges, UsageId, UsageSums};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};
use uuid::Uuid;

use super::{Generation, Named, Table, WriteError};
use crate::log::time_column;
use crate::projector::View;

pub(in crate::projector) struct Usage;

impl Table for Usage {
    type Changes = UsageChanges;
    const VIEW: View = View::Usage;
    const TABLES: &'static [Named] = &[
        Named {
            table: "usage",
            key: "account_id, hour, caller_id, endpoint",
            keyed_late: false,
        },
        Named {
            table: "usage_by_endpoint",
            key: "account_id, hour, endpoint",
            keyed_late: false,
        },
        Named {
            table: "key_networks",
            key: "account_id, key_id, network",
            keyed_late: false,
        },
    ];

    async fn write(
        connection: &mut PgConnection,
        generation: Generation,
        changes: UsageChanges,
    ) -> Result<(), WriteError> {
        let by_endpoint = without_keys(&changes.used)?;
        add_usage(connection, generation, &changes.used.into_iter().collect::<Vec<_>>()).await?;
        add_by_endpoint(connection, generation, &by_endpoint.into_iter().collect::<Vec<_>>()).await?;
        note_networks(connection, generation, &changes.networks).await?;
        forget_networks(connection, generation, &changes.erased).await
    }
}

async fn forget_networks(
    connection: &mut PgConnection,
    generation: Generation,
    accounts: &BTreeSet<AccountId>,
) -> Result<(), WriteError> {
    if accounts.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = accounts.iter().map(|id| uuid(id.to_bytes())).collect();
    sqlx::query(generation.sql("delete from views.key_networks where account_id = any($1::uuid[])"))
        .bind(ids)
        .execute(connection)
        .await?;
    Ok(())
}

/// The same changes with the keys of an endpoint added up.
fn without_keys(
    used: &BTreeMap<UsageId, UsageSums>,
) -> Result<BTreeMap<(AccountId, Timestamp, Endpoint), UsageSums>, WriteError> {
    let mut all: BTreeMap<(AccountId, Timestamp, Endpoint), UsageSums> = BTreeMap::new();
    for (id, more) in used {
        let sums = all.entry((id.account, id.hour, id.endpoint.clone())).or_default();
        *sums = sums
            .plus(*more)
            .ok_or_else(|| WriteError::DoesNotFit("a sum leaves its bounds".to_owned()))?;
    }
    Ok(all)
}

fn uuid(bytes: [u8; 16]) -> Uuid {
    Uuid::from_bytes(bytes)
}

async fn add_usage(
    connection: &mut PgConnection,
    generation: Generation,
    rows: &[(UsageId, UsageSums)],
) -> Result<(), WriteError> {
    if rows.is_empty() {
        return Ok(());
    }
    let caller = |id: &UsageId| id.key.map_or(uuid(id.account.to_bytes()), |key| uuid(key.to_bytes()));
    let named = sqlx::query(generation.sql(
        "insert into views.usage as u (account_id, hour, caller_id, key_id, endpoint, uses, charges, quantity, charged, refunded,
             released_requested, released_queued, released_error, released_client_gone, released_expired,
             released_account_closed, test_uses)
         select * from unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[],
             $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[],
             $15::bigint[], $16::bigint[], $17::bigint[])
         on conflict (account_id, hour, caller_id, endpoint) do update
         set uses = u.uses + excluded.uses, test_uses = u.test_uses + excluded.test_uses, charges = u.charges + excluded.charges,
             quantity = u.quantity + excluded.quantity, charged = u.charged + excluded.charged,
             refunded = u.refunded + excluded.refunded,
             released_requested = u.released_requested + excluded.released_requested,
             released_queued = u.released_queued + excluded.released_queued,
             released_error = u.released_error + excluded.released_error,
             released_client_gone = u.released_client_gone + excluded.released_client_gone,
             released_expired = u.released_expired + excluded.released_expired,
             released_account_closed = u.released_account_closed + excluded.released_account_closed",
    ))
    .bind(rows.iter().map(|(id, _)| uuid(id.account.to_bytes())).collect::<Vec<_>>())
    .bind(rows.iter().map(|(id, _)| time_column(id.hour)).collect::<Vec<_>>())
    .bind(rows.iter().map(|(id, _)| caller(id)).collect::<Vec<_>>())
    .bind(rows.iter().map(|(id, _)| id.key.map(|key| uuid(key.to_bytes()))).collect::<Vec<_>>())
    .bind(rows.iter().map(|(id, _)| id.endpoint.as_str().to_owned()).collect::<Vec<_>>());
    with_sums(named, rows).execute(connection).await?;
    Ok(())
}

async fn add_by_endpoint(
    connection: &mut PgConnection,
    generation: Generation,
    rows: &[((AccountId, Timestamp, Endpoint), UsageSums)],
) -> Result<(), WriteError> {
    if rows.is_empty() {
        return Ok(());
    }
    let named = sqlx::query(generation.sql(
        "insert into views.usage_by_endpoint as u (account_id, hour, endpoint, uses, charges, quantity, charged, refunded,
             released_requested, released_queued, released_error, released_client_gone, released_expired,
             released_account_closed, test_uses)
         select * from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],
             $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[],
             $14::bigint[], $15::bigint[])
         on conflict (account_id, hour, endpoint) do update
         set uses = u.uses + excluded.uses, test_uses = u.test_uses + excluded.test_uses, charges = u.charges + excluded.charges,
             quantity = u.quantity + excluded.quantity, charged = u.charged + excluded.charged,
             refunded = u.refunded + excluded.refunded,
             released_requested = u.released_requested + excluded.released_requested,
             released_queued = u.released_queued + excluded.released_queued,
             released_error = u.released_error + excluded.released_error,
             released_client_gone = u.released_client_gone + excluded.released_client_gone,
             released_expired = u.released_expired + excluded.released_expired,
             released_account_closed = u.released_account_closed + excluded.released_account_closed",
    ))
    .bind(
        rows.iter()
            .map(|((account, _, _), _)| uuid(account.to_bytes()))
            .collect::<Vec<_>>(),
    )
    .bind(
        rows.iter()
            .map(|((_, hour, _), _)| time_column(*hour))
            .collect::<Vec<_>>(),
    )
    .bind(
        rows.iter()
            .map(|((_, _, endpoint), _)| endpoint.as_str().to_owned())
            .collect::<Vec<_>>(),
    );
    with_sums(named, rows).execute(connection).await?;
    Ok(())
}

/// A statement whose last parameters are the sums, in the order of the columns.
fn with_sums<'q, T>(
    named: Query<'q, Postgres, PgArguments>,
    rows: &[(T, UsageSums)],
) -> Query<'q, Postgres, PgArguments> {
    named
        .bind(rows.iter().map(|(_, s)| s.uses).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, s)| s.charges).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, s)| s.quantity).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, s)| s.charged).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, s)| s.refunded).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, s)| s.released.requested).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, s)| s.released.queued).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, s)| s.released.error).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, s)| s.released.client_gone).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, s)| s.released.expired).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, s)| s.released.account_closed).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, s)| s.test_uses).collect::<Vec<_>>())
}

/// Notes when a network was last used, and forgets all of a key's but the latest.
async fn note_networks(
    connection: &mut PgConnection,
    generation: Generation,
    keys: &BTreeMap<(AccountId, KeyId), Networks>,
) -> Result<(), WriteError> {
    if keys.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = keys
        .iter()
        .flat_map(|(id, networks)| networks.iter().map(move |(network, at)| (id, network, *at)))
        .collect();
    sqlx::query(generation.sql(
        "insert into views.key_networks as n (account_id, key_id, network, last_used_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[])
         on conflict (account_id, key_id, network) do update
         set last_used_at = greatest(n.last_used_at, excluded.last_used_at)",
    ))
    .bind(
        rows.iter()
            .map(|((account, _), _, _)| uuid(account.to_bytes()))
            .collect::<Vec<_>>(),
    )
    .bind(
        rows.iter()
            .map(|((_, key), _, _)| uuid(key.to_bytes()))
            .collect::<Vec<_>>(),
    )
    .bind(
        rows.iter()
            .map(|(_, network, _)| (*network).clone())
            .collect::<Vec<_>>(),
    )
    .bind(rows.iter().map(|(_, _, at)| time_column(*at)).collect::<Vec<_>>())
    .execute(&mut *connection)
    .await?;
    sqlx::query(generation.sql(
        "delete from views.key_networks n
         using unnest($1::uuid[], $2::uuid[]) as touched (account_id, key_id)
         cross join lateral (
             select o.network from views.key_networks o
             where o.account_id = touched.account_id and o.key_id = touched.key_id
             order by o.last_used_at desc, o.network desc offset $3
         ) older
         where n.account_id = touched.account_id and n.key_id = touched.key_id and n.network = older.network",
    ))
    .bind(
        keys.keys()
            .map(|(account, _)| uuid(account.to_bytes()))
            .collect::<Vec<_>>(),
    )
    .bind(keys.keys().map(|(_, key)| uuid(key.to_bytes())).collect::<Vec<_>>())
    .bind(i64::try_from(NETWORKS_A_KEY_MAX).unwrap_or(i64::MAX))
    .execute(connection)
    .await?;
    Ok(())
}
