//! Correcting an account's credits, for a reason: giving some, or taking some away.

use keyledger_events::{
    AccountId, CorrectionId, Credits, CreditsCorrected, Event, GrantId, GrantSource, Reason, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::grants::GrantCredits;
use super::take::{reach, take};
use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;
use crate::ledger::remembered::Made;

/// Adds credits, as a grant that burns last and never ends, or takes some away in the order in which they burn.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorrectCredits {
    pub account: AccountId,
    /// The id of what is taken away.
    pub correction: CorrectionId,
    /// The id of what is added.
    pub grant: GrantId,
    /// Below zero takes away: never more than is available, the credit limit included.
    pub amount: Credits,
    pub reason: Reason,
}

/// A correction as its sender is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorrectionFacts {
    pub id: Corrected,
    pub account: AccountId,
    pub amount: Credits,
    pub reason: Reason,
    pub corrected_at: Timestamp,
    pub available: Credits,
}

/// What a correction made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Corrected {
    Added(GrantId),
    Taken(CorrectionId),
}

impl CorrectCredits {
    fn adds(&self) -> GrantCredits {
        GrantCredits {
            account: self.account,
            grant: self.grant,
            amount: self.amount,
            priority: 0,
            expires_at: None,
            source: GrantSource::Correction,
            reference: None,
            starts_at: None,
            endpoints: None,
            reason: Some(self.reason.clone()),
        }
    }

    fn takes(&self, account: &Account) -> Result<Vec<Event>, Refusal> {
        let out_of_range = Refusal::OutOfRange { field: "amount".into() };
        let amount = Credits::ZERO.minus(self.amount).ok_or(out_of_range)?;
        let reach = reach(account);
        if amount > reach {
            return Err(Refusal::CorrectionExceedsAvailable { asked: amount, reach });
        }
        let (from, on_limit) = take(account, None, amount)?;
        Ok(vec![
            CreditsCorrected {
                correction: self.correction,
                amount,
                from,
                on_limit,
                reason: self.reason.clone(),
            }
            .into(),
        ])
    }
}

impl Command for CorrectCredits {
    type Reply = CorrectionFacts;
    const NAME: &'static str = "correct";

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        if self.amount.is_negative() {
            self.takes(given.account)
        } else {
            self.adds().decide(given)
        }
    }

    fn reply(&self, account: &Account, by: &By) -> Option<CorrectionFacts> {
        let (id, corrected_at) = match account.remembered.made_by(&by.command) {
            Ok(Some(Made::Grant { at, grant })) => (Corrected::Added(grant.grant), *at),
            Ok(Some(Made::Correction { at, correction })) => (Corrected::Taken(*correction), *at),
            Ok(Some(_)) | Err(_) => return None,
            Ok(None) if self.amount.is_negative() => (Corrected::Taken(self.correction), account.touched_at),
            Ok(None) => (Corrected::Added(self.grant), account.touched_at),
        };
        Some(CorrectionFacts {
            id,
            account: account.id,
            amount: self.amount,
            reason: self.reason.clone(),
            corrected_at,
            available: account.available(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::rules::scenario::*;

    #[test]
    fn what_is_added_is_a_grant_and_what_is_taken_burns_in_order() {
        let mut s = Scenario::with_credits("10");
        s.when(grant(2, "2").until(600)).succeeds();
        s.when(correct("1.5")).writes(&["CreditsGranted"]);
        assert_eq!(s.available(), "13.5");
        s.when(correct("-3")).writes(&["CreditsCorrected"]);
        assert_eq!(s.available(), "10.5");
        assert_eq!(s.account().totals.corrected, credits("3"));
        assert_eq!(s.account().totals.granted, credits("13.5"));
        assert!(s.account().grants.iter().all(|grant| grant.expires_at.is_none()));
    }

    #[test]
    fn no_more_is_taken_than_is_available() {
        let mut s = Scenario::with_limit("10", "2");
        s.when(reserve(R1, "4")).succeeds();
        let refusal = Refusal::CorrectionExceedsAvailable {
            asked: credits("8.5"),
            reach: credits("8"),
        };
        s.when(correct("-8.5")).refused(refusal);
        s.when(correct("-8")).succeeds();
        assert_eq!((s.available().as_str(), s.account().owed), ("-2", credits("2")));
        s.when(correct("0"))
            .refused(Refusal::OutOfRange { field: "amount".into() });
        s.when(charge_all(R1)).succeeds();
        s.when(correct("5")).succeeds();
        assert_eq!((s.available().as_str(), s.account().owed), ("3", credits("0")));
    }

    #[test]
    fn a_repeated_correction_is_one() {
        let mut s = Scenario::with_credits("10");
        s.named("idem:aa.01").when(correct("-1")).succeeds();
        s.named("idem:aa.01").when(correct("-1")).changes_nothing();
        s.named("idem:aa.02")
            .when(correct("-2"))
            .refused(Refusal::IdempotencyMismatch);
        assert_eq!(s.available(), "9");
    }
}
