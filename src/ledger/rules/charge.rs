//! Charging a reservation: all of it or a part, once. A result that is paid once and was paid meanwhile returns all of it.

use keyledger_events::{AccountId, Credits, Event, ReleaseCause, ReservationId};
use serde::{Deserialize, Serialize};

use super::bound::available_for;
use super::settle::{Charge, closed, give_back, spend};
use crate::ledger::account::{Account, Outcome, Settled};
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;

/// Spends a reservation and closes it; what is not spent returns.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChargeReservation {
    pub account: AccountId,
    pub reservation: ReservationId,
    /// Units delivered; all that were held when absent.
    pub quantity: Option<u64>,
}

impl Command for ChargeReservation {
    type Reply = Charge;
    const NAME: &'static str = "charge";
    const ALSO_WHEN_CLOSED: bool = true;

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let reservation = self.reservation;
        if let Some(settled) = given.account.settled.get(&reservation) {
            let asked = self.quantity.unwrap_or(settled.held_quantity);
            let already = matches!(settled.outcome, Outcome::Charged { quantity, .. } if quantity == asked);
            return if already || was_paid_before(settled) {
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
        let account = given.account;
        if hold.paid || hold.once.is_some_and(|mark| account.paid.has(mark, given.now)) {
            return Ok(give_back(
                account,
                reservation,
                hold,
                ReleaseCause::Requested,
                &mut { account.owed },
                given.now,
            ));
        }
        spend(
            account,
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

/// Whether it went back because its result was paid by another one.
fn was_paid_before(settled: &Settled) -> bool {
    settled.once.is_some()
        && match settled.outcome {
            Outcome::Released { cause, .. } => cause == ReleaseCause::Requested,
            Outcome::Charged { .. } => false,
        }
}

/// A charge as it stands in the account; `None` when the reservation was not charged.
pub(super) fn charge_facts(account: &Account, reservation: ReservationId, settled: &Settled) -> Option<Charge> {
    let (quantity, charged, returned) = match settled.outcome {
        Outcome::Charged {
            quantity,
            charged,
            returned,
        } => (quantity, charged, returned),
        Outcome::Released { returned, .. } if was_paid_before(settled) => (0, Credits::ZERO, returned),
        Outcome::Released { .. } => return None,
    };
    Some(Charge {
        account: account.id,
        reservation,
        quantity,
        charged,
        returned,
        available: available_for(account, Some(&settled.work.endpoint)),
        work: settled.work.clone(),
        held_quantity: settled.held_quantity,
        paid_before: was_paid_before(settled),
    })
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
            how: "charged".into(),
        });
        s.when(release(R1)).refused(Refusal::ReservationClosed {
            reservation: R1,
            how: "charged".into(),
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
        s.when(charge(R1, u64::MAX)).refused(Refusal::OutOfRange {
            field: "quantity".into(),
        });
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
