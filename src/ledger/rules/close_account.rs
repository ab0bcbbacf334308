//! Closing an account: its keys are deleted and its holds released in the same append, so that no moment lies between.

use keyledger_events::{AccountClosed, AccountId, DeleteReason, Event, KeyDeleted, PlanEnded, Reason, ReleaseCause};
use serde::{Deserialize, Serialize};

use super::accounts::{AccountFacts, facts};
use super::settle::give_back;
use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;

/// Closes an account, for ever. Closing it again changes nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseAccount {
    pub account: AccountId,
    pub reason: Reason,
}

impl Command for CloseAccount {
    type Reply = AccountFacts;
    const NAME: &'static str = "close_account";
    const ALSO_WHEN_CLOSED: bool = true;

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let account = given.account;
        if account.closed_at.is_some() {
            return Ok(vec![]);
        }
        let reason = self.reason.clone();
        let mut events: Vec<Event> = vec![AccountClosed { reason }.into()];
        let plans = account.plans.iter();
        events.extend(plans.map(|plan| Event::from(PlanEnded { plan: plan.id })));
        let alive = account.keys.values().filter(|key| key.deleted.is_none());
        events.extend(alive.map(|key| {
            Event::from(KeyDeleted {
                key: key.id,
                reason: DeleteReason::AccountClosed,
            })
        }));
        let mut owed = account.owed;
        let open = account
            .deadlines
            .iter()
            .filter_map(|reservation| Some((reservation, account.open.get(&reservation)?)));
        events.extend(open.flat_map(|(reservation, hold)| {
            give_back(
                account,
                reservation,
                hold,
                ReleaseCause::AccountClosed,
                &mut owed,
                given.now,
            )
        }));
        Ok(events)
    }

    fn reply(&self, account: &Account, by: &By) -> Option<AccountFacts> {
        facts(account, by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::rules::scenario::*;

    #[test]
    fn closing_deletes_the_keys_and_gives_back_what_is_held_at_once() {
        let mut s = Scenario::with_credits("10");
        s.when(create_key(2)).succeeds();
        s.when(delete_key()).succeeds();
        s.when(reserve_with(2, R1, "1")).succeeds();
        s.when(reserve_with(2, R2, "2").for_seconds(60)).succeeds();
        s.when(close_account())
            .writes(&["AccountClosed", "KeyDeleted", "CreditsReleased", "CreditsReleased"]);
        assert_eq!(s.available(), "10");
        s.when(charge_all(R1)).refused(Refusal::ReservationClosed {
            reservation: R1,
            how: "released".into(),
        });
        s.when(close_account()).changes_nothing();
    }

    #[test]
    fn nothing_new_is_done_in_a_closed_account() {
        let mut s = Scenario::with_credits("10");
        s.when(reserve(R1, "1")).succeeds();
        s.when(charge_all(R1)).succeeds();
        s.named("idem:aa.01").when(grant(2, "5")).succeeds();
        s.when(close_account()).succeeds();
        s.when(grant(3, "5")).refused(Refusal::AccountClosed);
        s.when(create_key(3)).refused(Refusal::AccountClosed);
        s.when(rename_key("Finance")).refused(Refusal::AccountClosed);
        s.when(charge_at_once(R2, 1, "1")).refused(Refusal::AccountClosed);
        s.when(s.refund(R1)).refused(Refusal::AccountClosed);
        s.when(change_account().credit_limit("5"))
            .refused(Refusal::AccountClosed);
        s.when(reserve(R3, "1")).refused(Refusal::KeyDeleted);
        // What was answered before has the same answer still.
        s.when(charge_all(R1)).changes_nothing();
        s.named("idem:aa.01").when(grant(2, "5")).changes_nothing();
    }

    #[test]
    fn grants_of_a_closed_account_go_on_expiring() {
        let mut s = Scenario::with_credits("10");
        s.when(grant(2, "5").until(60)).succeeds();
        s.when(close_account()).succeeds();
        s.later(60);
        s.when(settle_due()).writes(&["CreditsExpired"]);
        assert_eq!(s.available(), "10");
    }
}
