//! Giving credits.

use keyledger_events::{AccountId, Credits, CreditsGranted, Event, GrantId, GrantSource, Reason, Scopes, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;
use crate::ledger::remembered::Made;

/// Gives an account credits at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantCredits {
    pub account: AccountId,
    pub grant: GrantId,
    pub amount: Credits,
    /// Lower numbers burn first.
    pub priority: i32,
    pub expires_at: Option<Timestamp>,
    pub source: GrantSource,
    pub reference: Option<String>,
    /// When it takes effect; at once, where that is not to come.
    pub starts_at: Option<Timestamp>,
    /// The endpoints that it burns on; all, unless said.
    pub endpoints: Option<Scopes>,
    pub reason: Option<Reason>,
}

/// A grant as its giver is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantFacts {
    pub grant: GrantId,
    pub amount: Credits,
    pub priority: i32,
    pub expires_at: Option<Timestamp>,
    pub source: GrantSource,
    pub reference: Option<String>,
    pub starts_at: Option<Timestamp>,
    pub endpoints: Option<Scopes>,
    pub reason: Option<Reason>,
    pub granted_at: Timestamp,
    pub available: Credits,
}

impl Command for GrantCredits {
    type Reply = GrantFacts;
    const NAME: &'static str = "grant";

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let total = given.account.totals.granted.plus(self.amount);
        if self.amount <= Credits::ZERO || total.is_none() {
            return Err(Refusal::OutOfRange { field: "amount".into() });
        }
        if self.expires_at.is_some_and(|end| end <= given.now) {
            return Err(Refusal::InThePast {
                field: "expires_at".into(),
            });
        }
        let starts_at = self.starts_at.filter(|start| *start > given.now);
        if let (Some(start), Some(end)) = (starts_at, self.expires_at)
            && end <= start
        {
            return Err(Refusal::OutOfRange {
                field: "expires_at".into(),
            });
        }
        // What is set aside is not there to repay anything.
        let for_all = starts_at.is_none() && self.endpoints.is_none();
        Ok(vec![
            CreditsGranted {
                grant: self.grant,
                amount: self.amount,
                priority: self.priority,
                expires_at: self.expires_at,
                source: self.source,
                reference: self.reference.clone(),
                starts_at,
                endpoints: self.endpoints.clone(),
                period: None,
                rolled_over: None,
                reason: self.reason.clone(),
                repays: if for_all {
                    self.amount.min(given.account.owed)
                } else {
                    Credits::ZERO
                },
            }
            .into(),
        ])
    }

    fn reply(&self, account: &Account, by: &By) -> Option<GrantFacts> {
        let (grant, granted_at) = match account.remembered.made_by(&by.command) {
            Ok(Some(Made::Grant { at, grant })) => (grant.clone(), *at),
            Ok(Some(_)) | Err(_) => return None,
            Ok(None) => {
                let made = CreditsGranted {
                    grant: self.grant,
                    amount: self.amount,
                    priority: self.priority,
                    expires_at: self.expires_at,
                    source: self.source,
                    reference: self.reference.clone(),
                    starts_at: account
                        .grants
                        .iter()
                        .find(|g| g.id == self.grant)
                        .and_then(|g| g.starts_at),
                    endpoints: self.endpoints.clone(),
                    period: None,
                    rolled_over: None,
                    reason: self.reason.clone(),
                    repays: Credits::ZERO,
                };
                // Wholly repaid grants are gone from the state; the account's last event was this grant.
                (
                    made,
                    account
                        .grants
                        .iter()
                        .find(|g| g.id == self.grant)
                        .map_or(account.touched_at, |g| g.granted_at),
                )
            }
        };
        Some(GrantFacts {
            grant: grant.grant,
            amount: grant.amount,
            priority: grant.priority,
            expires_at: grant.expires_at,
            source: grant.source,
            reference: grant.reference,
            starts_at: grant.starts_at,
            endpoints: grant.endpoints,
            reason: grant.reason,
            granted_at,
            available: account.available(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::rules::scenario::*;

    #[test]
    fn grants_burn_by_priority_then_expiry_then_age() {
        let mut s = Scenario::with_credits("0.5");
        s.when(grant(2, "0.5").until(7_200)).succeeds();
        s.when(grant(3, "0.5").until(3_600)).succeeds();
        s.when(grant(4, "0.5").priority(-1)).succeeds();
        s.when(grant(5, "0.5").until(3_600)).succeeds();
        s.when(reserve(R1, "2.5")).succeeds();
        assert_eq!(s.parts_of(R1), "4:0.5 3:0.5 5:0.5 2:0.5 1:0.5");
    }

    #[test]
    fn a_grant_expires_when_its_time_comes_and_not_before() {
        let mut s = Scenario::with_credits("1");
        s.when(grant(2, "10").until(60)).succeeds();
        s.later(59);
        s.when(settle_due()).changes_nothing();
        assert_eq!(s.available(), "11");
        s.later(1);
        s.when(settle_due()).succeeds();
        assert_eq!(s.available(), "1");
    }

    #[test]
    fn what_was_held_outlives_its_grant_until_settled_and_what_returns_expires_at_once() {
        let mut s = Scenario::with_credits("0.1");
        s.when(grant(2, "10").priority(-1).until(60)).succeeds();
        s.when(reserve_units(R1, 4, "1").for_seconds(600)).succeeds();
        s.later(61);
        s.when(settle_due()).writes(&["CreditsExpired"]);
        s.when(charge(R1, 3)).writes(&["CreditsCharged", "CreditsExpired"]);
        assert_eq!(s.available(), "0.1");
        assert_eq!(s.account().totals.charged, credits("3"));
        assert_eq!(s.account().totals.expired, credits("7"));
    }

    #[test]
    fn a_grant_whose_time_is_over_pays_what_is_owed_before_the_rest_expires() {
        let mut s = Scenario::with_limit("1", "10");
        // Held on the credit limit before there was a grant, and charged after it: both are there now.
        s.when(reserve(R1, "4")).succeeds();
        s.when(grant(2, "2").only_on(&["serp"]).until(60)).succeeds();
        s.when(grant(3, "2").until(60)).succeeds();
        s.when(grant(4, "2.5").until(60)).succeeds();
        s.when(charge_all(R1)).succeeds();
        assert_eq!((s.available().as_str(), s.account().owed), ("1.5", credits("3")));
        s.later(60);
        s.when(settle_due())
            .writes(&["CreditsExpired", "CreditsExpired", "CreditsExpired"]);
        assert_eq!((s.available().as_str(), s.account().owed), ("0", credits("0")));
        let gone: Vec<(Credits, Credits)> = s
            .history
            .iter()
            .filter_map(|recorded| {
                let Event::CreditsExpired(e) = &recorded.event else {
                    return None;
                };
                Some((e.amount, e.repays))
            })
            .collect();
        let parts = |amount, repays| (credits(amount), credits(repays));
        assert_eq!(gone, [parts("2", "0"), parts("0", "2"), parts("1.5", "1")]);
        assert_eq!(s.account().totals.expired, credits("3.5"));
        s.when(settle_due()).changes_nothing();
    }

    #[test]
    fn what_returns_late_pays_what_is_owed_as_well_and_nothing_is_paid_twice() {
        let owing = || {
            let mut s = Scenario::with_limit("1", "10");
            s.when(reserve(R1, "4")).succeeds();
            s.when(grant(2, "10").until(60)).succeeds();
            s.when(reserve(R2, "4").for_seconds(50)).succeeds();
            s.when(reserve(R3, "6").for_seconds(50)).succeeds();
            s.when(charge_all(R1)).succeeds();
            assert_eq!(s.account().owed, credits("3"));
            s
        };
        let ended = |s: &Scenario, expired: &str| {
            assert_eq!((s.available().as_str(), s.account().owed), ("0", credits("0")));
            assert_eq!(s.account().totals.expired, credits(expired));
        };
        // Both holds are over, and so is the grant, before anybody looks.
        let mut s = owing();
        s.later(61);
        s.when(settle_due())
            .writes(&["CreditsReleased", "CreditsExpired", "CreditsReleased", "CreditsExpired"]);
        ended(&s, "7");
        // It was looked in time.
        let mut s = owing();
        s.later(51);
        s.when(settle_due()).writes(&["CreditsReleased", "CreditsReleased"]);
        s.later(10);
        s.when(settle_due()).writes(&["CreditsExpired"]);
        ended(&s, "7");
        // One is charged first, and refunded after.
        let mut s = owing();
        s.when(charge_all(R3)).succeeds();
        s.later(61);
        s.when(settle_due()).writes(&["CreditsReleased", "CreditsExpired"]);
        ended(&s, "1");
        s.when(s.refund(R3)).writes(&["CreditsRefunded", "CreditsExpired"]);
        ended(&s, "7");
    }

    #[test]
    fn what_is_refunded_to_a_grant_whose_time_is_over_pays_what_is_owed() {
        let mut s = Scenario::with_limit("1", "10");
        s.when(grant(2, "2").until(60)).succeeds();
        s.when(reserve(R1, "2")).succeeds();
        s.when(charge_all(R1)).succeeds();
        s.later(61);
        s.when(reserve(R2, "4")).succeeds();
        s.when(charge_all(R2)).succeeds();
        assert_eq!((s.available().as_str(), s.account().owed), ("-3", credits("3")));
        s.when(s.refund(R1)).writes(&["CreditsRefunded", "CreditsExpired"]);
        assert_eq!((s.available().as_str(), s.account().owed), ("-1", credits("1")));
        assert_eq!(s.account().totals.expired, credits("0"));
    }

    #[test]
    fn bad_amounts_and_times_are_refused() {
        let mut s = Scenario::with_credits("1");
        s.when(grant(2, "0"))
            .refused(Refusal::OutOfRange { field: "amount".into() });
        s.when(grant(2, "-1"))
            .refused(Refusal::OutOfRange { field: "amount".into() });
        s.when(grant(2, "9000000000"))
            .refused(Refusal::OutOfRange { field: "amount".into() });
        s.when(grant(2, "1").until(0)).refused(Refusal::InThePast {
            field: "expires_at".into(),
        });
    }

    #[test]
    fn a_repeated_grant_gives_once() {
        let mut s = Scenario::with_credits("1");
        s.named("idem:aa.01").when(grant(2, "5")).succeeds();
        s.named("idem:aa.01").when(grant(3, "5")).changes_nothing();
        s.named("idem:aa.02")
            .when(grant(3, "6"))
            .refused(Refusal::IdempotencyMismatch);
        assert_eq!(s.available(), "6");
    }
}
