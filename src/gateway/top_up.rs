//! Units that were delivered beyond those that were held for, by the rule of their price: charged beside the hold, or a
//! shortfall that is logged.
//!
//! Not here: the charge itself. The ledger decides both in one, see `ChargeDelivered`.

use keyledger_events::{Credits, Endpoint, ReservationId};

use crate::ledger::{Beyond, DeliveryCharge, Held};
use crate::prices::WhenMore;

/// What units beyond a hold will be charged: all of them, or none where the balance lacks.
pub(super) fn expected(when_more: WhenMore, held: &Held, more: u64) -> Credits {
    match when_more {
        WhenMore::Shortfall => Credits::ZERO,
        WhenMore::TopUp => held
            .unit_price
            .times(more)
            .filter(|amount| *amount <= held.reach)
            .unwrap_or(Credits::ZERO),
    }
}

/// The rule as the ledger takes it.
pub(super) fn beyond(when_more: WhenMore) -> Beyond {
    match when_more {
        WhenMore::Shortfall => Beyond::NotCharged,
        WhenMore::TopUp => Beyond::ToppedUp,
    }
}

/// Tells operators of a delivery that was more than was held for.
pub(crate) fn tell(delivery: &DeliveryCharge) {
    let reservation = delivery.charge.reservation;
    if let Some(top_up) = &delivery.top_up {
        let charged = top_up.charged;
        tracing::info!(%reservation, top_up = %top_up.reservation, %charged, "more was delivered than was held for, and charged");
        metrics::counter!("keyledger_gateway_top_ups_total").increment(1);
    }
    if delivery.shortfall > 0 {
        shortfall(reservation, &delivery.charge.work.endpoint, delivery.shortfall);
    }
}

fn shortfall(reservation: ReservationId, endpoint: &Endpoint, units: u64) {
    tracing::warn!(%reservation, %endpoint, units, "more was delivered than was held for, and is not charged");
    let endpoint = endpoint.as_str().to_owned();
    metrics::counter!("keyledger_gateway_shortfall_units_total", "endpoint" => endpoint).increment(units);
}
