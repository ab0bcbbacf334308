//! Writers under load, alone and against each other.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keyledger::clock;
use keyledger::ledger::{Account, CloseAccount, Ledger, LedgerOptions, Payer, Refusal, ReserveCredits, SubmitError};
use keyledger::log::Log;
use keyledger_events::{Event, Position, Reason, Recorded, ReservationId};

use super::customer::{Customer, by_system, create_key, credits, reserve};
use crate::harness::Harness;

/// The whole log, each event proved canonical, in order without a gap.
pub async fn whole_log(log: &Log) -> Vec<Recorded> {
    let mut events = whole_log_as_it_is(log).await;
    log.open(&mut events).await.unwrap();
    events
}

/// The same, with what it says of people still sealed.
pub async fn whole_log_as_it_is(log: &Log) -> Vec<Recorded> {
    let mut events: Vec<Recorded> = Vec::new();
    loop {
        let after = events.last().map_or(Position::START, |last| last.position);
        let page = log.read(after, 5_000).await.unwrap();
        if page.is_empty() {
            return events;
        }
        for stored in page {
            let recorded = Recorded::decode(&stored.body).unwrap();
            assert_eq!(
                recorded.position.0,
                u64::try_from(events.len()).unwrap() + 1,
                "positions have no gap"
            );
            events.push(recorded);
        }
    }
}

pub fn replay(events: &[Recorded], customer: &Customer) -> Account {
    let mut account = Account::nobody(customer.account);
    for recorded in events.iter().filter(|recorded| recorded.account == customer.account) {
        account.evolve(recorded).unwrap();
        assert!(!account.available().is_negative(), "overspent at {}", recorded.position);
    }
    account
}

pub fn is_broke(error: &SubmitError) -> bool {
    matches!(
        error,
        SubmitError::Refused {
            refusal: Refusal::InsufficientCredits { .. },
            ..
        }
    )
}

#[tokio::test]
async fn load_of_a_thousand_reservations_spends_exactly_what_is_there() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    let customer = Arc::new(Customer::open(&ledger, "100").await);
    let tries: Vec<_> = (0..1_000)
        .map(|_| {
            let (ledger, customer) = (ledger.clone(), Arc::clone(&customer));
            tokio::spawn(async move { customer.reserve_fresh(&ledger).await })
        })
        .collect();
    let (mut held, mut broke) = (0, 0);
    for tried in tries {
        match tried.await.unwrap() {
            Ok(_) => held += 1,
            Err(error) if is_broke(&error) => broke += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((held, broke), (200, 800));
    let events = whole_log(&harness.log()).await;
    assert_eq!(events.len(), 3 + 2 * 200, "a refusal writes nothing");
    let account = replay(&events, &customer);
    assert_eq!(account.available(), credits("0"));
    assert_eq!(account.open.len(), 200);
}

#[tokio::test]
async fn load_from_two_processes_on_the_same_accounts_loses_and_doubles_nothing() {
    let harness = Harness::start().await;
    let processes = [harness.ledger(), harness.ledger()];
    let mut customers = Vec::new();
    for _ in 0..3 {
        customers.push(Customer::open(&processes[0], "50").await);
    }
    let customers = Arc::new(customers);
    let workers: Vec<_> = (0..48usize)
        .map(|n| {
            let (ledger, customers) = (processes[n % 2].clone(), Arc::clone(&customers));
            tokio::spawn(async move { hammer(&ledger, &customers[n % 3]).await })
        })
        .collect();
    let mut acknowledged = HashSet::new();
    for worker in workers {
        acknowledged.extend(worker.await.unwrap());
    }
    let events = whole_log(&harness.log()).await;
    let charged: Vec<ReservationId> = events
        .iter()
        .filter_map(|recorded| {
            if let Event::CreditsCharged(e) = &recorded.event {
                Some(e.reservation)
            } else {
                None
            }
        })
        .collect();
    let once: HashSet<ReservationId> = charged.iter().copied().collect();
    assert_eq!(once.len(), charged.len(), "nothing is charged twice");
    assert_eq!(
        once, acknowledged,
        "what was acknowledged is in the log, and nothing else"
    );
    for customer in customers.iter() {
        let account = replay(&events, customer);
        assert_eq!(account.available(), credits("0"), "everything was spent, and no more");
        assert_eq!(account.totals.charged, credits("50"));
    }
}

/// A process that has written a thousand events while another wrote hardly any is starving the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_from_two_processes_starves_neither() {
    const CALLERS: usize = 24;
    const ENOUGH: usize = 800;
    let harness = Harness::start().await;
    let processes = [harness.ledger(), harness.ledger()];
    let customers = Arc::new([
        Customer::open(&processes[0], "100000").await,
        Customer::open(&processes[1], "100000").await,
    ]);
    let done: Arc<[AtomicUsize; 2]> = Arc::default();
    let callers: Vec<_> = (0..2 * CALLERS)
        .map(|n| {
            let (ledger, customers, done) = (processes[n % 2].clone(), Arc::clone(&customers), Arc::clone(&done));
            tokio::spawn(async move {
                while done.iter().all(|side| side.load(Ordering::Relaxed) < ENOUGH) {
                    customers[n % 2].reserve_fresh(&ledger).await.unwrap();
                    done[n % 2].fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let least = done.iter().map(|side| side.load(Ordering::Relaxed)).min().unwrap();
    assert!(least >= ENOUGH / 5, "one did {ENOUGH}, the other {least}");
    let events = whole_log(&harness.log()).await;
    let held = |customer: &Customer| replay(&events, customer).open.len();
    let written: usize = customers.iter().map(held).sum();
    let answered: usize = done.iter().map(|side| side.load(Ordering::Relaxed)).sum();
    assert_eq!(written, answered, "what was answered is in the log, once");
}

/// Reserves and charges until the credits are gone.
async fn hammer(ledger: &Ledger, customer: &Customer) -> Vec<ReservationId> {
    let mut charged = Vec::new();
    loop {
        match customer.reserve_fresh(ledger).await {
            Ok(held) => {
                let id = held.reply.reservation;
                loop {
                    match customer.charge(ledger, id).await {
                        Ok(_) => break,
                        Err(SubmitError::Busy) => continue,
                        Err(error) => panic!("{error}"),
                    }
                }
                charged.push(id);
            }
            Err(SubmitError::Busy) => continue,
            Err(error) if is_broke(&error) => return charged,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn load_on_a_key_stops_everywhere_once_its_deletion_is_answered() {
    let harness = Harness::start().await;
    let [here, there] = [harness.ledger(), harness.ledger()];
    let customer = Customer::open(&here, "1000").await;
    for round in 0..100 {
        let (key, digest) = create_key(&here, customer.account).await;
        let uses: Vec<_> = (0..8)
            .map(|n| {
                let ledger = if n % 2 == 0 { here.clone() } else { there.clone() };
                tokio::spawn(async move {
                    let id = clock::fresh_reservation_id();
                    ledger.submit(reserve(digest, id), by_system()).await
                })
            })
            .collect();
        let delete = keyledger::ledger::DeleteKey {
            account: customer.account,
            key,
            reason: keyledger_events::DeleteReason::Requested,
        };
        let deleted_at = here.submit(delete, by_system()).await.unwrap().position;
        for ledger in [&here, &there] {
            let after = ledger
                .submit(reserve(digest, clock::fresh_reservation_id()), by_system())
                .await;
            let refused = matches!(
                &after,
                Err(SubmitError::Refused {
                    refusal: Refusal::KeyDeleted,
                    ..
                })
            );
            assert!(refused, "round {round}: {after:?}");
        }
        for used in uses {
            match used.await.unwrap() {
                Ok(held) => assert!(held.position < deleted_at, "round {round}: a use after the deletion"),
                Err(SubmitError::Refused {
                    refusal: Refusal::KeyDeleted,
                    ..
                }) => {}
                Err(error) => panic!("round {round}: {error}"),
            }
        }
    }
}

#[tokio::test]
async fn work_under_way_hears_of_a_deletion_in_another_process() {
    let harness = Harness::start().await;
    let [here, there] = [harness.ledger(), harness.ledger()];
    let customer = Customer::open(&here, "10").await;
    customer.reserve_fresh(&there).await.unwrap();
    let working = there.key_signals().begin(customer.key);
    here.submit(customer.delete_key(), by_system()).await.unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(1), working.key_deleted())
        .await
        .expect("it hears within 1 s");
}

#[tokio::test]
async fn the_same_reservation_sent_a_hundred_times_is_one_hold_and_one_charge() {
    let harness = Harness::start().await;
    let ledgers = [harness.ledger(), harness.ledger()];
    let customer = Arc::new(Customer::open(&ledgers[0], "100").await);
    let id = clock::fresh_reservation_id();
    let tries: Vec<_> = (0..100usize)
        .map(|n| {
            let (ledger, customer) = (ledgers[n % 2].clone(), Arc::clone(&customer));
            tokio::spawn(async move {
                ledger
                    .submit(customer.reserve(id), by_system())
                    .await
                    .map(|answer| answer.reply)
            })
        })
        .collect();
    for tried in tries {
        assert_eq!(tried.await.unwrap().unwrap().reservation, id);
    }
    let tries: Vec<_> = (0..100usize)
        .map(|n| {
            let (ledger, customer) = (ledgers[n % 2].clone(), Arc::clone(&customer));
            tokio::spawn(async move { customer.charge(&ledger, id).await })
        })
        .collect();
    let mut fresh = 0;
    for tried in tries {
        fresh += i32::from(!tried.await.unwrap().unwrap().replayed);
    }
    assert_eq!(fresh, 1);
    let events = whole_log(&harness.log()).await;
    assert_eq!(events.len(), 3 + 3, "one use, one hold, one charge");
}

#[tokio::test]
async fn a_small_memory_only_costs_reads() {
    let harness = Harness::start().await;
    let options = LedgerOptions {
        account_bytes_max: 1,
        ..LedgerOptions::default()
    };
    let log = Log::new(harness.another_pool(), keyledger_events::Shard(0));
    let (ledger, _) = Ledger::start(log, options, harness.stop.clone());
    let mut customers = Vec::new();
    for _ in 0..5 {
        customers.push(Customer::open(&ledger, "1").await);
    }
    for customer in customers.iter().chain(&customers) {
        let held = customer.reserve_fresh(&ledger).await.unwrap();
        customer.charge(&ledger, held.reply.reservation).await.unwrap();
    }
    for customer in &customers {
        assert!(is_broke(&customer.reserve_fresh(&ledger).await.unwrap_err()));
    }
}

#[tokio::test]
async fn a_snapshot_is_a_shortcut_and_a_bad_one_is_not_believed() {
    let harness = Harness::start().await;
    let customer = {
        let ledger = harness.ledger();
        let customer = Customer::open(&ledger, "1000").await;
        for _ in 0..400 {
            let held = customer.reserve_fresh(&ledger).await.unwrap();
            customer.charge(&ledger, held.reply.reservation).await.unwrap();
        }
        customer
    };
    let mut owner = harness.owner().await;
    crate::harness::until("a snapshot is kept", async || {
        let kept: i64 = sqlx::query_scalar("select count(*) from account_snapshots")
            .fetch_one(&mut owner)
            .await
            .unwrap();
        kept == 1
    })
    .await;
    let held = customer.reserve_fresh(&harness.ledger()).await.unwrap();
    assert_eq!(held.reply.available, credits("799.5"));
    // A snapshot that does not fit the events that follow it: the events decide.
    sqlx::query("update account_snapshots set state = convert_to(replace(convert_from(state, 'UTF8'), '\"open\":{}', '\"open\":{},\"x\":1'), 'UTF8'), seq = seq - 1")
        .execute(&mut owner)
        .await
        .unwrap();
    let held = customer.reserve_fresh(&harness.ledger()).await.unwrap();
    assert_eq!(held.reply.available, credits("799"));
    let account = replay(&whole_log(&harness.log()).await, &customer);
    assert_eq!(account.available(), credits("799"));
}

#[tokio::test]
async fn a_full_queue_says_so_instead_of_waiting() {
    let harness = Harness::start().await;
    let options = LedgerOptions {
        waiting_commands_max: 1,
        ..LedgerOptions::default()
    };
    let log = Log::new(harness.another_pool(), keyledger_events::Shard(0));
    let (ledger, _) = Ledger::start(log, options, harness.stop.clone());
    let customer = Arc::new(Customer::open(&ledger, "100").await);
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let (ledger, customer) = (ledger.clone(), Arc::clone(&customer));
            tokio::spawn(async move { customer.reserve_fresh(&ledger).await })
        })
        .collect();
    let mut busy = 0;
    for tried in tries {
        busy += usize::from(matches!(tried.await.unwrap(), Err(SubmitError::Busy)));
    }
    assert!(busy > 0);
    let holds = whole_log(&harness.log())
        .await
        .iter()
        .filter(|e| matches!(e.event, Event::CreditsReserved(_)))
        .count();
    assert_eq!(holds, 50 - busy, "whoever was told to come later is not in the log");
}

/// As much as an account may hold at once is given back in one append.
#[tokio::test]
async fn load_an_account_with_ten_thousand_holds_is_closed_in_one_piece() {
    const HOLDS: usize = 10_000;
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    let customer = Arc::new(Customer::open(&ledger, "5000").await);
    let holds = (0..HOLDS).map(|_| {
        let hold = ReserveCredits {
            payer: Payer::Account(customer.account),
            ..customer.reserve(clock::fresh_reservation_id())
        };
        ledger.submit(hold, by_system())
    });
    for held in futures_util::future::join_all(holds).await {
        held.unwrap();
    }
    let before = harness.log().head().await.unwrap().position;
    let close = CloseAccount {
        account: customer.account,
        reason: Reason::parse("Contract ended").unwrap(),
    };
    let closed = ledger.submit(close, by_system()).await.unwrap();
    assert_eq!(
        closed.position.0 - before.0,
        2 + u64::try_from(HOLDS).unwrap(),
        "itself, its key, its holds"
    );
    let account = replay(&whole_log(&harness.log()).await, &customer);
    assert_eq!((account.open.len(), account.available()), (0, credits("5000")));
}

#[tokio::test]
async fn an_id_that_is_ahead_of_who_decides_is_made_anew_by_the_time_that_it_is_there() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    let customer = Customer::open(&ledger, "100").await;
    let ahead = clock::now().plus_seconds(300);
    let own = ledger.fresh_reservation_id(Some(ahead));
    assert_eq!(own.ms(), ahead.ms());
    let refused = ledger.submit(customer.reserve(own), by_system()).await.unwrap_err();
    let told = refused.time_told();
    assert!(told.is_some_and(|told| told < ahead), "{refused}");
    let anew = ledger.fresh_reservation_id(told);
    ledger.submit(customer.reserve(anew), by_system()).await.unwrap();
}
