//! Charging a reservation: all of it or a part, once.

use keyledger_events::{AccountId, Event, ReservationId};

use super::settle::{Charge, closed, spend};
use crate::ledger::account::{Account, Outcome, Settled};
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;

/// Spends a reservation and closes it; what is not spent returns.
#[derive(Debug, Clone)]
pub struct ChargeReservation {
    pub account: AccountId,
    pub reservation: ReservationId,
    /// Units delivered; all that were held when absent.
    pub quantity: Option<u64>,
}

impl Command for ChargeReservation {
    type Reply = Charge;
    const NAME: &'static str = "charge";

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let reservation = self.reservation;
        if let Some(settled) = given.account.settled.get(&reservation) {
            let asked = self.quantity.unwrap_or(settled.held_quantity);
            let already = matches!(settled.outcome, Outcome::Charged { quantity, .. } if quantity == asked);
            return if already {
                Ok(vec![])
            } else {
                Err(closed(reservation, settled))
            };
        }
        let hold = given
            .account
            .open
            .get(&reservation)
            .ok_or(Refusal::UnknownReservation { reservation })?;
        spend(
            given.account,
            reservation,
            hold,
            self.quantity.unwrap_or(hold.quantity),
            given.now,
        )
    }

    fn reply(&self, account: &Account, _by: &By) -> Option<Charge> {
        charge_facts(account, self.reservation, account.settled.get(&self.reservation)?)
    }
}

/// A charge as it stands in the account; `None` when the reservation was not charged.
pub(super) fn charge_facts(account: &Account, reservation: ReservationId, settled: &Settled) -> Option<Charge> {
    match settled.outcome {
        Outcome::Charged {
            quantity,
            charged,
            returned,
        } => Some(Charge {
            account: account.id,
            reservation,
            quantity,
            charged,
            returned,
            available: account.available(),
        }),
        Outcome::Released { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::rules::scenario::*;

    #[test]
    fn charging_part_of_a_reservation_returns_the_rest() {
        let mut s = Scenario::with_credits("100");
        s.when(reserve_units(R1, 50, "0.5")).succeeds();
        assert_eq!(s.available(), "75");
        s.when(charge(R1, 3)).writes(&["CreditsCharged"]);
        assert_eq!(s.available(), "98.5");
    }

    #[test]
    fn a_charge_twice_is_one_charge() {
        let mut s = Scenario::with_credits("100");
        s.when(reserve_units(R1, 2, "0.5")).succeeds();
        s.when(charge_all(R1)).succeeds();
        s.when(charge_all(R1)).changes_nothing();
        s.when(charge(R1, 2)).changes_nothing();
        s.when(charge(R1, 1)).refused(Refusal::ReservationClosed {
            reservation: R1,
            how: "charged",
        });
        s.when(release(R1)).refused(Refusal::ReservationClosed {
            reservation: R1,
            how: "charged",
        });
        assert_eq!(s.available(), "99");
    }

    #[test]
    fn more_than_was_held_is_never_charged_and_the_hold_stays() {
        let mut s = Scenario::with_credits("100");
        s.when(reserve_units(R1, 2, "0.5")).succeeds();
        let refusal = Refusal::ChargeExceedsReservation {
            asked: credits("1.5"),
            held: credits("1"),
        };
        s.when(charge(R1, 3)).refused(refusal);
        s.when(charge(R1, u64::MAX))
            .refused(Refusal::OutOfRange { field: "quantity" });
        s.when(charge_all(R1)).succeeds();
    }

    #[test]
    fn nothing_delivered_is_nothing_charged() {
        let mut s = Scenario::with_credits("100");
        s.when(reserve_units(R1, 2, "0.5")).succeeds();
        s.when(charge(R1, 0)).succeeds();
        assert_eq!(s.available(), "100");
    }

    #[test]
    fn what_was_never_held_is_unknown() {
        let mut s = Scenario::with_credits("100");
        s.when(charge_all(R1))
            .refused(Refusal::UnknownReservation { reservation: R1 });
    }
}
