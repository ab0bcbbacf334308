//! `views.charges`.

use keyledger_events::{AccountId, ReservationId};
use keyledger_projections::{ChargeRow, ChargesChanges};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Generation, Named, Table, WriteError, all_met, make_key};
use crate::log::{bigint, time_column};
use crate::projector::View;
use crate::projector::worker::shard_column;

pub(in crate::projector) struct Charges;

const CHARGES: Named = Named {
    table: "charges",
    key: "account_id, reservation_id",
    // By far the most rows, and hardly one of them is looked for again.
    keyed_late: true,
};

impl Table for Charges {
    type Changes = ChargesChanges;
    const VIEW: View = View::Charges;
    // Each row is written once in any case: sooner, beside the folding, is better.
    const ROWS_IN_MEMORY_MAX: usize = 5_000;
    const TABLES: &'static [Named] = &[CHARGES];

    async fn write(
        connection: &mut PgConnection,
        generation: Generation,
        changes: ChargesChanges,
    ) -> Result<(), WriteError> {
        let rows: Vec<ChargeRow> = changes.charged.into_values().collect();
        insert(connection, generation, &rows).await?;
        let refunds: Vec<Refunded> = changes.refunded.into_iter().collect();
        refund(connection, generation, &refunds).await
    }
}

async fn insert(connection: &mut PgConnection, generation: Generation, rows: &[ChargeRow]) -> Result<(), WriteError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(generation.sql("insert into views.charges (account_id, reservation_id, shard, position, key_id, channel, endpoint, quantity,
                 unit_price, price_version, charged, returned, reserved_at, charged_at, refunded, environment)
             select * from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::bigint[], $5::uuid[], $6::text[], $7::text[],
                 $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::timestamptz[], $14::timestamptz[],
                 $15::bigint[], $16::text[])"))
        .bind(rows.iter().map(|r| Uuid::from_bytes(r.account.to_bytes())).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| Uuid::from_bytes(r.reservation.to_bytes())).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| shard_column(r.shard)).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| bigint(r.position.0)).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.key.map(|key| Uuid::from_bytes(key.to_bytes()))).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.channel.as_str().to_owned()).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.endpoint.as_str().to_owned()).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| bigint(r.quantity)).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.unit_price.micros()).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| bigint(r.price_version)).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.charged.micros()).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.returned.micros()).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| time_column(r.reserved_at)).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| time_column(r.charged_at)).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.refunded).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.environment.as_str().to_owned()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// A charge of before, and the micro-credits that were refunded of it.
type Refunded = ((AccountId, ReservationId), i64);

async fn refund(connection: &mut PgConnection, generation: Generation, refunds: &[Refunded]) -> Result<(), WriteError> {
    if refunds.is_empty() {
        return Ok(());
    }
    if generation == Generation::Next {
        make_key(connection, &CHARGES).await?;
    }
    let met = sqlx::query(generation.sql(
        "update views.charges c set refunded = c.refunded + r.refunded
         from unnest($1::uuid[], $2::uuid[], $3::bigint[]) as r (account_id, reservation_id, refunded)
         where c.account_id = r.account_id and c.reservation_id = r.reservation_id",
    ))
    .bind(
        refunds
            .iter()
            .map(|((account, _), _)| Uuid::from_bytes(account.to_bytes()))
            .collect::<Vec<_>>(),
    )
    .bind(
        refunds
            .iter()
            .map(|((_, charge), _)| Uuid::from_bytes(charge.to_bytes()))
            .collect::<Vec<_>>(),
    )
    .bind(refunds.iter().map(|(_, amount)| *amount).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    all_met(met.rows_affected(), refunds.len(), "charges")
}
