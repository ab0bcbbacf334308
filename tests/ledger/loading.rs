//! Accounts that are not in memory: who waits for them, and that what was read is never older than what is decided on it.

use std::collections::HashSet;

use keyledger::clock;
use keyledger::ledger::{Ledger, LedgerOptions, Payer, ReserveCredits, SubmitError};
use keyledger::log::Log;
use keyledger_events::{Event, ReservationId, Shard};
use sqlx::Executor as _;
use tokio_util::sync::CancellationToken;

use super::customer::{Customer, by_system, create_key, credits};
use super::writers::{is_broke, replay, whole_log};
use crate::harness::Harness;

#[tokio::test]
async fn who_is_in_memory_does_not_wait_for_who_is_read() {
    const COLD: usize = 8;
    let harness = Harness::start().await;
    let (mut cold, before) = (Vec::new(), harness.ledger());
    for _ in 0..COLD {
        cold.push(Customer::open(&before, "10").await);
    }
    let hot = Customer::open(&before, "100").await;
    let ledger = harness.ledger();
    hot.reserve_fresh(&ledger).await.unwrap();

    let mut owner = harness.owner().await;
    owner
        .execute("begin; lock table account_snapshots in access exclusive mode")
        .await
        .unwrap();
    let mut waiting = Vec::new();
    for customer in cold.iter().chain(&cold) {
        let (customer, ledger) = (customer.clone(), ledger.clone());
        waiting.push(tokio::spawn(async move { customer.reserve_fresh(&ledger).await }));
        // One after the other, so that they are more than are read at once.
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        hot.reserve_fresh(&ledger).await.unwrap();
    }
    assert!(waiting.iter().all(|cold| !cold.is_finished()), "nothing was read");
    owner.execute("rollback").await.unwrap();
    for (n, cold) in waiting.into_iter().enumerate() {
        cold.await.unwrap().unwrap_or_else(|error| panic!("{n}: {error}"));
    }
    let available = cold[0].reserve_fresh(&ledger).await.unwrap().reply.available;
    assert_eq!(available, credits("8.5"), "each was decided once");
}

/// A memory that holds one account forgets each as soon as it may, and each is asked for by two keys and by itself: so accounts
/// are read while they change.
#[tokio::test(flavor = "multi_thread")]
async fn load_on_accounts_that_are_read_while_they_change_loses_and_doubles_nothing() {
    const ACCOUNTS: usize = 8;
    for processes in 1..=2 {
        let harness = Harness::start().await;
        let ledgers: Vec<Ledger> = (0..processes).map(|_| forgetful(&harness)).collect();
        let mut customers = Vec::new();
        for _ in 0..ACCOUNTS {
            let customer = Customer::open(&ledgers[0], "60").await;
            let (_, second) = create_key(&ledgers[0], customer.account).await;
            customers.push((customer, second));
        }
        let callers: Vec<_> = (0..ACCOUNTS * 9)
            .map(|n| {
                let ledger = ledgers[n % ledgers.len()].clone();
                let (customer, second) = customers[n % ACCOUNTS].clone();
                let payer = match n / ACCOUNTS % 3 {
                    0 => Payer::Key(customer.digest),
                    1 => Payer::Key(second),
                    _ => Payer::Account(customer.account),
                };
                tokio::spawn(async move { spend(&ledger, &customer, payer).await })
            })
            .collect();
        let mut held = HashSet::new();
        for caller in callers {
            held.extend(caller.await.unwrap());
        }
        let events = whole_log(&harness.log()).await;
        let in_log: HashSet<ReservationId> = events
            .iter()
            .filter_map(|recorded| {
                if let Event::CreditsReserved(reserved) = &recorded.event {
                    Some(reserved.reservation)
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(held, in_log, "what was told is what is there");
        assert_eq!(held.len(), ACCOUNTS * 120);
        for (customer, _) in &customers {
            assert_eq!(replay(&events, customer).available(), credits("0"));
        }
    }
}

/// One process reads an account with a long history again and again, while it is busy with another one; the other process
/// appends to it all the time.
#[tokio::test(flavor = "multi_thread")]
async fn load_on_an_account_that_another_process_changes_while_it_is_read() {
    const BEFORE: usize = 1_500;
    let harness = Harness::start().await;
    let (reader, other) = (forgetful(&harness), harness.ledger());
    let long = Customer::open(&other, "100000").await;
    for _ in 0..BEFORE / 500 {
        for paid in futures_util::future::join_all((0..500).map(|_| pay(&other, &long))).await {
            paid.unwrap();
        }
    }
    let hot = Customer::open(&other, "100000").await;
    let stop = CancellationToken::new();
    let busy = [(&other, &long), (&reader, &hot)].map(|(ledger, customer)| {
        let (ledger, customer, stop) = (ledger.clone(), customer.clone(), stop.clone());
        tokio::spawn(async move {
            let mut times = 0;
            while !stop.is_cancelled() {
                pay(&ledger, &customer).await.unwrap();
                times += 1;
            }
            times
        })
    });
    let mut owner = harness.owner().await;
    for _ in 0..20 {
        owner.execute("delete from account_snapshots").await.unwrap();
        pay(&reader, &long).await.unwrap();
    }
    stop.cancel();
    let [of_long, of_hot] = busy;
    let times = BEFORE + 20 + of_long.await.unwrap();
    let events = whole_log(&harness.log()).await;
    for (customer, times) in [(long, times), (hot, of_hot.await.unwrap())] {
        let paid = credits("0.5").times(u64::try_from(times).unwrap()).unwrap();
        let left = credits("100000").minus(paid).unwrap();
        assert_eq!(replay(&events, &customer).available(), left);
    }
}

async fn pay(ledger: &Ledger, customer: &Customer) -> Result<(), SubmitError> {
    let held = customer.reserve_fresh(ledger).await?;
    customer.charge(ledger, held.reply.reservation).await?;
    Ok(())
}

fn forgetful(harness: &Harness) -> Ledger {
    let options = LedgerOptions {
        account_bytes_max: 1,
        ..LedgerOptions::default()
    };
    let log = Log::new(harness.another_pool(), Shard(0));
    Ledger::start(log, options, harness.stop.clone()).0
}

/// Holds until nothing is left. The first of each two holds is charged.
async fn spend(ledger: &Ledger, customer: &Customer, payer: Payer) -> Vec<ReservationId> {
    let mut held = Vec::new();
    loop {
        let reservation = clock::fresh_reservation_id();
        let reserve = ReserveCredits {
            payer,
            ..customer.reserve(reservation)
        };
        match ledger.submit(reserve, by_system()).await {
            Ok(_) => held.push(reservation),
            Err(error) if is_broke(&error) => return held,
            // Two processes take turns, and somebody may wait for long.
            Err(SubmitError::Busy) => continue,
            Err(error) => panic!("{error}"),
        }
        if held.len() % 2 == 1 {
            customer.charge(ledger, reservation).await.unwrap();
        }
    }
}
