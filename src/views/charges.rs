//! The billing lines.

use keyledger_events::{AccountId, Credits, KeyId, Position, ReservationId, Timestamp};
use sqlx::postgres::PgRow;

use super::{At, Columns as _, ListOf, ViewError, Views, list, uuid_of};

/// One charge. Its id is its reservation's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub id: ReservationId,
    pub account: AccountId,
    pub position: Position,
    pub key: Option<KeyId>,
    pub channel: String,
    pub endpoint: String,
    pub quantity: u64,
    pub unit_price: Credits,
    pub price_version: u64,
    /// A test key's charge is of nothing.
    pub environment: String,
    pub charged: Credits,
    pub returned: Credits,
    /// All refunds of it together.
    pub refunded: Credits,
    pub reserved_at: Timestamp,
    pub charged_at: Timestamp,
}

/// Where the next page begins: before this position.
pub type ChargeCursor = Position;

pub(super) fn charge(row: &PgRow) -> Result<Charge, ViewError> {
    Ok(Charge {
        id: row.reservation("reservation_id")?,
        account: row.account("account_id")?,
        position: row.position("position")?,
        key: row.key_or_none("key_id")?,
        channel: row.text("channel")?,
        endpoint: row.text("endpoint")?,
        quantity: row.count("quantity")?,
        unit_price: row.credits("unit_price")?,
        price_version: row.count("price_version")?,
        environment: row.text("environment")?,
        charged: row.credits("charged")?,
        returned: row.credits("returned")?,
        refunded: row.credits("refunded")?,
        reserved_at: row.time("reserved_at")?,
        charged_at: row.time("charged_at")?,
    })
}

impl Views {
    /// An account's charges, the latest first.
    pub async fn charges(
        &self,
        account: AccountId,
        limit: u32,
        after: Option<ChargeCursor>,
    ) -> ListOf<Charge, ChargeCursor> {
        let rows = sqlx::query(
            "select c.position as at, exists (select from views.balance where account_id = $2) as known, l.*
             from views.checkpoints c
             left join lateral (
                 select * from views.charges
                 where account_id = $2 and shard = $1 and ($3::bigint is null or position < $3)
                 order by position desc limit $4
             ) l on true
             where c.projection = 'charges' and c.shard = $1
             order by l.position desc",
        )
        .bind(self.shard_column())
        .bind(uuid_of(account.to_bytes()))
        .bind(after.map(|position| i64::try_from(position.0).unwrap_or(i64::MAX)))
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.pool)
        .await?;
        list(&rows, "reservation_id", limit, charge, |charge| charge.position)
    }

    /// One charge of an account, if there is one.
    pub async fn charge(&self, account: AccountId, id: ReservationId) -> Result<At<Option<Charge>>, ViewError> {
        let row = sqlx::query(
            "select c.position as at, l.*
             from views.checkpoints c left join views.charges l on l.account_id = $2 and l.reservation_id = $3
             where c.projection = 'charges' and c.shard = $1",
        )
        .bind(self.shard_column())
        .bind(uuid_of(account.to_bytes()))
        .bind(uuid_of(id.to_bytes()))
        .fetch_one(&self.pool)
        .await?;
        let value = if row.has("reservation_id")? {
            Some(charge(&row)?)
        } else {
            None
        };
        Ok(At {
            position: row.position("at")?,
            value,
        })
    }
}
