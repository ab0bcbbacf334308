//! Reserving and charging in one command: the dashboard's own use of the same credits.

use keyledger_events::{
    AccountId, Channel, CreditsReserved, Endpoint, Environment, Event, KeyId, PaidWork, ReservationId,
};
use serde::{Deserialize, Serialize};

use super::charge::charge_facts;
use super::keys::key_of;
use super::reserve::{Price, room_for_new};
use super::settle::{Charge, closed, spend};
use super::spending::may_spend;
use super::take::take;
use crate::ledger::account::{Account, Hold, Outcome};
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;

/// Charges work that is done already. The id is its reservation's.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChargeAtOnce {
    pub account: AccountId,
    /// Whose request it was; none for the dashboard's own use.
    pub key: Option<KeyId>,
    pub reservation: ReservationId,
    pub endpoint: Endpoint,
    /// Units; 1 or more.
    pub quantity: u64,
    pub price: Price,
}

/// Both events come in one batch, so this hold is never open to anyone; the log still says that it ended.
const HOLD_SECONDS: u32 = 1;

impl Command for ChargeAtOnce {
    type Reply = Charge;
    const NAME: &'static str = "charge_at_once";
    const ALSO_WHEN_CLOSED: bool = true;

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn priced_by(&self) -> Option<u64> {
        Some(self.price.version)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let (account, reservation) = (given.account, self.reservation);
        if self.quantity == 0 || self.price.unit.times(self.quantity).is_none() {
            return Err(Refusal::OutOfRange {
                field: "quantity".into(),
            });
        }
        if account.open.contains_key(&reservation) {
            return Err(Refusal::ReservationMismatch { reservation });
        }
        if let Some(settled) = account.settled.get(&reservation) {
            let same = settled.work.endpoint == self.endpoint && settled.held_quantity == self.quantity;
            return match settled.outcome {
                Outcome::Charged { quantity, .. } if same && quantity == self.quantity => Ok(vec![]),
                Outcome::Charged { .. } => Err(Refusal::ReservationMismatch { reservation }),
                Outcome::Released { .. } => Err(closed(reservation, settled)),
            };
        }
        let environment = match self.key {
            None => Environment::Live,
            Some(key) => key_of(account, key)?.environment,
        };
        room_for_new(&given, reservation, None)?;
        let work = PaidWork {
            key: self.key,
            channel: self.key.map_or(Channel::Dashboard, |_| Channel::Api),
            endpoint: self.endpoint.clone(),
            unit_price: self.price.in_environment(environment),
            price_version: self.price.version,
            environment,
        };
        hold_and_spend(&given, reservation, work, self.quantity)
    }

    fn reply(&self, account: &Account, _by: &By) -> Option<Charge> {
        charge_facts(account, self.reservation, account.settled.get(&self.reservation)?)
    }
}

/// A hold and its charge in one: nobody ever finds it open.
pub(super) fn hold_and_spend(
    given: &Given<'_>,
    reservation: ReservationId,
    work: PaidWork,
    quantity: u64,
) -> Result<Vec<Event>, Refusal> {
    let out_of_range = Refusal::OutOfRange {
        field: "quantity".into(),
    };
    let amount = work.unit_price.times(quantity).ok_or(out_of_range)?;
    if let Some(key) = work.key {
        may_spend(key_of(given.account, key)?, amount, given.now)?;
    }
    let (from, on_limit) = take(given.account, Some(&work.endpoint), amount)?;
    let expires_at = given.now.plus_seconds(HOLD_SECONDS);
    let hold = Hold {
        work: work.clone(),
        quantity,
        amount,
        from: from.clone(),
        on_limit,
        reserved_at: given.now,
        expires_at,
        once: None,
        paid: false,
    };
    let charged = spend(given.account, reservation, &hold, quantity, given.now)?;
    let reserved = CreditsReserved {
        reservation,
        work,
        quantity,
        amount,
        from,
        on_limit,
        expires_at,
        once: None,
    };
    Ok(std::iter::once(reserved.into()).chain(charged).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::rules::scenario::*;

    #[test]
    fn the_dashboard_draws_on_the_same_credits() {
        let mut s = Scenario::with_credits("1");
        s.when(reserve(R1, "0.5")).succeeds();
        s.when(charge_at_once(R2, 1, "0.5"))
            .writes(&["CreditsReserved", "CreditsCharged"]);
        let refusal = Refusal::InsufficientCredits {
            required: credits("0.5"),
            available: credits("0"),
        };
        s.when(charge_at_once(R3, 1, "0.5")).refused(refusal);
    }

    #[test]
    fn the_same_charge_twice_is_one() {
        let mut s = Scenario::with_credits("10");
        s.when(charge_at_once(R1, 2, "0.5")).succeeds();
        s.when(charge_at_once(R1, 2, "0.5")).changes_nothing();
        s.when(charge_at_once(R1, 3, "0.5"))
            .refused(Refusal::ReservationMismatch { reservation: R1 });
        assert_eq!(s.available(), "9");
    }
}
