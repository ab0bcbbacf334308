//! Accounts that are not in memory: who waits for them, and that what was read is never older than what is decided on it.

use std::collections::HashSet;
use std::time::Duration;

use keyledger::clock;
use keyledger::ledger::{
    By, Ledger, LedgerOptions, Payer, Refusal, ReserveCredits, SubmitError, idempotent_command_id,
};
use keyledger::log::Log;
use keyledger_events::{Event, KeyDigest, ReservationId, Shard};
use sqlx::Executor as _;
use tokio_util::sync::CancellationToken;

use super::customer::{Customer, by_system, create_key, credits, open_account};
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
        // So far apart that another reading begins for each, and that they are more than are read at once.
        tokio::time::sleep(Duration::from_millis(8)).await;
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
    const ACCOUNTS: usize = 4;
    const BEFORE: usize = 400;
    for processes in 1..=2 {
        let harness = Harness::start().await;
        keep_no_snapshots(&harness).await;
        let (earlier, mut customers) = (harness.ledger(), Vec::new());
        for _ in 0..ACCOUNTS {
            let customer = Customer::open(&earlier, "230").await;
            let (_, second) = create_key(&earlier, customer.account).await;
            pay_often(&earlier, &customer, BEFORE).await;
            customers.push((customer, second));
        }
        let ledgers: Vec<Ledger> = (0..processes).map(|_| forgetful(&harness)).collect();
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
        assert!(held.is_subset(&in_log), "what was told is there");
        assert_eq!(held.len(), ACCOUNTS * 60);
        assert_eq!(in_log.len(), ACCOUNTS * (BEFORE + 60));
        for (customer, _) in &customers {
            assert_eq!(replay(&events, customer).available(), credits("0"));
        }
    }
}

/// A process reads an account with a long history, while it is busy with another one; another process appends to it all the time.
#[tokio::test(flavor = "multi_thread")]
async fn load_on_an_account_that_another_process_changes_while_it_is_read() {
    const BEFORE: usize = 1_000;
    const READERS: usize = 20;
    let harness = Harness::start().await;
    keep_no_snapshots(&harness).await;
    let other = harness.ledger();
    let long = Customer::open(&other, "100000").await;
    pay_often(&other, &long, BEFORE).await;
    let hot = Customer::open(&other, "100000").await;
    let stop = CancellationToken::new();
    let busy = {
        let (other, long, stop) = (other.clone(), long.clone(), stop.clone());
        tokio::spawn(async move {
            let mut times = 0;
            while !stop.is_cancelled() {
                pay(&other, &long).await;
                times += 1;
                // Now and then nothing is appended for as long as a turn takes.
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
            times
        })
    };
    let (mut of_long, mut of_hot) = (BEFORE, 0);
    for _ in 0..READERS {
        let reader = harness.ledger();
        pay(&reader, &hot).await;
        let mut reading = std::pin::pin!(pay(&reader, &long));
        loop {
            of_hot += 1;
            tokio::select! {
                () = &mut reading => break,
                () = pay(&reader, &hot) => {}
            }
        }
        of_long += 1;
    }
    stop.cancel();
    of_long += busy.await.unwrap();
    let events = whole_log(&harness.log()).await;
    let paid = |times: usize| credits("0.5").times(u64::try_from(times).unwrap()).unwrap();
    assert_eq!(
        replay(&events, &long).available(),
        credits("100000").minus(paid(of_long)).unwrap()
    );
    assert!(replay(&events, &hot).available() < credits("100000").minus(paid(READERS)).unwrap());
    assert!(of_hot > READERS, "the other one was served meanwhile");
}

/// So that each reading has to read an account's whole history.
async fn keep_no_snapshots(harness: &Harness) {
    let mut owner = harness.owner().await;
    owner
        .execute(
            "create function keep_nothing() returns trigger language plpgsql as 'begin return null; end';
             create trigger keep_nothing before insert on account_snapshots for each row execute function keep_nothing()",
        )
        .await
        .unwrap();
}

async fn pay_often(ledger: &Ledger, customer: &Customer, times: usize) {
    // An account has so many open holds at most.
    for begin in (0..times).step_by(500) {
        let these = begin..times.min(begin + 500);
        futures_util::future::join_all(these.map(|_| pay(ledger, customer))).await;
    }
}

/// Holds and charges. Two processes take turns, and somebody may have waited for too long.
async fn pay(ledger: &Ledger, customer: &Customer) {
    loop {
        match customer.reserve_fresh(ledger).await {
            Ok(held) => return charge(ledger, customer, held.reply.reservation).await,
            Err(SubmitError::Busy) => continue,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn charge(ledger: &Ledger, customer: &Customer, reservation: ReservationId) {
    loop {
        match customer.charge(ledger, reservation).await {
            Ok(_) => return,
            Err(SubmitError::Busy) => continue,
            Err(error) => panic!("{error}"),
        }
    }
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
            charge(ledger, customer, reservation).await;
        }
    }
}

/// Whoever is read together with an account that nobody can read is served, and its keys are not said to be wrong.
#[tokio::test]
async fn an_account_that_cannot_be_read_is_an_error_for_its_own_keys_alone() {
    const DAMAGES: [&str; 2] = [
        "replace(convert_from(body, 'UTF8'), '\"data\":', '\"date\":')",
        "regexp_replace(convert_from(body, 'UTF8'), '\"accountseq\":[0-9]+', '\"accountseq\":9999')",
    ];
    let harness = Harness::start().await;
    let before = harness.ledger();
    let first = Customer::open(&before, "10").await;
    for (damage, digit) in DAMAGES.into_iter().zip(["a", "b"]) {
        // Each under an idempotency key.
        let [by_broken, by_sound, by_fresh] = ["1", "2", "3"].map(|last| By {
            command: idempotent_command_id(&(digit.repeat(39) + last), "f").unwrap(),
            ..by_system()
        });
        let sound = Customer::open_by(&before, "10", by_sound.clone()).await;
        let broken = Customer::open_by(&before, "10", by_broken.clone()).await;
        let mut owner = harness.owner().await;
        owner.execute("set session_replication_role = replica").await.unwrap();
        let change = format!("update events set body = convert_to({damage}, 'UTF8') where account_id = $1 and seq = 2");
        let changed = sqlx::query(sqlx::AssertSqlSafe(change))
            .bind(uuid::Uuid::from_bytes(broken.account.to_bytes()))
            .execute(&mut owner)
            .await
            .unwrap();
        assert_eq!(changed.rows_affected(), 1);

        let ledger = harness.ledger();
        owner
            .execute("begin; lock table account_snapshots in access exclusive mode")
            .await
            .unwrap();
        let ask = |payer| {
            let (command, ledger) = (sound.reserve(clock::fresh_reservation_id()), ledger.clone());
            tokio::spawn(async move { ledger.submit(ReserveCredits { payer, ..command }, by_system()).await })
        };
        // The first begins to be read, and the others share the next reading.
        let read_first = ask(Payer::Key(first.digest));
        tokio::task::yield_now().await;
        let by_key = ask(Payer::Key(broken.digest));
        let by_account = ask(Payer::Account(broken.account));
        let of_another = ask(Payer::Key(sound.digest));
        let unknown = ask(Payer::Key(KeyDigest::from_bytes([7; 32])));
        tokio::time::sleep(Duration::from_millis(50)).await;
        owner.execute("rollback").await.unwrap();
        read_first.await.unwrap().unwrap();
        of_another.await.unwrap().unwrap();
        for answer in [by_key, by_account] {
            let answer = answer.await.unwrap();
            assert!(matches!(answer, Err(SubmitError::Broken)), "{damage}: {answer:?}");
        }
        let unknown = unknown.await.unwrap();
        let Err(SubmitError::Refused { refusal, .. }) = unknown else {
            panic!("{unknown:?}")
        };
        assert_eq!(refusal, Refusal::KeyInvalid);
        // The key that opened it opens no other one. A second time nothing is read.
        let ledger = harness.ledger();
        let open = |by| ledger.submit(open_account(clock::fresh_account_id()), by);
        for _ in 0..2 {
            let (again, of_another, fresh) =
                tokio::join!(open(by_broken.clone()), open(by_sound.clone()), open(by_fresh.clone()));
            assert!(matches!(again, Err(SubmitError::Broken)), "{damage}: {again:?}");
            assert_eq!(of_another.unwrap().reply.account, sound.account);
            fresh.unwrap();
        }
    }
}

#[tokio::test]
async fn whoever_waits_for_a_reading_when_the_writer_is_told_to_stop_is_answered() {
    let harness = Harness::start().await;
    let before = harness.ledger();
    let [here, slow] = [Customer::open(&before, "10").await, Customer::open(&before, "10").await];
    let stop = harness.stop.child_token();
    let log = Log::new(harness.another_pool(), Shard(0));
    let (ledger, writer) = Ledger::start(log, LedgerOptions::default(), stop.clone());
    here.reserve_fresh(&ledger).await.unwrap();
    let mut owner = harness.owner().await;
    let lock = "begin; lock table account_snapshots in access exclusive mode";
    owner.execute(lock).await.unwrap();
    let (asked, command) = (ledger.clone(), slow.reserve(clock::fresh_reservation_id()));
    let waiting = tokio::spawn(async move { asked.submit(command, by_system()).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.cancel();
    drop(ledger);
    tokio::time::sleep(Duration::from_millis(300)).await;
    owner.execute("rollback").await.unwrap();
    waiting.await.unwrap().unwrap();
    writer.await.unwrap();
}
