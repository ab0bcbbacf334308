//! Releasing a reservation: nothing was delivered, nothing is charged.

use keyledger_events::{AccountId, ClientLeft, Event, ReleaseCause, ReservationId};
use serde::{Deserialize, Serialize};

use super::bound::available_for;
use super::settle::{Release, closed, give_back, saying_who_left};
use crate::ledger::account::{Account, Outcome};
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;

/// Gives a reservation back and closes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseReservation {
    pub account: AccountId,
    pub reservation: ReservationId,
    pub cause: ReleaseCause,
    /// How far it had come when the client left, where that is the cause and is known.
    pub client_left: Option<ClientLeft>,
}

impl Command for ReleaseReservation {
    type Reply = Release;
    const NAME: &'static str = "release";
    const ALSO_WHEN_CLOSED: bool = true;

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let reservation = self.reservation;
        if let Some(settled) = given.account.settled.get(&reservation) {
            let already = matches!(settled.outcome, Outcome::Released { cause, .. } if cause == self.cause);
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
        let released = give_back(
            given.account,
            reservation,
            hold,
            self.cause,
            &mut { given.account.owed },
            given.now,
        );
        Ok(saying_who_left(released, self.client_left))
    }

    fn reply(&self, account: &Account, _by: &By) -> Option<Release> {
        let settled = account.settled.get(&self.reservation)?;
        match settled.outcome {
            Outcome::Released { returned, cause } => Some(Release {
                account: account.id,
                reservation: self.reservation,
                cause,
                returned,
                available: available_for(account, Some(&settled.work.endpoint)),
            }),
            Outcome::Charged { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::rules::scenario::*;

    #[test]
    fn a_release_gives_all_of_it_back_once() {
        let mut s = Scenario::with_credits("100");
        s.when(reserve(R1, "0.5")).succeeds();
        s.when(release(R1)).writes(&["CreditsReleased"]);
        s.when(release(R1)).changes_nothing();
        s.when(charge_all(R1)).refused(Refusal::ReservationClosed {
            reservation: R1,
            how: "released".into(),
        });
        assert_eq!(s.available(), "100");
    }
}
