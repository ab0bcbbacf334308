//! Open holds.

use keyledger_events::{AccountId, Credits, KeyId, ReservationId, Timestamp};
use sqlx::postgres::PgRow;

use super::{At, Columns as _, ListOf, ViewError, Views, list, uuid_of};

/// An open hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    pub id: ReservationId,
    pub account: AccountId,
    pub key: Option<KeyId>,
    pub channel: String,
    pub endpoint: String,
    pub quantity: u64,
    pub unit_price: Credits,
    pub amount: Credits,
    pub reserved_at: Timestamp,
    pub expires_at: Timestamp,
}

fn reservation(row: &PgRow) -> Result<Reservation, ViewError> {
    Ok(Reservation {
        id: row.reservation("reservation_id")?,
        account: row.account("account_id")?,
        key: row.key_or_none("key_id")?,
        channel: row.text("channel")?,
        endpoint: row.text("endpoint")?,
        quantity: row.count("quantity")?,
        unit_price: row.credits("unit_price")?,
        amount: row.credits("amount")?,
        reserved_at: row.time("reserved_at")?,
        expires_at: row.time("expires_at")?,
    })
}

impl Views {
    /// An account's open holds, newest first.
    pub async fn reservations(
        &self,
        account: AccountId,
        limit: u32,
        after: Option<ReservationId>,
    ) -> ListOf<Reservation, ReservationId> {
        let rows = sqlx::query(
            "select c.position as at, exists (select from views.balance where account_id = $2) as known, r.*
             from views.checkpoints c
             left join lateral (
                 select * from views.reservations where account_id = $2 and ($3::uuid is null or reservation_id < $3)
                 order by reservation_id desc limit $4
             ) r on true
             where c.projection = 'reservations' and c.shard = $1
             order by r.reservation_id desc",
        )
        .bind(self.shard_column())
        .bind(uuid_of(account.to_bytes()))
        .bind(after.map(|id| uuid_of(id.to_bytes())))
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.pool)
        .await?;
        list(&rows, "reservation_id", limit, reservation, |reservation| {
            reservation.id
        })
    }

    /// One open hold of an account, if there is one.
    pub async fn reservation(
        &self,
        account: AccountId,
        id: ReservationId,
    ) -> Result<At<Option<Reservation>>, ViewError> {
        let row = sqlx::query(
            "select c.position as at, r.*
             from views.checkpoints c left join views.reservations r on r.account_id = $2 and r.reservation_id = $3
             where c.projection = 'reservations' and c.shard = $1",
        )
        .bind(self.shard_column())
        .bind(uuid_of(account.to_bytes()))
        .bind(uuid_of(id.to_bytes()))
        .fetch_one(&self.pool)
        .await?;
        let value = if row.has("reservation_id")? {
            Some(reservation(&row)?)
        } else {
            None
        };
        Ok(At {
            position: row.position("at")?,
            value,
        })
    }
}
