//! Changing what an account is called and how far it may go below zero.

use keyledger_events::{
    AccountId, AccountName, AccountRenamed, CreditLimitChanged, Credits, Event, ExternalRefChanged,
};
use serde::{Deserialize, Deserializer, Serialize};

use super::accounts::{AccountFacts, facts};
use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;

/// Changes what is said and leaves the rest. What is so already changes nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeAccount {
    pub account: AccountId,
    pub name: Option<AccountName>,
    /// `Some(None)` takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    pub external_ref: Option<Option<String>>,
    /// May be less than is used of it already: nothing new is held then.
    pub credit_limit: Option<Credits>,
}

/// What is written at all is said, nothing included.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Command for ChangeAccount {
    type Reply = AccountFacts;
    const NAME: &'static str = "change_account";

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let account = given.account.id;
        let opened = given
            .account
            .opened
            .as_ref()
            .ok_or(Refusal::UnknownAccount { account })?;
        if self.credit_limit.is_some_and(Credits::is_negative) {
            return Err(Refusal::OutOfRange {
                field: "credit_limit".into(),
            });
        }
        let mut events = Vec::new();
        if let Some(name) = self.name.clone().filter(|name| *name != opened.name) {
            events.push(AccountRenamed { name }.into());
        }
        if let Some(external_ref) = self.external_ref.clone().filter(|to| *to != opened.external_ref) {
            events.push(ExternalRefChanged { external_ref }.into());
        }
        if let Some(credit_limit) = self.credit_limit.filter(|to| *to != opened.credit_limit) {
            events.push(CreditLimitChanged { credit_limit }.into());
        }
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
    fn only_what_is_different_is_changed() {
        let mut s = Scenario::with_limit("1", "2");
        s.when(change_account().credit_limit("2")).changes_nothing();
        s.when(change_account().name("Acme").credit_limit("3"))
            .writes(&["CreditLimitChanged"]);
        s.when(change_account().name("Umbrella").external_ref(Some("crm/1")))
            .writes(&["AccountRenamed", "ExternalRefChanged"]);
        s.when(change_account().external_ref(None))
            .writes(&["ExternalRefChanged"]);
        s.when(change_account().credit_limit("-1"))
            .refused(Refusal::OutOfRange {
                field: "credit_limit".into(),
            });
    }

    #[test]
    fn a_limit_below_what_is_used_lets_nothing_new_be_held_and_takes_nothing_back() {
        let mut s = Scenario::with_limit("1", "5");
        s.when(reserve(R1, "4")).succeeds();
        s.when(change_account().credit_limit("2")).succeeds();
        let refusal = Refusal::InsufficientCredits {
            required: credits("0.5"),
            available: credits("-3"),
        };
        s.when(reserve(R2, "0.5")).refused(refusal);
        s.when(reserve(R2, "0")).succeeds();
        s.when(charge_all(R1)).succeeds();
        assert_eq!(s.available(), "-3");
        s.when(grant(9, "2")).succeeds();
        s.when(reserve(R3, "1")).succeeds();
    }

    #[test]
    fn a_limit_that_is_raised_is_there_at_once() {
        let mut s = Scenario::with_credits("1");
        s.when(change_account().credit_limit("2")).succeeds();
        s.when(reserve(R1, "3")).succeeds();
    }
}
