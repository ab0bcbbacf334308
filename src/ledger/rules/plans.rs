//! Plans: credits that come again and again, written by time.

use keyledger_events::{
    AccountId, Credits, CreditsGranted, Event, GrantPart, GrantSource, Period, PlanEnded, PlanId, PlanPeriod,
    PlanStarted, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::settle::{lapse, minus};
use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::plan::Plan;
use crate::ledger::refusal::Refusal;
use crate::ledger::remembered::Made;

/// More than any contract has.
pub const PLANS_MAX: usize = 20;

/// Gives an account credits each period from a moment on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartPlan {
    pub account: AccountId,
    pub plan: PlanId,
    pub amount: Credits,
    pub period: Period,
    /// Where the first period begins; now, where that is not to come.
    pub starts_at: Option<Timestamp>,
    /// How much of what is left of a period goes on into the next.
    pub rollover_cap: Credits,
}

/// Ends a plan: no period begins any more. Ending it again changes nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndPlan {
    pub account: AccountId,
    pub plan: PlanId,
}

/// A plan as whoever started it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanFacts {
    pub account: AccountId,
    pub started: PlanStarted,
    pub started_at: Timestamp,
    pub available: Credits,
}

impl Command for StartPlan {
    type Reply = PlanFacts;
    const NAME: &'static str = "start_plan";

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let account = given.account;
        if self.amount <= Credits::ZERO || account.totals.granted.plus(self.amount).is_none() {
            return Err(Refusal::OutOfRange { field: "amount".into() });
        }
        if self.rollover_cap.is_negative() || self.rollover_cap.plus(self.amount).is_none() {
            return Err(Refusal::OutOfRange {
                field: "rollover_cap".into(),
            });
        }
        if account.plans.len() >= PLANS_MAX {
            return Err(Refusal::TooManyPlans { limit: PLANS_MAX });
        }
        let started = PlanStarted {
            plan: self.plan,
            amount: self.amount,
            period: self.period,
            starts_at: self.starts_at.map_or(given.now, |start| start.max(given.now)),
            rollover_cap: self.rollover_cap,
        };
        // One that begins now gives at once, not when somebody looks next.
        let plan = Plan::started(&started, given.now);
        let first = renewal(account, &plan, given.now);
        Ok(std::iter::once(started.into()).chain(first).collect())
    }

    fn reply(&self, account: &Account, by: &By) -> Option<PlanFacts> {
        let (started, started_at) = match account.remembered.made_by(&by.command) {
            Ok(Some(Made::Plan { at, plan })) => (plan.clone(), *at),
            Ok(Some(_)) | Err(_) => return None,
            Ok(None) => {
                let plan = account.plan(self.plan)?;
                let started = PlanStarted {
                    plan: plan.id,
                    amount: plan.amount,
                    period: plan.period,
                    starts_at: plan.starts_at,
                    rollover_cap: plan.rollover_cap,
                };
                (started, plan.started_at)
            }
        };
        Some(PlanFacts {
            account: account.id,
            started,
            started_at,
            available: account.available(),
        })
    }
}

impl Command for EndPlan {
    /// What is available now.
    type Reply = Credits;
    const NAME: &'static str = "end_plan";

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let plan = self.plan;
        if given.account.plan(plan).is_some() {
            Ok(vec![PlanEnded { plan }.into()])
        } else if given.account.ended_plans.contains(&plan) {
            Ok(vec![])
        } else {
            Err(Refusal::UnknownPlan { plan })
        }
    }

    fn reply(&self, account: &Account, _by: &By) -> Option<Credits> {
        Some(account.available())
    }
}

/// The next period that has begun by now, of the plan that it is due of first; those that were missed come one by one.
pub(super) fn renewals(account: &Account, now: Timestamp) -> Vec<Event> {
    let next = account.plans.iter().min_by_key(|plan| (plan.next_at(), plan.id));
    next.map(|plan| renewal(account, plan, now)).unwrap_or_default()
}

/// A plan's next period: its grant, what rolls over into it, and what is left beyond that, which expires.
fn renewal(account: &Account, plan: &Plan, now: Timestamp) -> Vec<Event> {
    let expires_at = plan.next_ends_at();
    if plan.next_at() > now {
        return Vec::new();
    }
    let last = plan
        .grant
        .and_then(|id| account.grants.iter().find(|grant| grant.id == id));
    let left = last.map_or(Credits::ZERO, |grant| grant.remaining);
    let rolled = left.min(plan.rollover_cap);
    let amount = plan
        .amount
        .plus(rolled)
        .filter(|_| account.totals.granted.plus(plan.amount).is_some());
    // Beyond what any account can be given, or any calendar has.
    let Some(amount) = amount.filter(|_| expires_at > plan.next_at()) else {
        return vec![PlanEnded { plan: plan.id }.into()];
    };
    let part = |amount: Credits| {
        last.map(|grant| GrantPart {
            grant: grant.id,
            amount,
        })
    };
    let mut owed = account.owed;
    // First, also of what pays what is owed: what is never there beside the new grant must not lift the balance over a threshold.
    let rest = part(minus(left, rolled)).filter(|part| !part.amount.is_zero());
    let expired = rest.map(|part| lapse(part.grant, part.amount, true, &mut owed).into());
    let granted = CreditsGranted {
        grant: plan.next_grant(),
        amount,
        priority: 0,
        expires_at: Some(expires_at),
        source: GrantSource::Plan,
        reference: None,
        starts_at: None,
        endpoints: None,
        period: Some(PlanPeriod {
            plan: plan.id,
            number: plan.periods.saturating_add(1),
        }),
        rolled_over: part(rolled).filter(|part| !part.amount.is_zero()),
        reason: None,
        repays: amount.min(owed),
    };
    expired.into_iter().chain([granted.into()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::rules::scenario::*;

    const DAY: u32 = 86_400;

    #[test]
    fn a_plan_gives_at_once_and_each_period_again_once() {
        let mut s = Scenario::with_credits("1");
        s.when(plan(1, "10", Period::Day))
            .writes(&["PlanStarted", "CreditsGranted"]);
        assert_eq!(s.available(), "11");
        s.later(DAY - 1);
        s.when(settle_due()).changes_nothing();
        s.later(1);
        s.when(settle_due()).writes(&["CreditsExpired", "CreditsGranted"]);
        assert_eq!(s.available(), "11");
        s.when(settle_due()).changes_nothing();
    }

    #[test]
    fn what_is_left_rolls_over_up_to_the_cap_and_the_rest_expires() {
        let mut s = Scenario::with_credits("1");
        s.when(plan(1, "10", Period::Day).rolling("4")).succeeds();
        s.when(reserve(R1, "3")).succeeds();
        s.when(charge_all(R1)).succeeds();
        s.later(DAY);
        s.when(settle_due()).writes(&["CreditsExpired", "CreditsGranted"]);
        assert_eq!(s.available(), "15");
        assert_eq!(s.account().totals.granted, credits("21"));
        assert_eq!(s.account().totals.expired, credits("3"));
        s.later(DAY);
        s.when(settle_due()).succeeds();
        assert_eq!(
            s.available(),
            "15",
            "what rolled over once does so again, within the cap"
        );
    }

    #[test]
    fn all_that_is_left_rolls_over_where_it_is_less_than_the_cap() {
        let mut s = Scenario::with_credits("1");
        s.when(plan(1, "10", Period::Week).rolling("50")).succeeds();
        s.later(7 * DAY);
        s.when(settle_due()).writes(&["CreditsGranted"]);
        assert_eq!(s.available(), "21");
    }

    #[test]
    fn periods_that_nobody_was_there_for_are_given_one_by_one() {
        let mut s = Scenario::with_credits("1");
        s.when(plan(1, "10", Period::Day).rolling("15")).succeeds();
        s.later(3 * DAY);
        s.when(settle_due()).writes(&[
            "CreditsGranted",
            "CreditsExpired",
            "CreditsGranted",
            "CreditsExpired",
            "CreditsGranted",
        ]);
        assert_eq!(s.available(), "26");
        assert_eq!(s.account().plans[0].periods, 4);
    }

    #[test]
    fn a_clock_that_ran_ahead_and_comes_back_gives_nothing_twice() {
        let mut s = Scenario::with_credits("1");
        s.when(plan(1, "10", Period::Day).rolling("5")).succeeds();
        let then = s.now;
        s.later(2 * DAY);
        s.when(settle_due()).succeeds();
        let available = s.available();
        s.now = then.plus_seconds(60);
        s.when(settle_due()).changes_nothing();
        s.later(2 * DAY);
        s.when(settle_due()).changes_nothing();
        assert_eq!(s.available(), available);
    }

    #[test]
    fn a_plan_that_begins_later_gives_nothing_before() {
        let mut s = Scenario::with_credits("1");
        s.when(plan(1, "10", Period::Month).from(60)).writes(&["PlanStarted"]);
        s.later(59);
        s.when(settle_due()).changes_nothing();
        s.later(1);
        s.when(settle_due()).writes(&["CreditsGranted"]);
    }

    #[test]
    fn what_a_hold_returns_late_rolls_over_too() {
        let mut s = Scenario::with_credits("0.1");
        s.when(plan(1, "10", Period::Day).rolling("10")).succeeds();
        s.later(DAY - 30);
        s.when(reserve(id_now(&s), "8").for_seconds(30)).succeeds();
        s.later(31);
        s.when(settle_due()).writes(&["CreditsReleased", "CreditsGranted"]);
        assert_eq!(s.available(), "20.1");
    }

    #[test]
    fn what_is_held_over_the_end_of_a_period_expires_when_it_returns() {
        let mut s = Scenario::with_credits("0.1");
        s.when(plan(1, "10", Period::Day).rolling("10")).succeeds();
        s.later(DAY - 30);
        let id = id_now(&s);
        s.when(reserve(id, "8")).succeeds();
        s.later(31);
        s.when(release(id))
            .writes(&["CreditsGranted", "CreditsReleased", "CreditsExpired"]);
        assert_eq!(s.available(), "12.1");
    }

    #[test]
    fn a_plan_that_was_ended_gives_no_more_and_takes_nothing_back() {
        let mut s = Scenario::with_credits("1");
        s.when(plan(1, "10", Period::Day).rolling("10")).succeeds();
        s.when(end_plan(1)).writes(&["PlanEnded"]);
        s.when(end_plan(1)).changes_nothing();
        let refusal = Refusal::UnknownPlan { plan: plan_id(2) };
        s.when(end_plan(2)).refused(refusal);
        assert_eq!(s.available(), "11");
        s.later(DAY);
        s.when(settle_due()).writes(&["CreditsExpired"]);
        assert_eq!(s.available(), "1");
    }

    #[test]
    fn what_does_not_roll_over_repays_before_the_new_grant_does() {
        let mut s = Scenario::with_limit("1", "10");
        s.when(reserve(R1, "4")).succeeds();
        s.when(plan(1, "2", Period::Day)).succeeds();
        s.when(charge_all(R1)).succeeds();
        assert_eq!((s.available().as_str(), s.account().owed), ("-1", credits("3")));
        s.later(DAY);
        s.when(settle_due()).writes(&["CreditsExpired", "CreditsGranted"]);
        assert_eq!((s.available().as_str(), s.account().owed), ("1", credits("0")));
        assert_eq!(s.account().totals.expired, credits("0"));
    }

    #[test]
    fn a_plan_repays_what_is_owed() {
        let mut s = Scenario::with_limit("1", "5");
        s.when(reserve(R1, "4")).succeeds();
        s.when(charge_all(R1)).succeeds();
        s.when(plan(1, "10", Period::Day)).succeeds();
        assert_eq!((s.available().as_str(), s.account().owed), ("7", credits("0")));
    }

    #[test]
    fn a_closed_accounts_plans_end_with_it() {
        let mut s = Scenario::with_credits("1");
        s.when(plan(1, "10", Period::Day)).succeeds();
        s.when(close_account())
            .writes(&["AccountClosed", "PlanEnded", "KeyDeleted"]);
        s.later(DAY);
        s.when(settle_due()).writes(&["CreditsExpired"]);
    }

    #[test]
    fn plans_have_bounds_and_are_started_once() {
        let mut s = Scenario::with_credits("1");
        s.when(plan(1, "0", Period::Day))
            .refused(Refusal::OutOfRange { field: "amount".into() });
        let negative = plan(1, "1", Period::Day).rolling("-1");
        s.when(negative).refused(Refusal::OutOfRange {
            field: "rollover_cap".into(),
        });
        s.named("idem:aa.01").when(plan(1, "1", Period::Day)).succeeds();
        s.named("idem:aa.01").when(plan(2, "1", Period::Day)).changes_nothing();
        for n in 2..=20 {
            s.when(plan(n, "1", Period::Day)).succeeds();
        }
        s.when(plan(21, "1", Period::Day))
            .refused(Refusal::TooManyPlans { limit: 20 });
        assert_eq!(s.available(), "21");
    }

    fn id_now(s: &Scenario) -> keyledger_events::ReservationId {
        keyledger_events::ReservationId::from_parts(s.now.ms(), 77)
    }
}
