//! A result that is paid once: by whichever process, and after any restart.

use keyledger::clock;
use keyledger::ledger::{Charge, Held, Ledger, ReserveCredits};
use keyledger_events::{CreditsReserved, Event, OnceMark};

use super::customer::{Customer, by_system, credits};
use super::writers::whole_log;
use crate::harness::Harness;

async fn hold(customer: &Customer, ledger: &Ledger, mark: OnceMark) -> Held {
    let reserve = ReserveCredits {
        once: Some(mark),
        ..customer.reserve(clock::fresh_reservation_id())
    };
    ledger.submit(reserve, by_system()).await.unwrap().reply
}

async fn charge(customer: &Customer, ledger: &Ledger, held: &Held) -> Charge {
    customer.charge(ledger, held.reservation).await.unwrap().reply
}

fn mark(number: u32) -> OnceMark {
    OnceMark::from_bytes(u128::from(number).to_be_bytes())
}

/// The race: both hold before either is charged, and both charges are decided against what each process has read.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_that_charge_one_result_exactly_one_does_a_hundred_times() {
    let harness = Harness::start().await;
    let (here, there) = (harness.ledger(), harness.ledger());
    let customer = Customer::open(&here, "100").await;
    for round in 0..100 {
        let (one, other) = tokio::join!(
            hold(&customer, &here, mark(round)),
            hold(&customer, &there, mark(round))
        );
        assert!(!one.paid && !other.paid);
        let (one, other) = tokio::join!(charge(&customer, &here, &one), charge(&customer, &there, &other));
        let mut sums = [one.charged.to_string(), other.charged.to_string()];
        sums.sort();
        assert_eq!(sums, ["0", "0.5"], "round {round}");
        assert!(one.paid_before != other.paid_before);
        assert_eq!(one.charged.plus(one.returned), other.charged.plus(other.returned));
    }
    let charges = whole_log(&harness.log()).await;
    let charges = charges.iter().filter(|e| matches!(e.event, Event::CreditsCharged(_)));
    assert_eq!(charges.count(), 100);
    let last = hold(&customer, &here, mark(1_000)).await;
    assert_eq!(last.available, credits("49.5"));
}

#[tokio::test]
async fn what_was_paid_is_free_after_a_restart_and_in_another_process() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    let customer = Customer::open(&ledger, "0.5").await;
    let first = hold(&customer, &ledger, mark(1)).await;
    charge(&customer, &ledger, &first).await;
    // A ledger with an empty memory, and nothing left to pay with.
    let again = harness.ledger();
    let second = hold(&customer, &again, mark(1)).await;
    assert!(second.paid && second.amount.is_zero());
    let free = charge(&customer, &again, &second).await;
    assert!(free.paid_before && free.charged.is_zero());
    // And a charge that is sent again has the same answer.
    assert!(charge(&customer, &again, &second).await.paid_before);
    let log = whole_log(&harness.log()).await;
    let marked = log
        .iter()
        .filter(|e| matches!(&e.event, Event::CreditsReserved(CreditsReserved { once: Some(_), .. })));
    assert_eq!(marked.count(), 2);
}
