//! Units that were delivered beyond those that were held for.
//!
//! In: a charge and the rule of its price. Out: by rule, a charge of its own for the rest, or a shortfall that is logged.
//!
//! Promise: a hold is never charged more than it holds. A top-up takes only what is available, once: its reservation id
//! is made from the hold's, is decided once, and every retry has the same one.

use keyledger_events::{Credits, Endpoint, KeyId, ReservationId};
use serde::{Deserialize, Serialize};

use super::hold::{Settlement, Settler, by_gateway};
use super::journal_line::Kept;
use crate::clock;
use crate::ledger::{ChargeAtOnce, Held, Price, SubmitError};
use crate::prices::{PriceRule, WhenMore};

/// By which rule a hold deals with more.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Beyond {
    when_more: WhenMore,
    price_version: u64,
}

/// What is owed beyond a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopUp {
    pub reservation: ReservationId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    pub endpoint: Endpoint,
    pub quantity: u64,
    pub unit_price: Credits,
    pub price_version: u64,
}

impl Beyond {
    pub(super) fn of(rule: &PriceRule) -> Beyond {
        Beyond {
            when_more: rule.when_more,
            price_version: rule.version,
        }
    }

    /// What units beyond the hold will be charged: all of them, or none where the balance lacks.
    pub(super) fn top_up(self, held: &Held, more: u64) -> Credits {
        match self.when_more {
            WhenMore::Shortfall => Credits::ZERO,
            WhenMore::TopUp => held
                .unit_price
                .times(more)
                .filter(|amount| *amount <= held.reach)
                .unwrap_or(Credits::ZERO),
        }
    }

    /// The top-up that a settlement asks for. A shortfall by rule is told here.
    pub(super) fn owed(self, held: &Held, settlement: Settlement) -> Option<TopUp> {
        let more = match settlement {
            Settlement::Charge { more: 0, .. } | Settlement::Release(_) => return None,
            Settlement::Charge { more, .. } => more,
        };
        match self.when_more {
            WhenMore::Shortfall => {
                shortfall(held.reservation, &held.endpoint, more, &"by rule");
                None
            }
            WhenMore::TopUp => Some(TopUp {
                reservation: beside(held.reservation),
                key: held.key,
                endpoint: held.endpoint.clone(),
                quantity: more,
                unit_price: held.unit_price,
                price_version: self.price_version,
            }),
        }
    }
}

/// The id of the charge beside a hold's: the hold's own bits, turned, at the moment of the decision. A hold may be older
/// than a new id is allowed to be.
fn beside(reservation: ReservationId) -> ReservationId {
    ReservationId::from_parts(clock::now().ms(), !u128::from_be_bytes(reservation.to_bytes()))
}

impl Settler {
    /// Charges the rest. What the balance lacks is a shortfall, and that is an answer too.
    pub(super) async fn top_up(&self, owed: &Kept, top_up: &TopUp) -> Result<(), SubmitError> {
        let charge = ChargeAtOnce {
            account: owed.account,
            key: top_up.key,
            reservation: top_up.reservation,
            endpoint: top_up.endpoint.clone(),
            quantity: top_up.quantity,
            price: Price {
                unit: top_up.unit_price,
                version: top_up.price_version,
            },
        };
        let by = by_gateway(owed.reservation, "top-up");
        match self.ledger.submit(charge, by).await {
            Ok(answer) => {
                let charged = answer.reply.charged;
                tracing::info!(reservation = %owed.reservation, top_up = %top_up.reservation, %charged, "more was delivered than was held for, and charged");
                metrics::counter!("keyledger_gateway_top_ups_total").increment(1);
                Ok(())
            }
            Err(SubmitError::Refused { refusal, .. }) => {
                shortfall(owed.reservation, &top_up.endpoint, top_up.quantity, &refusal);
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }
}

fn shortfall(reservation: ReservationId, endpoint: &Endpoint, units: u64, why: &dyn std::fmt::Display) {
    tracing::warn!(%reservation, %endpoint, units, %why, "more was delivered than was held for, and is not charged");
    let endpoint = endpoint.as_str().to_owned();
    metrics::counter!("keyledger_gateway_shortfall_units_total", "endpoint" => endpoint).increment(units);
}
