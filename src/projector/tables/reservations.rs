//! `views.reservations`.

use keyledger_projections::{ReservationRow, ReservationsChanges};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Generation, Named, Table, WriteError, all_met};
use crate::log::{bigint, time_column};
use crate::projector::View;

pub(in crate::projector) struct Reservations;

impl Table for Reservations {
    type Changes = ReservationsChanges;
    const VIEW: View = View::Reservations;
    const TABLES: &'static [Named] = &[Named {
        table: "reservations",
        key: "account_id, reservation_id",
        keyed_late: false,
    }];

    async fn write(
        connection: &mut PgConnection,
        generation: Generation,
        changes: ReservationsChanges,
    ) -> Result<(), WriteError> {
        if !changes.closed.is_empty() {
            let met = sqlx::query(generation.sql("delete from views.reservations r using unnest($1::uuid[], $2::uuid[]) as c (account_id, reservation_id)
                 where r.account_id = c.account_id and r.reservation_id = c.reservation_id"))
            .bind(changes.closed.iter().map(|(account, _)| Uuid::from_bytes(account.to_bytes())).collect::<Vec<_>>())
            .bind(changes.closed.iter().map(|(_, id)| Uuid::from_bytes(id.to_bytes())).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
            all_met(met.rows_affected(), changes.closed.len(), "reservations")?;
        }
        let opened: Vec<ReservationRow> = changes.opened.into_values().collect();
        insert(connection, generation, &opened).await
    }
}

async fn insert(
    connection: &mut PgConnection,
    generation: Generation,
    rows: &[ReservationRow],
) -> Result<(), WriteError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(generation.sql("insert into views.reservations (account_id, reservation_id, key_id, channel, endpoint, quantity, unit_price, amount, reserved_at, expires_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
             $8::bigint[], $9::timestamptz[], $10::timestamptz[])"))
    .bind(rows.iter().map(|r| Uuid::from_bytes(r.account.to_bytes())).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| Uuid::from_bytes(r.reservation.to_bytes())).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.key.map(|key| Uuid::from_bytes(key.to_bytes()))).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.channel.as_str().to_owned()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.endpoint.as_str().to_owned()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| bigint(r.quantity)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.unit_price.micros()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.amount.micros()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| time_column(r.reserved_at)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| time_column(r.expires_at)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
