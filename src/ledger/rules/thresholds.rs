//! Telling that a balance is low, at most once each time that it comes down.

use keyledger_events::{AccountId, Credits, Event, ThresholdReached, ThresholdsSet};
use serde::{Deserialize, Serialize};

use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;
use crate::ledger::remembered::Made;

/// More than anybody reads.
pub const THRESHOLDS_MAX: usize = 10;

/// Says which balances to watch for, in the place of those of before. One that the balance is at or below already, and that
/// was not watched for, is told of at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetThresholds {
    pub account: AccountId,
    /// In any order. None: watch for nothing.
    pub thresholds: Vec<Credits>,
}

impl Command for SetThresholds {
    /// The highest first.
    type Reply = Vec<Credits>;
    const NAME: &'static str = "set_thresholds";

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let mut thresholds = self.thresholds.clone();
        thresholds.sort_by_key(|amount| std::cmp::Reverse(*amount));
        thresholds.dedup();
        if thresholds.len() > THRESHOLDS_MAX || thresholds.iter().any(|amount| amount.is_negative()) {
            return Err(Refusal::OutOfRange {
                field: "thresholds".into(),
            });
        }
        let before = given.account.thresholds.iter().map(|threshold| &threshold.amount);
        if before.eq(thresholds.iter()) {
            return Ok(vec![]);
        }
        Ok(vec![ThresholdsSet { thresholds }.into()])
    }

    fn reply(&self, account: &Account, by: &By) -> Option<Vec<Credits>> {
        if let Ok(Some(Made::Thresholds(set))) = account.remembered.made_by(&by.command) {
            return Some(set.clone());
        }
        Some(account.thresholds.iter().map(|threshold| threshold.amount).collect())
    }
}

/// What the balance has come down to and was not told of since it was above. Comes after every command; a closed account is
/// not topped up.
pub fn crossings(account: &Account) -> Vec<Event> {
    if account.thresholds.is_empty() || account.closed_at.is_some() {
        return Vec::new();
    }
    let balance = account.balance();
    let reached = account
        .thresholds
        .iter()
        .filter(|threshold| !threshold.told && balance <= threshold.amount);
    reached
        .map(|reached| {
            let threshold = reached.amount;
            ThresholdReached { threshold, balance }.into()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::rules::scenario::*;

    const NOT_MORE: &[&str] = &["CreditsCharged"];

    fn use_up(s: &mut Scenario, id: keyledger_events::ReservationId, amount: &str) -> Tried {
        s.when(reserve(id, amount)).succeeds();
        s.when(charge_all(id))
    }

    #[test]
    fn a_threshold_is_told_of_once_when_the_balance_comes_down_to_it() {
        let mut s = Scenario::with_credits("10");
        s.when(thresholds(&["5", "2"])).writes(&["ThresholdsSet"]);
        use_up(&mut s, R1, "4").writes(NOT_MORE);
        use_up(&mut s, R2, "1").writes(&["CreditsCharged", "ThresholdReached"]);
        use_up(&mut s, R3, "1").writes(NOT_MORE);
    }

    #[test]
    fn it_is_told_of_again_after_the_balance_was_above() {
        let mut s = Scenario::with_credits("5");
        s.when(thresholds(&["2"])).succeeds();
        use_up(&mut s, R1, "3").writes(&["CreditsCharged", "ThresholdReached"]);
        s.when(grant(2, "1")).writes(&["CreditsGranted"]);
        use_up(&mut s, R2, "1").writes(&["CreditsCharged", "ThresholdReached"]);
    }

    #[test]
    fn a_charge_that_passes_two_tells_of_both() {
        let mut s = Scenario::with_credits("10");
        s.when(thresholds(&["2", "5"])).succeeds();
        use_up(&mut s, R1, "9").writes(&["CreditsCharged", "ThresholdReached", "ThresholdReached"]);
    }

    #[test]
    fn holds_that_come_and_go_cross_nothing() {
        let mut s = Scenario::with_credits("10");
        s.when(thresholds(&["5"])).succeeds();
        s.when(reserve(R1, "8")).writes(&["KeyUsed", "CreditsReserved"]);
        s.when(release(R1)).writes(&["CreditsReleased"]);
    }

    #[test]
    fn what_time_takes_is_told_of_too() {
        let mut s = Scenario::with_credits("1");
        s.when(grant(2, "10").until(60)).succeeds();
        s.when(thresholds(&["5"])).succeeds();
        s.later(60);
        s.when(settle_due()).writes(&["CreditsExpired", "ThresholdReached"]);
        s.when(correct("-0.5")).writes(&["CreditsCorrected"]);
    }

    #[test]
    fn one_that_is_reached_already_is_told_of_when_it_is_set_and_not_when_it_is_kept() {
        let mut s = Scenario::with_credits("1");
        s.when(thresholds(&["5"]))
            .writes(&["ThresholdsSet", "ThresholdReached"]);
        s.when(thresholds(&["5"])).changes_nothing();
        s.when(thresholds(&["5", "0.5"])).writes(&["ThresholdsSet"]);
        s.when(thresholds(&[])).writes(&["ThresholdsSet"]);
        use_up(&mut s, R1, "1").writes(NOT_MORE);
    }

    #[test]
    fn a_plan_whose_rest_expires_lifts_the_balance_over_nothing() {
        const DAY: u32 = 86_400;
        let mut s = Scenario::with_credits("35");
        s.when(plan(1, "10", keyledger_events::Period::Day)).succeeds();
        s.when(thresholds(&["50"]))
            .writes(&["ThresholdsSet", "ThresholdReached"]);
        use_up(&mut s, R1, "2").writes(NOT_MORE);
        s.later(DAY);
        // 8 of the last period are left. Never were they there beside the 10 of the next one.
        s.when(settle_due()).writes(&["CreditsExpired", "CreditsGranted"]);
        assert_eq!(s.available(), "45");
    }

    #[test]
    fn a_closed_account_is_not_topped_up() {
        let mut s = Scenario::with_credits("1");
        s.when(grant(2, "10").until(60)).succeeds();
        s.when(thresholds(&["5"])).succeeds();
        s.when(close_account()).succeeds();
        s.later(60);
        s.when(settle_due()).writes(&["CreditsExpired"]);
    }

    #[test]
    fn thresholds_have_bounds() {
        let mut s = Scenario::with_credits("1");
        let refusal = Refusal::OutOfRange {
            field: "thresholds".into(),
        };
        s.when(thresholds(&["-1"])).refused(refusal.clone());
        let many: Vec<String> = (0..11).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        s.when(thresholds(&many)).refused(refusal);
    }
}
