//! What was refunded of which charge, so that it is never more than the charge.
//!
//! In: refunds. Out: the sum of a charge's refunds so far.
//!
//! Promise: a part of the account's fold, so that every process and every restart knows the same. Bounded by time: a
//! charge can be refunded for 400 days, and what was refunded of it is remembered as long. Forgetting never makes a second
//! refund possible: from that moment on the rules refuse the charge as too old.

use std::collections::{BTreeSet, HashMap};

use keyledger_events::{Credits, CreditsRefunded, RefundId, ReservationId, Timestamp};
use serde::{Deserialize, Serialize};

/// Thirteen months: longer than anybody disputes an invoice of a year. Credits for what is older are a grant.
pub const REFUNDABLE_DAYS: u32 = 400;
const REFUNDABLE_SECONDS: u32 = REFUNDABLE_DAYS * 86_400;

/// The refunds of one charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundedCharge {
    pub charged_at: Timestamp,
    pub total: Credits,
    pub last: RefundId,
    pub last_amount: Credits,
}

/// The charges that something was refunded of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    from = "HashMap<ReservationId, RefundedCharge>",
    into = "HashMap<ReservationId, RefundedCharge>"
)]
pub struct RefundedCharges {
    by_charge: HashMap<ReservationId, RefundedCharge>,
    oldest: BTreeSet<(Timestamp, ReservationId)>,
}

/// Whether a charge of that moment may still be refunded.
pub fn is_refundable(charged_at: Timestamp, now: Timestamp) -> bool {
    charged_at.plus_seconds(REFUNDABLE_SECONDS) > now
}

impl RefundedCharges {
    pub fn len(&self) -> usize {
        self.by_charge.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_charge.is_empty()
    }

    pub fn get(&self, charge: ReservationId) -> Option<&RefundedCharge> {
        self.by_charge.get(&charge)
    }

    /// Folds a refund. `None` when the sum leaves its bounds.
    pub fn note(&mut self, e: &CreditsRefunded) -> Option<()> {
        let before = self
            .by_charge
            .get(&e.reservation)
            .map_or(Credits::ZERO, |so_far| so_far.total);
        let so_far = RefundedCharge {
            charged_at: e.charged_at,
            total: before.plus(e.amount)?,
            last: e.refund,
            last_amount: e.amount,
        };
        self.by_charge.insert(e.reservation, so_far);
        self.oldest.insert((e.charged_at, e.reservation));
        Some(())
    }

    pub fn forget(&mut self, now: Timestamp) {
        while let Some((charged_at, charge)) = self.oldest.first().copied() {
            if is_refundable(charged_at, now) {
                return;
            }
            self.oldest.pop_first();
            self.by_charge.remove(&charge);
        }
    }
}

impl From<HashMap<ReservationId, RefundedCharge>> for RefundedCharges {
    fn from(by_charge: HashMap<ReservationId, RefundedCharge>) -> RefundedCharges {
        let oldest = by_charge
            .iter()
            .map(|(charge, so_far)| (so_far.charged_at, *charge))
            .collect();
        RefundedCharges { by_charge, oldest }
    }
}

impl From<RefundedCharges> for HashMap<ReservationId, RefundedCharge> {
    fn from(refunded: RefundedCharges) -> HashMap<ReservationId, RefundedCharge> {
        refunded.by_charge
    }
}
