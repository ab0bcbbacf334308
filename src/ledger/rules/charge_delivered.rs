//! Charging what was delivered: what a hold covers, and beside it, by the price's rule, what came beyond.
//!
//! Promise: both charges are one decision and one append. No process can die between them, and whoever asks again is
//! told what was decided the first time, a shortfall included. A hold is never charged more than it holds.

use std::sync::Arc;

use keyledger_events::{AccountId, ClientLeft, Endpoint, Event, PaidWork, ReservationId};
use serde::{Deserialize, Serialize};

use super::charge::{ChargeReservation, charge_facts};
use super::charge_at_once::hold_and_spend;
use super::settle::{Charge, closed, saying_who_left};
use crate::ledger::account::{Account, Hold, Outcome, Settled};
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;

/// Spends a reservation for what was delivered, and closes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChargeDelivered {
    pub account: AccountId,
    pub reservation: ReservationId,
    /// Units delivered in all, those beyond the hold included.
    pub quantity: u64,
    pub beyond: Beyond,
    /// Where it is charged although the client left before the end.
    pub client_left: Option<ClientLeft>,
}

/// What becomes of units beyond those that were held for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub enum Beyond {
    #[default]
    NotCharged,
    /// They are charged from what is available, all or none. What the balance lacks is a shortfall.
    ToppedUp,
    /// The same, for work that was held for under one of these price books, and of the endpoints beside it alone.
    ToppedUpFor(Arc<[(u64, Vec<Endpoint>)]>),
}

/// What a delivery came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryCharge {
    /// The hold's own.
    pub charge: Charge,
    pub top_up: Option<Charge>,
    /// Units that were delivered and are not charged.
    pub shortfall: u64,
}

/// The id of the charge beside a hold's: the hold's own time, and its other bits turned. Of two such ids an account takes
/// one alone, see `room_for_new`; the other is free for as long as the first is remembered.
pub fn beside(reservation: ReservationId) -> ReservationId {
    ReservationId::from_parts(reservation.ms(), !u128::from_be_bytes(reservation.to_bytes()))
}

impl Beyond {
    fn tops_up(&self, work: &PaidWork) -> bool {
        match self {
            Beyond::NotCharged => false,
            Beyond::ToppedUp => true,
            Beyond::ToppedUpFor(books) => {
                let mut books = books.iter().filter(|(version, _)| *version == work.price_version);
                books.any(|(_, endpoints)| endpoints.contains(&work.endpoint))
            }
        }
    }
}

/// Units beyond the hold: as many as a request may ask for.
const MORE_MAX: u64 = 1_000_000_000;

impl ChargeDelivered {
    fn covered(&self, held_quantity: u64) -> ChargeReservation {
        ChargeReservation {
            account: self.account,
            reservation: self.reservation,
            quantity: Some(self.quantity.min(held_quantity)),
        }
    }

    fn more(&self, held_quantity: u64) -> u64 {
        self.quantity.saturating_sub(held_quantity)
    }

    /// Whether what was topped up before is what is asked for now.
    fn same_top_up(&self, account: &Account, settled: &Settled) -> bool {
        match account
            .settled
            .get(&beside(self.reservation))
            .map(|beside| beside.outcome)
        {
            None => true,
            Some(Outcome::Charged { quantity, .. }) => quantity == self.more(settled.held_quantity),
            Some(Outcome::Released { .. }) => false,
        }
    }

    /// The charge of what came beyond; none where the rule or the balance says no. The hold's own charge returns nothing
    /// then, so that what is available is what it was.
    fn top_up(&self, given: &Given<'_>, hold: &Hold) -> Vec<Event> {
        let more = self.more(hold.quantity);
        // No answer has as many; but data APIs count wrongly, and where units cost nothing nobody else says so.
        if more == 0 || more > MORE_MAX || !self.beyond.tops_up(&hold.work) {
            return Vec::new();
        }
        let work = hold.work.clone();
        hold_and_spend(given, beside(self.reservation), work, more).unwrap_or_default()
    }
}

impl Command for ChargeDelivered {
    type Reply = DeliveryCharge;
    const NAME: &'static str = "charge_delivered";
    const ALSO_WHEN_CLOSED: bool = true;

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let reservation = self.reservation;
        if let Some(settled) = given.account.settled.get(&reservation) {
            if !self.same_top_up(given.account, settled) {
                return Err(closed(reservation, settled));
            }
            return self.covered(settled.held_quantity).decide(given);
        }
        let hold = given
            .account
            .open
            .get(&reservation)
            .ok_or(Refusal::UnknownReservation { reservation })?;
        let mut events = saying_who_left(self.covered(hold.quantity).decide(given)?, self.client_left);
        // A result that was paid before goes back whole, and is free whole.
        if events.iter().any(|event| matches!(event, Event::CreditsCharged(_))) {
            events.extend(self.top_up(&given, hold));
        }
        Ok(events)
    }

    fn reply(&self, account: &Account, _by: &By) -> Option<DeliveryCharge> {
        let facts = |id| charge_facts(account, id, account.settled.get(&id)?);
        let charge = facts(self.reservation)?;
        let top_up = facts(beside(self.reservation));
        let shortfall = if charge.paid_before || top_up.is_some() {
            0
        } else {
            self.more(charge.held_quantity)
        };
        Some(DeliveryCharge {
            charge,
            top_up,
            shortfall,
        })
    }
}

#[cfg(test)]
mod tests {
    use keyledger_events::OnceMark;

    use super::*;
    use crate::ledger::rules::scenario::*;

    fn delivered(quantity: u64, beyond: Beyond) -> ChargeDelivered {
        ChargeDelivered {
            account: account_id(),
            reservation: R1,
            quantity,
            beyond,
            client_left: None,
        }
    }

    fn topped_up(quantity: u64) -> ChargeDelivered {
        delivered(quantity, Beyond::ToppedUp)
    }

    const BOTH: &[&str] = &["CreditsCharged", "CreditsReserved", "CreditsCharged"];

    #[test]
    fn what_came_beyond_a_hold_is_charged_beside_it_at_the_holds_price() {
        let mut s = Scenario::with_credits("100");
        s.when(reserve_units(R1, 2, "0.5")).succeeds();
        s.when(topped_up(5)).writes(BOTH);
        assert_eq!(s.available(), "97.5");
        let beside = &s.account().settled[&beside(R1)];
        assert_eq!((beside.held_quantity, beside.work.key), (3, Some(key_id())));
    }

    #[test]
    fn a_delivery_that_is_told_twice_is_charged_once_and_one_that_is_told_otherwise_is_refused() {
        let mut s = Scenario::with_credits("100");
        s.when(reserve_units(R1, 2, "0.5")).succeeds();
        s.when(topped_up(5)).writes(BOTH);
        s.when(topped_up(5)).changes_nothing();
        s.when(delivered(5, Beyond::NotCharged)).changes_nothing();
        let refusal = Refusal::ReservationClosed {
            reservation: R1,
            how: "charged".into(),
        };
        for other in [0, 1, 2, 4, 6, u64::MAX] {
            s.when(topped_up(other)).refused(refusal.clone());
        }
        assert_eq!(s.available(), "97.5");
    }

    #[test]
    fn a_shortfall_stays_one_even_when_there_are_credits_again() {
        let mut s = Scenario::with_credits("2");
        s.when(reserve_units(R1, 2, "0.5")).succeeds();
        s.when(topped_up(5)).writes(&["CreditsCharged"]);
        assert_eq!(s.available(), "1");
        s.when(grant(2, "100")).succeeds();
        s.when(topped_up(5)).changes_nothing();
        assert_eq!(s.available(), "101");
    }

    #[test]
    fn what_no_price_can_say_is_a_shortfall() {
        let mut s = Scenario::with_credits("100");
        s.when(reserve_units(R1, 2, "0.5")).succeeds();
        s.when(topped_up(u64::MAX)).writes(&["CreditsCharged"]);
        assert_eq!(s.available(), "99");
    }

    #[test]
    fn more_than_anybody_may_ask_for_is_a_shortfall_even_where_it_is_free() {
        for (more, written) in [
            (MORE_MAX, BOTH),
            (MORE_MAX + 1, &["CreditsCharged"][..]),
            (u64::MAX - 2, &["CreditsCharged"]),
        ] {
            let mut s = Scenario::with_credits("100");
            s.when(reserve_units(R1, 2, "0")).succeeds();
            s.when(topped_up(2 + more)).writes(written);
        }
    }

    #[test]
    fn only_the_endpoints_of_the_holds_own_book_are_topped_up() {
        let book = |version, names: &[&str]| {
            let named = names.iter().map(|name| Endpoint::parse(name).unwrap());
            (version, named.collect::<Vec<_>>())
        };
        for (books, written) in [
            (vec![book(0, &["other", "serp"])], BOTH),
            (vec![book(0, &["other"])], &["CreditsCharged"][..]),
            (vec![book(0, &[]), book(1, &["serp"])], &["CreditsCharged"]),
            (vec![book(0, &["serp"]), book(1, &[])], BOTH),
            (vec![book(1, &["serp"])], &["CreditsCharged"]),
        ] {
            let mut s = Scenario::with_credits("100");
            s.when(reserve_units(R1, 1, "0.5")).succeeds();
            s.when(delivered(2, Beyond::ToppedUpFor(books.into()))).writes(written);
        }
    }

    #[test]
    fn less_than_was_held_for_returns_the_rest() {
        let mut s = Scenario::with_credits("100");
        s.when(reserve_units(R1, 2, "0.5")).succeeds();
        s.when(topped_up(1)).writes(&["CreditsCharged"]);
        assert_eq!(s.available(), "99.5");
    }

    #[test]
    fn a_result_that_was_paid_meanwhile_is_free_with_all_that_came_beyond() {
        let mark = OnceMark::from_bytes([7; 16]);
        let mut s = Scenario::with_credits("100");
        s.when(reserve(R1, "0.5").once(mark)).succeeds();
        s.when(reserve(R2, "0.5").once(mark)).succeeds();
        s.when(charge_all(R2)).succeeds();
        s.when(topped_up(5)).writes(&["CreditsReleased"]);
        s.when(topped_up(5)).changes_nothing();
        assert_eq!(s.available(), "99.5");
    }

    #[test]
    fn an_old_hold_is_topped_up_and_nobody_else_takes_the_id_beside_it() {
        let mut s = Scenario::with_credits("100");
        s.when(reserve(R1, "0.5").for_seconds(3_600)).succeeds();
        let taken = Refusal::ReservationMismatch {
            reservation: beside(R1),
        };
        s.when(reserve(beside(R1), "0.5")).refused(taken.clone());
        s.when(charge_at_once(beside(R1), 1, "0.5")).refused(taken);
        s.later(1_800);
        s.when(topped_up(2)).writes(BOTH);
        assert_eq!(beside(beside(R1)), R1);
    }
}
