//! Laws that hold after every command of every history.

use std::collections::HashMap;

use keyledger_events::{
    Credits, DenyReason, Event, KeyDigest, Period, PlanId, Recorded, ReservationId, SpendingLimit, SpendingPeriod,
};
use proptest::prelude::*;

use super::scenario::*;
use super::{Beyond, ChargeDelivered, LimitSpending, NoteDenied, RefundCharge};
use crate::ledger::account::Account;

#[derive(Debug, Clone)]
enum Step {
    Reserve {
        id: u8,
        units: u64,
        price: u32,
        ttl: u32,
        key: u8,
    },
    Charge {
        id: u8,
        units: u64,
    },
    Delivered {
        id: u8,
        units: u64,
    },
    Release {
        id: u8,
    },
    AtOnce {
        id: u8,
        units: u64,
        price: u32,
    },
    Grant {
        n: u8,
        amount: u32,
        priority: i32,
        until: Option<u32>,
        from: Option<u32>,
        bound: bool,
    },
    Refund {
        id: u8,
        amount: Option<u32>,
    },
    Limit {
        limit: u32,
    },
    Correct {
        amount: i32,
    },
    Plan {
        n: u8,
        amount: u32,
        cap: u32,
    },
    EndPlan {
        n: u8,
    },
    WaitDays {
        days: u32,
    },
    Watch {
        amounts: Vec<u32>,
    },
    Close,
    DeleteKey,
    Rotate {
        overlap: u32,
    },
    Denied {
        count: u64,
    },
    Wait {
        seconds: u32,
    },
    Due,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..12, 1u64..4, 1u32..3_000_000, 1u32..200, 1u8..3)
            .prop_map(|(id, units, price, ttl, key)| Step::Reserve { id, units, price, ttl, key }),
        5 => (0u8..12, 0u64..5).prop_map(|(id, units)| Step::Charge { id, units }),
        4 => (0u8..12, 0u64..9).prop_map(|(id, units)| Step::Delivered { id, units }),
        2 => (0u8..12).prop_map(|id| Step::Release { id }),
        2 => (0u8..12, 1u64..4, 1u32..3_000_000).prop_map(|(id, units, price)| Step::AtOnce { id, units, price }),
        3 => (2u8..200, 1u32..5_000_000, -2i32..3, prop::option::of(1u32..400), prop::option::weighted(0.2, 1u32..400), prop::bool::weighted(0.2))
            .prop_map(|(n, amount, priority, until, from, bound)| Step::Grant { n, amount, priority, until, from, bound }),
        3 => (0u8..12, prop::option::of(1u32..3_000_000)).prop_map(|(id, amount)| Step::Refund { id, amount }),
        1 => (0u32..4_000_000).prop_map(|limit| Step::Limit { limit }),
        2 => (-3_000_000i32..0).prop_map(|amount| Step::Correct { amount }),
        1 => (1u8..5, 1u32..3_000_000, 0u32..2_000_000).prop_map(|(n, amount, cap)| Step::Plan { n, amount, cap }),
        1 => (1u8..5).prop_map(|n| Step::EndPlan { n }),
        1 => (1u32..4).prop_map(|days| Step::WaitDays { days }),
        1 => prop::collection::vec(0u32..8_000_000, 0..3).prop_map(|amounts| Step::Watch { amounts }),
        1 => Just(Step::DeleteKey),
        1 => (0u8..9).prop_map(|n| if n == 0 { Step::Close } else { Step::Due }),
        1 => (0u32..300).prop_map(|overlap| Step::Rotate { overlap }),
        1 => (0u64..9).prop_map(|count| Step::Denied { count }),
        4 => (0u32..300).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Due),
    ];
    prop::collection::vec(step, 1..80)
}

/// Ids whose own time is the scenario's begin; waits are short enough that most of them stay timely.
fn id(n: u8) -> ReservationId {
    ReservationId::from_parts(R1.ms(), 100 + u128::from(n))
}

fn delivered(reservation: ReservationId, quantity: u64) -> ChargeDelivered {
    ChargeDelivered {
        account: account_id(),
        reservation,
        quantity,
        beyond: Beyond::ToppedUp,
        client_left: None,
    }
}

fn denied(count: u64) -> NoteDenied {
    NoteDenied {
        digest: KeyDigest::from_bytes([1; 32]),
        reason: DenyReason::Deleted,
        count,
    }
}

/// Of the first key.
fn budget(amount: &str, per: SpendingPeriod) -> LimitSpending {
    LimitSpending {
        account: account_id(),
        key: key_id(),
        limit: Some(SpendingLimit {
            amount: credits(amount),
            per,
        }),
    }
}

fn micros(n: u32) -> String {
    Credits::from_micros(i64::from(n)).unwrap().to_string()
}

fn take_step(s: &mut Scenario, step: &Step, used_grants: &mut Vec<u8>) -> Option<Tried> {
    Some(match step {
        Step::Reserve {
            id: n,
            units,
            price,
            ttl,
            key,
        } => {
            let price = micros(*price);
            let hold = if *key == 1 {
                reserve_units(id(*n), *units, &price)
            } else {
                reserve_with(*key, id(*n), &price)
            };
            s.when(hold.for_seconds(*ttl))
        }
        Step::Charge { id: n, units } => s.when(charge(id(*n), *units)),
        Step::Delivered { id: n, units } => s.when(delivered(id(*n), *units)),
        Step::Release { id: n } => s.when(release(id(*n))),
        Step::AtOnce { id: n, units, price } => s.when(charge_at_once(id(*n), *units, &micros(*price))),
        Step::Grant {
            n,
            amount,
            priority,
            until,
            from,
            bound,
        } => {
            if used_grants.contains(n) {
                return None;
            }
            used_grants.push(*n);
            let mut made = grant(*n, &micros(*amount)).priority(*priority);
            if let Some(from) = from {
                made = made.from(*from);
            }
            if *bound {
                made = made.only_on(&["serp", "ai_visibility"]);
            }
            s.when(if let Some(seconds) = until {
                made.until(*seconds)
            } else {
                made
            })
        }
        Step::Refund { id: n, amount } => {
            let made = refund(&s.history, id(*n))?;
            s.when(RefundCharge {
                amount: amount.map(|amount| credits(&micros(amount))),
                ..made
            })
        }
        Step::Limit { limit } => s.when(change_account().credit_limit(&micros(*limit))),
        Step::Correct { amount } => {
            let amount = Credits::from_micros(i64::from(*amount)).unwrap();
            s.when(correct(&amount.to_string()))
        }
        Step::Plan { n, amount, cap } => {
            if used_plans(&s.history).contains(&plan_id(*n)) {
                return None;
            }
            s.when(plan(*n, &micros(*amount), Period::Day).rolling(&micros(*cap)))
        }
        Step::EndPlan { n } => s.when(end_plan(*n)),
        Step::WaitDays { days } => {
            s.later(*days * 86_400 / 2);
            return None;
        }
        Step::Watch { amounts } => {
            let amounts: Vec<String> = amounts.iter().map(|amount| micros(*amount)).collect();
            let amounts: Vec<&str> = amounts.iter().map(String::as_str).collect();
            s.when(thresholds(&amounts))
        }
        Step::Close => s.when(close_account()),
        Step::DeleteKey => s.when(delete_key()),
        Step::Denied { count } => s.when(denied(*count)),
        Step::Rotate { overlap } => s.when(rotate(9, *overlap)),
        Step::Wait { seconds } => {
            s.later(*seconds);
            return None;
        }
        Step::Due => s.when(settle_due()),
    })
}

fn used_plans(history: &[Recorded]) -> Vec<PlanId> {
    let started = history.iter().filter_map(|recorded| {
        if let Event::PlanStarted(e) = &recorded.event {
            Some(e.plan)
        } else {
            None
        }
    });
    started.collect()
}

fn refold(history: &[Recorded]) -> Account {
    let mut account = Account::nobody(account_id());
    for recorded in history {
        account.evolve(recorded).unwrap();
    }
    account
}

fn sum(parts: impl Iterator<Item = Credits>) -> i64 {
    parts.map(Credits::micros).sum()
}

/// All refunds of a charge together are at most the charge.
fn refunds_are_within_charges(history: &[Recorded]) {
    let mut left = HashMap::new();
    for recorded in history {
        if let Event::CreditsCharged(e) = &recorded.event {
            left.insert(e.reservation, e.charged);
        } else if let Event::CreditsRefunded(e) = &recorded.event {
            let rest = left[&e.reservation].minus_within(e.amount);
            left.insert(e.reservation, rest.expect("more is refunded than was charged"));
        }
    }
}

/// What is owed, and what is held on the credit limit.
fn on_limit(account: &Account) -> i64 {
    account.owed.micros() + sum(account.open.values().map(|h| h.on_limit))
}

/// `owed`: how much was on the credit limit before the last step.
fn laws_hold(account: &Account, owed: i64) {
    let t = &account.totals;
    let all = sum(account.grants.iter().map(|g| g.remaining));
    let free = sum(account.grants.iter().filter(|g| g.is_for_all()).map(|g| g.remaining));
    let held_on_limit = sum(account.open.values().map(|h| h.on_limit));
    let available = account.available().micros();
    assert_eq!(
        free - account.owed.micros() - held_on_limit,
        available,
        "the grants say what the totals say"
    );
    assert_eq!(
        t.granted.micros(),
        available + (all - free) + t.reserved.micros() + t.charged.micros() - t.refunded.micros()
            + t.expired.micros()
            + t.corrected.micros()
    );
    assert_eq!(sum(account.open.values().map(|h| h.amount)), t.reserved.micros());
    let held = sum(account.grants.iter().map(|g| g.held));
    assert_eq!(
        held + held_on_limit,
        t.reserved.micros(),
        "what is held is held somewhere"
    );
    assert!(
        account
            .grants
            .iter()
            .all(|g| !g.remaining.is_negative() && !g.held.is_negative())
    );
    let limit = account.opened.as_ref().unwrap().credit_limit;
    assert!(
        on_limit(account) <= limit.micros().max(owed),
        "nobody comes to owe more than the credit limit"
    );
    for key in account.keys.values() {
        let open = account.open.values().filter(|h| h.work.key == Some(key.id)).count();
        assert_eq!(usize::try_from(key.open).unwrap(), open);
        let held = account.open.values().filter(|h| h.work.key == Some(key.id));
        assert_eq!(sum(held.map(|h| h.amount)), key.spending.held.micros());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn laws_hold_in_every_history(steps in steps(), limit in prop_oneof![Just(0u32), 1u32..4_000_000]) {
        let mut s = Scenario::with_limit("5", &micros(limit));
        s.when(create_key(2).scoped(&["echo", "serp"])).succeeds();
        s.when(budget("4", SpendingPeriod::Day)).succeeds();
        let mut grants = Vec::new();
        for step in &steps {
            let owed = on_limit(s.account());
            take_step(&mut s, step, &mut grants);
            laws_hold(s.account(), owed);
            for key in s.account().keys.values() {
                let Some(budget) = key.limits.spending else { continue };
                prop_assert!(key.spending.spent(budget.per, s.now).unwrap() <= budget.amount);
            }
        }
        refunds_are_within_charges(&s.history);
        prop_assert_eq!(&refold(&s.history), s.account(), "the state is the fold of its own events");
        let snapshot = serde_json::to_vec(s.account()).unwrap();
        prop_assert_eq!(&serde_json::from_slice::<Account>(&snapshot).unwrap(), s.account(), "a snapshot is the state");
    }

    #[test]
    fn a_command_sent_twice_changes_nothing_the_second_time(steps in steps()) {
        let mut s = Scenario::with_credits("20");
        s.when(create_key(2)).succeeds();
        let mut grants = Vec::new();
        for step in &steps {
            let first = take_step(&mut s, step, &mut grants);
            if first.is_some_and(|tried| !tried.was_refused()) && !matches!(step, Step::Grant { .. } | Step::Refund { .. } | Step::Correct { .. } | Step::Plan { .. }) {
                let again = take_step(&mut s, step, &mut grants).unwrap();
                prop_assert!(again.wrote_nothing(), "{step:?} wrote {again:?}");
            }
        }
    }

    #[test]
    fn never_below_zero_without_a_credit_limit(steps in steps()) {
        let mut s = Scenario::with_credits("3");
        let mut grants = Vec::new();
        for step in steps.iter().filter(|step| !matches!(step, Step::Limit { .. })) {
            take_step(&mut s, step, &mut grants);
            prop_assert!(!s.account().available().is_negative());
        }
    }
}
