//! What a key may spend: the rule, and changing it.

use keyledger_events::{AccountId, Credits, Event, KeyId, KeySpendingLimited, SpendingLimit, Timestamp};
use serde::{Deserialize, Serialize};

use super::keys::{KeyFacts, changed, key_of};
use crate::ledger::account::{Account, Key};
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;

/// Refuses to hold more for a key than it may spend.
pub(super) fn may_spend(key: &Key, more: Credits, now: Timestamp) -> Result<(), Refusal> {
    let Some(limit) = key.limits.spending else {
        return Ok(());
    };
    if key.spending.allows(limit, more, now) {
        return Ok(());
    }
    Err(Refusal::KeySpendingLimit {
        limit,
        required: more,
        spent: key.spending.spent(limit.per, now).unwrap_or(Credits::MAX),
        resets_at: limit.per.end(now),
    })
}

/// Sets what a key may spend, or lets it spend all there is. What it has spent already counts.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSpending {
    pub account: AccountId,
    pub key: KeyId,
    pub limit: Option<SpendingLimit>,
}

impl Command for LimitSpending {
    type Reply = KeyFacts;
    const NAME: &'static str = "limit_spending";

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let key = key_of(given.account, self.key)?;
        if key.deleted.is_some() {
            return Err(Refusal::KeyGone { key: self.key });
        }
        if key.limits.spending == self.limit {
            return Ok(vec![]);
        }
        Ok(vec![
            KeySpendingLimited {
                key: self.key,
                limit: self.limit,
            }
            .into(),
        ])
    }

    fn reply(&self, account: &Account, by: &By) -> Option<KeyFacts> {
        changed(account, by, self.key)
    }
}

#[cfg(test)]
mod tests {
    use keyledger_events::SpendingPeriod;

    use super::*;
    use crate::ledger::rules::scenario::*;

    fn limit(amount: &str, per: SpendingPeriod) -> SpendingLimit {
        SpendingLimit {
            amount: credits(amount),
            per,
        }
    }

    fn set(limit: Option<SpendingLimit>) -> LimitSpending {
        LimitSpending {
            account: account_id(),
            key: key_id(),
            limit,
        }
    }

    /// The scenario's clock stands at 16:00 on 24 November 2025, so that most of a day and some of a month are left.
    fn refused(s: &Scenario, limit: SpendingLimit, required: &str, spent: &str) -> Refusal {
        Refusal::KeySpendingLimit {
            limit,
            required: credits(required),
            spent: credits(spent),
            resets_at: limit.per.end(s.now),
        }
    }

    #[test]
    fn what_is_charged_and_what_is_held_count_together() {
        let mut s = Scenario::with_credits("10");
        let day = limit("1", SpendingPeriod::Day);
        s.when(set(Some(day))).writes(&["KeySpendingLimited"]);
        s.when(set(Some(day))).changes_nothing();
        s.when(reserve(R1, "0.5")).succeeds();
        s.when(charge_all(R1)).succeeds();
        s.when(reserve(R2, "0.5")).succeeds();
        let no = refused(&s, day, "0.5", "1");
        s.when(reserve(R3, "0.5")).refused(no);
        // What comes back may be held again; other keys spend what they may.
        s.when(release(R2)).succeeds();
        s.when(reserve(R3, "0.5")).succeeds();
        s.when(create_key(2)).succeeds();
        s.when(reserve_with(2, R2_AGAIN, "5")).succeeds();
    }

    const R2_AGAIN: keyledger_events::ReservationId = keyledger_events::ReservationId::from_parts(R1.ms(), 9);

    #[test]
    fn a_day_begins_with_nothing_spent_but_what_is_held() {
        let mut s = Scenario::with_credits("10");
        let day = limit("1", SpendingPeriod::Day);
        s.when(set(Some(day))).succeeds();
        s.later(seconds_to(SpendingPeriod::Day, s.now) - 100);
        let at = |s: &Scenario, n| keyledger_events::ReservationId::from_parts(s.now.ms(), n);
        let (first, second) = (at(&s, 1), at(&s, 2));
        s.when(reserve(first, "0.4")).succeeds();
        s.when(charge_all(first)).succeeds();
        s.when(reserve(second, "0.6")).succeeds();
        s.later(100);
        let third = at(&s, 3);
        let no = refused(&s, day, "0.5", "0.6");
        s.when(reserve(third, "0.5")).refused(no);
        s.when(reserve(third, "0.4")).succeeds();
        s.when(charge_all(second)).succeeds();
        let no = refused(&s, day, "0.1", "1");
        s.when(reserve(at(&s, 4), "0.1")).refused(no);
    }

    #[test]
    fn a_month_is_counted_over_its_days() {
        let mut s = Scenario::with_credits("10");
        let month = limit("1", SpendingPeriod::Month);
        s.when(set(Some(month))).succeeds();
        s.when(reserve(R1, "1")).succeeds();
        s.when(charge_all(R1)).succeeds();
        s.later(86_400);
        let next = keyledger_events::ReservationId::from_parts(s.now.ms(), 1);
        let no = refused(&s, month, "0.5", "1");
        s.when(reserve(next, "0.5")).refused(no);
        s.later(seconds_to(SpendingPeriod::Month, s.now));
        let next = keyledger_events::ReservationId::from_parts(s.now.ms(), 1);
        s.when(reserve(next, "0.5")).succeeds();
    }

    #[test]
    fn a_limit_that_is_changed_counts_what_was_spent_before() {
        let mut s = Scenario::with_credits("10");
        s.when(reserve(R1, "2")).succeeds();
        s.when(charge_all(R1)).succeeds();
        let day = limit("1", SpendingPeriod::Day);
        s.when(set(Some(day))).succeeds();
        let no = refused(&s, day, "0.5", "2");
        s.when(reserve(R2, "0.5")).refused(no);
        // What costs nothing is no spending.
        s.when(reserve(R2, "0")).succeeds();
        s.when(set(Some(limit("3", SpendingPeriod::Month)))).succeeds();
        s.when(reserve(R3, "1")).succeeds();
        s.when(set(None)).succeeds();
        s.when(reserve(R2_AGAIN, "1")).succeeds();
        s.when(delete_key()).succeeds();
        s.when(set(Some(day))).refused(Refusal::KeyGone { key: key_id() });
    }

    #[test]
    fn a_top_up_stays_within_the_limit_or_is_a_shortfall() {
        let mut s = Scenario::with_credits("10");
        s.when(set(Some(limit("2", SpendingPeriod::Day)))).succeeds();
        s.when(reserve_units(R1, 2, "0.5")).succeeds();
        let delivered = |reservation, quantity| crate::ledger::rules::ChargeDelivered {
            account: account_id(),
            reservation,
            quantity,
            beyond: crate::ledger::rules::Beyond::ToppedUp,
            client_left: None,
        };
        s.when(delivered(R1, 3))
            .writes(&["CreditsCharged", "CreditsReserved", "CreditsCharged"]);
        s.when(reserve(R2, "0.5")).succeeds();
        s.when(delivered(R2, 2)).writes(&["CreditsCharged"]);
        assert_eq!(s.account().totals.charged, credits("2"));
    }

    #[test]
    fn a_successor_may_spend_what_its_predecessor_might() {
        let mut s = Scenario::with_credits("10");
        let day = limit("1", SpendingPeriod::Day);
        s.when(set(Some(day))).succeeds();
        s.when(rotate(2, 60)).succeeds();
        s.when(reserve_with(2, R1, "1")).succeeds();
        let no = refused(&s, day, "0.5", "1");
        s.when(reserve_with(2, R2, "0.5")).refused(no);
    }

    fn seconds_to(per: SpendingPeriod, now: Timestamp) -> u32 {
        u32::try_from((per.end(now).micros() - now.micros()) / 1_000_000).unwrap()
    }
}
