//! Refunding a charge: all that is left of it or a part, back to where it came from.

use keyledger_events::{
    AccountId, Credits, CreditsRefunded, Event, GrantId, GrantPart, Reason, RefundId, ReservationId, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::settle::{keep, lapse, minus};
use super::take::is_too_long;
use crate::ledger::account::Account;
use crate::ledger::charged::Charged;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refunded_charges::is_refundable;
use crate::ledger::refusal::Refusal;
use crate::ledger::remembered::Made;

/// Takes a charge back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundCharge {
    pub charged: Charged,
    pub refund: RefundId,
    /// The id of a grant, should one be needed for what was charged on the credit limit and repaid since.
    pub grant: GrantId,
    /// All that is left of the charge when absent.
    pub amount: Option<Credits>,
    pub reason: Reason,
}

/// A refund as its sender is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundFacts {
    pub refund: RefundId,
    pub account: AccountId,
    pub reservation: ReservationId,
    pub amount: Credits,
    pub reason: Reason,
    pub refunded_at: Timestamp,
    /// What is still charged: what could be refunded now.
    pub left: Credits,
    pub available: Credits,
}

impl RefundCharge {
    fn reservation(&self) -> ReservationId {
        self.charged.charge().reservation
    }

    fn left(&self, account: &Account) -> Credits {
        let before = account
            .refunds
            .get(self.reservation())
            .map_or(Credits::ZERO, |so_far| so_far.total);
        self.charged
            .charge()
            .charged
            .minus_within(before)
            .unwrap_or(Credits::ZERO)
    }

    /// The last `amount` of the `left` that is still charged: by grant, and on the credit limit, which is spent last.
    fn tail(&self, left: Credits, amount: Credits) -> (Vec<GrantPart>, Credits) {
        let charge = self.charged.charge();
        let mut stays = minus(left, amount);
        let mut still = left;
        let mut cut = |part: Credits| {
            let charged = part.min(still);
            still = minus(still, charged);
            let kept = charged.min(stays);
            stays = minus(stays, kept);
            minus(charged, kept)
        };
        let mut parts = Vec::new();
        for part in &charge.spent {
            let amount = cut(part.amount);
            let grant = part.grant;
            keep(&mut parts, GrantPart { grant, amount });
        }
        let on_limit = cut(charge.charged_on_limit);
        (parts, on_limit)
    }
}

impl Command for RefundCharge {
    type Reply = RefundFacts;
    const NAME: &'static str = "refund";

    fn target(&self) -> Target {
        Target::Account(self.charged.account())
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let account = given.account;
        let reservation = self.reservation();
        if !is_refundable(self.charged.charged_at(), given.now) {
            return Err(Refusal::ChargeTooOld { reservation });
        }
        let left = self.left(account);
        if left.is_zero() {
            return Err(Refusal::NothingToRefund { reservation });
        }
        let amount = self.amount.unwrap_or(left);
        if amount <= Credits::ZERO {
            return Err(Refusal::OutOfRange { field: "amount".into() });
        }
        if amount > left {
            return Err(Refusal::RefundExceedsCharge { asked: amount, left });
        }
        let (returned_to, on_limit) = self.tail(left, amount);
        let repays = on_limit.min(account.owed);
        let mut as_grant = Vec::new();
        let (grant, rest) = (self.grant, minus(on_limit, repays));
        keep(&mut as_grant, GrantPart { grant, amount: rest });
        let all_terms = || {
            returned_to
                .iter()
                .filter_map(|part| Some((part, self.charged.terms(part.grant)?)))
        };
        let over = all_terms().filter(|(_, terms)| terms.expires_at.is_some_and(|end| end <= given.now));
        let mut owed = minus(account.owed, repays);
        let expired: Vec<Event> = over
            .map(|(part, terms)| lapse(part.grant, part.amount, terms.endpoints.is_none(), &mut owed).into())
            .collect();
        let is_gone = |grant: GrantId| account.grants.iter().all(|there| there.id != grant);
        let refunded = CreditsRefunded {
            refund: self.refund,
            reservation,
            work: self.charged.charge().work.clone(),
            amount,
            reason: self.reason.clone(),
            reopened: all_terms()
                .filter(|(part, _)| is_gone(part.grant))
                .map(|(_, terms)| terms.clone())
                .collect(),
            repays,
            as_grant: as_grant.pop(),
            charged_at: self.charged.charged_at(),
            returned_to,
        };
        // Less at once: fewer grants come back.
        if is_too_long(&refunded) {
            return Err(Refusal::OutOfRange { field: "amount".into() });
        }
        Ok(std::iter::once(refunded.into()).chain(expired).collect())
    }

    fn reply(&self, account: &Account, by: &By) -> Option<RefundFacts> {
        let (refund, amount, refunded_at) = match account.remembered.made_by(&by.command) {
            Ok(Some(Made::Refund { at, refund, amount })) => (*refund, *amount, *at),
            Ok(Some(_)) | Err(_) => return None,
            Ok(None) => {
                let last = account.refunds.get(self.reservation())?;
                (last.last, last.last_amount, account.touched_at)
            }
        };
        Some(RefundFacts {
            refund,
            account: account.id,
            reservation: self.reservation(),
            amount,
            reason: self.reason.clone(),
            refunded_at,
            left: self.left(account),
            available: account.available(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::rules::scenario::*;

    fn too_much(asked: &str, left: &str) -> Refusal {
        Refusal::RefundExceedsCharge {
            asked: credits(asked),
            left: credits(left),
        }
    }

    fn charged(s: &mut Scenario, id: ReservationId, amount: &str) {
        s.when(reserve(id, amount)).succeeds();
        s.when(charge_all(id)).succeeds();
    }

    #[test]
    fn a_refund_without_an_amount_takes_the_whole_charge_back_once() {
        let mut s = Scenario::with_credits("100");
        charged(&mut s, R1, "3");
        s.when(s.refund(R1)).writes(&["CreditsRefunded"]);
        assert_eq!(s.available(), "100");
        s.when(s.refund(R1))
            .refused(Refusal::NothingToRefund { reservation: R1 });
    }

    #[test]
    fn all_refunds_of_a_charge_are_never_more_than_the_charge() {
        let mut s = Scenario::with_credits("100");
        charged(&mut s, R1, "3");
        s.when(s.refund_of(R1, "3.000001")).refused(too_much("3.000001", "3"));
        s.when(s.refund_of(R1, "1")).succeeds();
        s.when(s.refund_of(R1, "2.5")).refused(too_much("2.5", "2"));
        s.when(s.refund_of(R1, "0"))
            .refused(Refusal::OutOfRange { field: "amount".into() });
        s.when(s.refund_of(R1, "2")).succeeds();
        assert_eq!(s.available(), "100");
    }

    #[test]
    fn a_part_returns_what_was_spent_last_as_if_that_much_less_had_been_charged() {
        let mut s = Scenario::with_credits("10");
        s.when(grant(2, "2").until(600)).succeeds();
        charged(&mut s, R1, "5");
        s.when(s.refund_of(R1, "4")).writes(&["CreditsRefunded"]);
        assert_eq!(s.left_of_grants(), "2:1 1:10");
        s.when(s.refund(R1)).succeeds();
        assert_eq!(s.left_of_grants(), "2:2 1:10");
    }

    #[test]
    fn a_grant_that_was_used_up_is_there_again_and_burns_where_it_did() {
        let mut s = Scenario::with_credits("1");
        charged(&mut s, R1, "1");
        s.when(grant(2, "5")).succeeds();
        s.when(grant(3, "5").priority(-1)).succeeds();
        assert_eq!(s.left_of_grants(), "3:5 2:5");
        s.when(s.refund_of(R1, "0.5")).succeeds();
        assert_eq!(s.left_of_grants(), "3:5 1:0.5 2:5");
    }

    #[test]
    fn what_returns_to_a_grant_whose_time_is_over_expires_at_once() {
        let mut s = Scenario::with_credits("10");
        s.when(grant(2, "2").until(600)).succeeds();
        charged(&mut s, R1, "3");
        s.later(601);
        s.when(s.refund(R1)).writes(&["CreditsRefunded", "CreditsExpired"]);
        assert_eq!(s.available(), "10");
        assert_eq!(s.account().totals.refunded, credits("3"));
        assert_eq!(s.account().totals.expired, credits("2"));
    }

    #[test]
    fn what_was_charged_on_the_credit_limit_is_owed_no_more() {
        let mut s = Scenario::with_limit("1", "5");
        charged(&mut s, R1, "4");
        assert_eq!(s.account().owed, credits("3"));
        s.when(s.refund_of(R1, "3.5")).succeeds();
        assert_eq!(s.account().owed, credits("0"));
        assert_eq!(s.available(), "0.5");
    }

    #[test]
    fn what_was_charged_on_the_credit_limit_and_repaid_since_is_a_grant_of_its_own() {
        let mut s = Scenario::with_limit("1", "5");
        charged(&mut s, R1, "4");
        s.when(grant(2, "2")).succeeds();
        s.when(s.refund(R1)).writes(&["CreditsRefunded"]);
        assert_eq!((s.available().as_str(), s.account().owed), ("3", credits("0")));
        let sources: Vec<_> = s
            .account()
            .grants
            .iter()
            .map(|g| (g.source.as_str(), g.remaining))
            .collect();
        assert_eq!(sources, [("purchase", credits("1")), ("refund", credits("2"))]);
        charged(&mut s, R2, "3");
        s.when(s.refund(R2)).succeeds();
        assert_eq!(s.available(), "3");
    }

    #[test]
    fn a_charge_can_be_refunded_for_400_days_and_is_remembered_no_longer() {
        let mut s = Scenario::with_credits("10");
        charged(&mut s, R1, "1");
        s.later(400 * 86_400 - 1);
        s.when(s.refund_of(R1, "0.5")).succeeds();
        s.later(1);
        s.when(s.refund_of(R1, "0.5"))
            .refused(Refusal::ChargeTooOld { reservation: R1 });
        s.when(grant(7, "1")).succeeds();
        assert!(s.account().refunds.is_empty());
    }

    #[test]
    fn a_repeated_refund_is_one() {
        let mut s = Scenario::with_credits("10");
        charged(&mut s, R1, "2");
        let refund = s.refund_of(R1, "1");
        s.named("idem:aa.01").when(refund.clone()).succeeds();
        s.named("idem:aa.01").when(refund.clone()).changes_nothing();
        s.named("idem:aa.02").when(refund).refused(Refusal::IdempotencyMismatch);
        assert_eq!(s.available(), "9");
    }
}
