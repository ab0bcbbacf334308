//! The billing lines of an account in a period, as the view has them, in the order of the log.

use keyledger_events::{
    AccountId, Credits, CreditsCharged, KeyId, Position, Recorded, ReservationId, Shard, Timestamp,
};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::{ReconcileError, shard_column};
use crate::log::{bigint, time_column};

/// Rows that are read at once.
const ROWS_AT_ONCE: i64 = 2_000;

/// What a charge's row says, refunds apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChargeFacts {
    pub(super) position: Position,
    pub(super) reservation: ReservationId,
    key: Option<KeyId>,
    channel: String,
    endpoint: String,
    quantity: i64,
    unit_price: i64,
    price_version: i64,
    environment: String,
    charged: i64,
    returned: i64,
    reserved_at: time::OffsetDateTime,
    charged_at: time::OffsetDateTime,
}

impl ChargeFacts {
    /// As the log says it.
    pub(super) fn of(recorded: &Recorded, e: &CreditsCharged) -> ChargeFacts {
        ChargeFacts {
            position: recorded.position,
            reservation: e.reservation,
            key: e.work.key,
            channel: e.work.channel.as_str().to_owned(),
            endpoint: e.work.endpoint.as_str().to_owned(),
            quantity: bigint(e.quantity),
            unit_price: e.work.unit_price.micros(),
            price_version: bigint(e.work.price_version),
            environment: e.work.environment.as_str().to_owned(),
            charged: e.charged.micros(),
            returned: e.returned.micros(),
            reserved_at: time_column(e.reserved_at),
            charged_at: time_column(recorded.time),
        }
    }

    fn of_row(row: &PgRow) -> Result<ChargeFacts, sqlx::Error> {
        let key: Option<Uuid> = row.try_get("key_id")?;
        let reservation: Uuid = row.try_get("reservation_id")?;
        Ok(ChargeFacts {
            position: Position(row.try_get::<i64, _>("position")?.unsigned_abs()),
            reservation: ReservationId::from_bytes(reservation.into_bytes()),
            key: key.map(|id| KeyId::from_bytes(id.into_bytes())),
            channel: row.try_get("channel")?,
            endpoint: row.try_get("endpoint")?,
            quantity: row.try_get("quantity")?,
            unit_price: row.try_get("unit_price")?,
            price_version: row.try_get("price_version")?,
            environment: row.try_get("environment")?,
            charged: row.try_get("charged")?,
            returned: row.try_get("returned")?,
            reserved_at: row.try_get("reserved_at")?,
            charged_at: row.try_get("charged_at")?,
        })
    }

    /// For people.
    pub(super) fn told(&self) -> Vec<(&'static str, String)> {
        let amount = |micros: i64| Credits::from_micros(micros).map_or_else(|| micros.to_string(), |of| of.to_string());
        let time = |column: time::OffsetDateTime| {
            let moment = crate::log::timestamp(column).unwrap_or(Timestamp::EPOCH);
            moment.to_string()
        };
        vec![
            ("position", self.position.to_string()),
            ("charge", self.reservation.to_string()),
            ("key", self.key.map(|key| key.to_string()).unwrap_or_default()),
            ("channel", self.channel.clone()),
            ("endpoint", self.endpoint.clone()),
            ("quantity", self.quantity.to_string()),
            ("unit_price", amount(self.unit_price)),
            ("price_version", self.price_version.to_string()),
            ("environment", self.environment.clone()),
            ("charged", amount(self.charged)),
            ("returned", amount(self.returned)),
            ("reserved_at", time(self.reserved_at)),
            ("charged_at", time(self.charged_at)),
        ]
    }
}

/// Reads the rows one after the other.
#[derive(Debug)]
pub(super) struct ChargeRows {
    shard: Shard,
    account: AccountId,
    /// The last position that belongs to the period.
    last: Position,
    page: std::vec::IntoIter<(ChargeFacts, i64)>,
    after: Position,
    ended: bool,
}

impl ChargeRows {
    /// Those up to and with a position.
    pub(super) fn until(shard: Shard, account: AccountId, last: Position) -> ChargeRows {
        ChargeRows {
            shard,
            account,
            last,
            page: Vec::new().into_iter(),
            after: Position::START,
            ended: false,
        }
    }

    /// Leaves out the rows up to a position: time does not run backwards, so a period is a range of positions.
    pub(super) fn begin_after(&mut self, position: Position) {
        self.after = position;
    }

    /// The next row, and what was refunded of it. `None`: there are no more.
    pub(super) async fn next(
        &mut self,
        connection: &mut PgConnection,
    ) -> Result<Option<(ChargeFacts, i64)>, ReconcileError> {
        loop {
            if let Some(row) = self.page.next() {
                self.after = row.0.position;
                return Ok(Some(row));
            }
            if self.ended {
                return Ok(None);
            }
            let rows = sqlx::query(
                "select * from views.charges
                 where account_id = $1 and shard = $2 and position > $3 and position <= $4 order by position limit $5",
            )
            .bind(Uuid::from_bytes(self.account.to_bytes()))
            .bind(shard_column(self.shard))
            .bind(bigint(self.after.0))
            .bind(bigint(self.last.0))
            .bind(ROWS_AT_ONCE)
            .fetch_all(&mut *connection)
            .await?;
            self.ended = i64::try_from(rows.len()).unwrap_or(i64::MAX) < ROWS_AT_ONCE;
            let read = |row: &PgRow| Ok::<_, sqlx::Error>((ChargeFacts::of_row(row)?, row.try_get("refunded")?));
            let page: Vec<(ChargeFacts, i64)> = rows.iter().map(read).collect::<Result<_, _>>()?;
            self.page = page.into_iter();
        }
    }
}
