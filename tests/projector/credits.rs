//! An account in which everything happens that can happen to credits beside holds and charges, and the rows of it.

use keyledger::clock;
use keyledger::ledger::{
    ChangeAccount, Charged, CloseAccount, CorrectCredits, EndPlan, GrantCredits, Ledger, RefundCharge, SetThresholds,
    StartPlan,
};
use keyledger_events::{AccountId, GrantSource, Period, PlanStarted, Reason};
use keyledger_projections::{BalanceRows, ChargesRows};

use super::appended::append;
use crate::harness::Harness;
use crate::ledger::customer::{Customer, by_system, credits};

pub fn reason() -> Reason {
    Reason::parse("Because of a test").unwrap()
}

fn grant(account: AccountId) -> GrantCredits {
    GrantCredits {
        account,
        grant: clock::fresh_grant_id(),
        amount: credits("5"),
        priority: 0,
        expires_at: None,
        source: GrantSource::Promotion,
        reference: None,
        starts_at: None,
        endpoints: None,
        reason: Some(reason()),
    }
}

/// Refunds in two parts, one on top of a batch of before; grants of all kinds; plans that renewed, go on and ended; an
/// account that became another one and was closed.
pub async fn everything(harness: &Harness, ledger: &Ledger) {
    let customer = Customer::open(ledger, "10").await;
    let account = customer.account;
    let held = customer.reserve_fresh(ledger).await.unwrap().reply.reservation;
    let at = customer.charge(ledger, held).await.unwrap().position;
    let charged = Charged::read(&harness.log(), account, held, at).await.unwrap().unwrap();
    for amount in [Some(credits("0.1")), None] {
        let refund = RefundCharge {
            charged: charged.clone(),
            refund: clock::fresh_refund_id(),
            grant: clock::fresh_grant_id(),
            amount,
            reason: reason(),
        };
        ledger.submit(refund, by_system()).await.unwrap();
    }
    let set = SetThresholds {
        account,
        thresholds: vec![credits("20"), credits("0.5")],
    };
    ledger.submit(set, by_system()).await.unwrap();
    let bound = GrantCredits {
        endpoints: Some(vec!["serp".to_owned(), "echo".to_owned()].try_into().unwrap()),
        ..grant(account)
    };
    ledger.submit(bound, by_system()).await.unwrap();
    for seconds in [0, 3_600] {
        let later = GrantCredits {
            starts_at: Some(clock::now().plus_seconds(seconds)),
            ..grant(account)
        };
        ledger.submit(later, by_system()).await.unwrap();
    }
    for amount in ["-1.5", "0.5"] {
        let correct = CorrectCredits {
            account,
            correction: clock::fresh_correction_id(),
            grant: clock::fresh_grant_id(),
            amount: credits(amount),
            reason: reason(),
        };
        ledger.submit(correct, by_system()).await.unwrap();
    }
    plans(harness, ledger, account).await;
    let change = ChangeAccount {
        account,
        name: Some(keyledger_events::AccountName::parse("Umbrella").unwrap()),
        external_ref: Some(Some("crm/1".to_owned())),
        credit_limit: Some(credits("2")),
    };
    ledger.submit(change, by_system()).await.unwrap();
    customer.reserve_fresh(ledger).await.unwrap();
    let close = CloseAccount {
        account,
        reason: reason(),
    };
    ledger.submit(close, by_system()).await.unwrap();
}

async fn plans(harness: &Harness, ledger: &Ledger, account: AccountId) {
    for end in [true, false] {
        let start = StartPlan {
            account,
            plan: clock::fresh_plan_id(),
            amount: credits("3"),
            period: Period::Month,
            starts_at: None,
            rollover_cap: credits("1"),
        };
        let plan = start.plan;
        ledger.submit(start, by_system()).await.unwrap();
        if end {
            ledger.submit(EndPlan { account, plan }, by_system()).await.unwrap();
        }
    }
    // One that began two days ago: its periods come with the next command.
    let started = PlanStarted {
        plan: clock::fresh_plan_id(),
        amount: credits("3"),
        period: Period::Day,
        starts_at: clock::now().minus_seconds(2 * 86_400 + 60),
        rollover_cap: credits("1"),
    };
    append(harness, account, vec![started.into()]).await;
}

/// What is beside the sums and the charges' own amounts.
pub async fn equal_credits(harness: &Harness, rows: &BalanceRows, charges: &ChargesRows) {
    let views = harness.views();
    for row in rows.accounts.values() {
        let account = views.account(row.account).await.unwrap().value.unwrap();
        assert_eq!(
            (account.name.as_str(), account.external_ref.as_ref()),
            (row.name.as_str(), row.external_ref.as_ref())
        );
        assert_eq!(
            (account.credit_limit.micros(), account.closed_at),
            (row.credit_limit, row.closed_at)
        );
        let balance = views.balance(row.account).await.unwrap().value.unwrap();
        let sums = (balance.refunded.micros(), balance.corrected.micros());
        assert_eq!(sums, (row.sums.refunded, row.sums.corrected));
        let thresholds = views.thresholds(row.account).await.unwrap().value.unwrap();
        assert_eq!(
            thresholds.iter().map(|amount| amount.micros()).collect::<Vec<_>>(),
            row.thresholds
        );
        for grant in views.grants(row.account, 100, None).await.unwrap().value.unwrap().items {
            let folded = &rows.grants[&(row.account, grant.id)];
            assert_eq!(
                (grant.starts_at, grant.started),
                (folded.starts_at, folded.sums.started)
            );
            assert_eq!(
                (grant.endpoints, grant.expired.micros()),
                (folded.endpoints.clone(), folded.sums.expired)
            );
        }
        let plans = views.plans(row.account, 100, None).await.unwrap().value.unwrap().items;
        assert_eq!(
            plans.len(),
            rows.plans.values().filter(|plan| plan.account == row.account).count()
        );
        for plan in plans {
            let folded = &rows.plans[&(row.account, plan.id)];
            assert_eq!((plan.next_at, plan.ended_at), (folded.next_at, folded.ended_at));
            assert_eq!(i64::try_from(plan.periods).unwrap(), folded.periods);
            assert_eq!(plan.rollover_cap.micros(), folded.rollover_cap);
        }
        for line in views
            .charges(row.account, 10_000, None)
            .await
            .unwrap()
            .value
            .unwrap()
            .items
        {
            assert_eq!(line.refunded.micros(), charges.0[&(row.account, line.id)].refunded);
        }
    }
}
