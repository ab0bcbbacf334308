//! What was spent hour by hour, as the view has it and as the log gives it.

use std::collections::BTreeMap;

use keyledger_events::{AccountId, Timestamp};
use keyledger_projections::{Moved, Movement};
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::ReconcileError;
use crate::log::{time_column, timestamp};
use crate::statements::{Period, StatementError};

/// Sums of an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hour {
    charges: i64,
    quantity: i64,
    /// Micro-credits.
    charged: i64,
    refunded: i64,
}

/// Hours of a period, those at its ends whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hours(BTreeMap<Timestamp, Hour>);

/// Whether an hour has a part in a period.
fn within(hour: Timestamp, period: Period) -> bool {
    hour >= period.from().start_of_hour() && hour < period.to()
}

impl Hours {
    pub(super) fn take(&mut self, movement: &Movement, period: Period) {
        let at = movement.at.start_of_hour();
        if !within(at, period) {
            return;
        }
        match &movement.what {
            Moved::Charge(charged) => {
                let hour = self.0.entry(at).or_default();
                hour.charges += 1;
                hour.quantity = hour.quantity.saturating_add(crate::log::bigint(charged.quantity));
                hour.charged = hour.charged.saturating_sub(movement.amount);
            }
            Moved::Refund(_) => {
                let hour = self.0.entry(at).or_default();
                hour.refunded = hour.refunded.saturating_add(movement.amount);
            }
            Moved::Grant(_) | Moved::Expiry { .. } | Moved::Correction { .. } => {}
        }
    }

    /// What one of the two tables of the view has. Hours in which nothing was spent do not count.
    pub(super) async fn of_view(
        connection: &mut PgConnection,
        table: &'static str,
        account: AccountId,
        period: Period,
    ) -> Result<Hours, ReconcileError> {
        let statement = match table {
            "views.usage" => {
                "select hour, sum(charges)::bigint as charges, sum(quantity)::bigint as quantity,
                     sum(charged)::bigint as charged, sum(refunded)::bigint as refunded
                 from views.usage where account_id = $1 and hour >= $2 and hour < $3 group by hour"
            }
            _ => {
                "select hour, sum(charges)::bigint as charges, sum(quantity)::bigint as quantity,
                     sum(charged)::bigint as charged, sum(refunded)::bigint as refunded
                 from views.usage_by_endpoint where account_id = $1 and hour >= $2 and hour < $3 group by hour"
            }
        };
        let rows = sqlx::query(statement)
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(time_column(period.from().start_of_hour()))
            .bind(time_column(period.to()))
            .fetch_all(connection)
            .await?;
        let mut hours = BTreeMap::new();
        for row in rows {
            let hour = Hour {
                charges: row.try_get("charges")?,
                quantity: row.try_get("quantity")?,
                charged: row.try_get("charged")?,
                refunded: row.try_get("refunded")?,
            };
            if hour != Hour::default() {
                hours.insert(timestamp(row.try_get("hour")?).map_err(StatementError::from)?, hour);
            }
        }
        Ok(Hours(hours))
    }

    /// The first hour in which they differ: what these say of it, and what the others say.
    pub(super) fn first_unlike(&self, others: &Hours) -> Option<(Timestamp, Option<Hour>, Option<Hour>)> {
        let hours = self.0.keys().chain(others.0.keys());
        let unlike = hours.filter(|hour| self.0.get(hour) != others.0.get(hour)).min()?;
        Some((*unlike, self.0.get(unlike).copied(), others.0.get(unlike).copied()))
    }
}

impl Hour {
    /// For people.
    pub(super) fn told(self, at: Timestamp) -> String {
        let Hour {
            charges,
            quantity,
            charged,
            refunded,
        } = self;
        format!(
            "hour={at}, charges={charges}, quantity={quantity}, charged={charged}, refunded={refunded} micro-credits"
        )
    }
}
