//! Postgres dies under load, again and again: commands fail with an answer that is true, and go on by themselves.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyledger::clock;
use keyledger::ledger::{Ledger, LedgerOptions, SubmitError};
use keyledger::local::{PostgresOptions, PrivatePostgres};
use keyledger::log::{Log, open_pool, service_options};
use keyledger_events::{Event, ReservationId, Shard};
use tokio_util::sync::CancellationToken;

use super::customer::{Customer, by_system, create_key, credits};
use super::writers::whole_log;
use crate::harness::Harness;

/// What a caller knows of its reservation at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Held,
    NotHeld,
    Unknown,
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_of_postgres_under_load_loses_and_doubles_nothing() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let options = PostgresOptions {
        dir: directory.path().join("postgres"),
        durable: true,
        port: None,
        slow_disk: None,
        settings: Vec::new(),
    };
    let postgres = PrivatePostgres::start(options).await.unwrap();
    keyledger::migrate::migrate(&postgres.url()).await.unwrap();
    let log = Log::new(open_pool(service_options(&postgres.url()).unwrap(), 8), Shard(0));
    let stop = CancellationToken::new();
    let (ledger, _) = Ledger::start(log.clone(), LedgerOptions::default(), stop.clone());
    let customer = Arc::new(Customer::open(&ledger, "100000").await);

    let going = Arc::new(AtomicBool::new(true));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (ledger, customer, going) = (ledger.clone(), Arc::clone(&customer), Arc::clone(&going));
            tokio::spawn(async move { call(&ledger, &customer, &going).await })
        })
        .collect();
    // A short outage is waited out and nobody notices; a long one has to be told.
    for away_ms in [200, 7_000, 200, 200] {
        tokio::time::sleep(Duration::from_millis(300)).await;
        postgres.kill_9().await;
        tokio::time::sleep(Duration::from_millis(away_ms)).await;
        postgres.start_again().await.unwrap();
    }
    // It recovers without a restart of anything else.
    crate::harness::until("commands succeed again", async || {
        customer.reserve_fresh(&ledger).await.is_ok()
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    going.store(false, Ordering::Relaxed);

    let mut told: HashMap<ReservationId, Told> = HashMap::new();
    let mut failed = 0;
    for caller in callers {
        let (answers, failures) = caller.await.unwrap();
        failed += failures;
        told.extend(answers);
    }
    assert!(failed > 0, "a long outage makes commands fail");
    let mut times_held: HashMap<ReservationId, u32> = HashMap::new();
    let events = whole_log(&log).await;
    for recorded in &events {
        if let Event::CreditsReserved(reserved) = &recorded.event {
            *times_held.entry(reserved.reservation).or_default() += 1;
        }
    }
    assert!(
        times_held.values().all(|times| *times == 1),
        "no reservation is in the log twice"
    );
    for (reservation, told) in &told {
        match told {
            Told::Held => assert!(times_held.contains_key(reservation), "an acknowledged hold was lost"),
            Told::NotHeld => assert!(
                !times_held.contains_key(reservation),
                "a hold that was denied is in the log"
            ),
            Told::Unknown => {}
        }
    }
    let held = u64::try_from(times_held.len()).unwrap();
    let left = credits("100000").minus(credits("0.5").times(held).unwrap()).unwrap();
    let answer = customer.reserve_fresh(&ledger).await.unwrap();
    assert_eq!(answer.reply.available, left.minus(credits("0.5")).unwrap());
    stop.cancel();
    postgres.stop().await;
}

/// Reserves until told to stop. After a failure the same id is sent again, as the failure's promise allows, a few times.
async fn call(ledger: &Ledger, customer: &Customer, going: &AtomicBool) -> (Vec<(ReservationId, Told)>, u32) {
    let (mut answers, mut failed) = (Vec::new(), 0);
    while going.load(Ordering::Relaxed) {
        let id = clock::fresh_reservation_id();
        let mut told = Told::NotHeld;
        for attempt in 0..3 {
            match ledger.submit(customer.reserve(id), by_system()).await {
                Ok(_) => {
                    told = Told::Held;
                    break;
                }
                Err(SubmitError::OutcomeUnknown) => told = Told::Unknown,
                Err(SubmitError::Unavailable | SubmitError::Busy) => {}
                Err(error) => panic!("{error}"),
            }
            failed += 1;
            tokio::time::sleep(Duration::from_millis(20 << attempt)).await;
        }
        answers.push((id, told));
        // Open holds are bounded; closing them keeps the load going.
        if told == Told::Held {
            let _ = customer.charge(ledger, id).await;
        }
    }
    (answers, failed)
}

/// As where one process was given another key-encryption key, or none.
#[tokio::test]
async fn a_data_key_that_cannot_be_used_stops_its_own_account_alone() {
    let harness = Harness::start().await;
    let [here, there] = [harness.ledger(), harness.ledger()];
    let sealed = Customer::open(&here, "10").await;
    let sound = Customer::open(&here, "10").await;
    let mut owner = harness.owner().await;
    let mut turned = async || {
        let turn =
            sqlx::query("update data_keys set key = set_byte(key, 0, 2 - get_byte(key, 0)) where account_id = $1");
        let turned = turn
            .bind(uuid::Uuid::from_bytes(sealed.account.to_bytes()))
            .execute(&mut owner);
        assert_eq!(turned.await.unwrap().rows_affected(), 1);
    };
    turned().await;
    // Both are read at once.
    let (of_sealed, of_sound) = tokio::join!(sealed.reserve_fresh(&there), sound.reserve_fresh(&there));
    assert!(matches!(of_sealed, Err(SubmitError::Unavailable)), "{of_sealed:?}");
    of_sound.unwrap();
    // The other process can use it, and what that writes is passed over.
    turned().await;
    here.submit(sealed.rename_key(sealed.key, "Another"), by_system())
        .await
        .unwrap();
    let working = there.key_signals().begin(sound.key);
    here.submit(sound.delete_key(), by_system()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(1), working.key_deleted())
        .await
        .expect("it hears within 1 s");
    let (key, _) = create_key(&there, sound.account).await;
    assert_ne!(key, sound.key);
}

/// As events of a newer version are, and damaged ones.
#[tokio::test]
async fn an_event_of_another_process_that_cannot_be_read_stops_its_own_account_alone() {
    const REWRITTEN: [&str; 2] = [
        "replace(convert_from(new.body, 'UTF8'), 'KeyDeleted.v1', 'KeyDeleted.v9')",
        // It does not even say whose it is.
        "'no JSON'",
    ];
    let harness = Harness::start().await;
    let [here, there] = [harness.ledger(), harness.ledger()];
    let sound = Customer::open(&here, "10").await;
    sound.reserve_fresh(&there).await.unwrap();
    let mut owner = harness.owner().await;
    for rewritten in REWRITTEN {
        let broken = Customer::open(&here, "10").await;
        broken.reserve_fresh(&there).await.unwrap();
        let working = there.key_signals().begin(broken.key);
        let rewrite = format!(
            "create or replace function rewrite() returns trigger language plpgsql as
                 $$begin new.body := convert_to({rewritten}, 'UTF8'); return new; end$$;
             create or replace trigger rewrite before insert on events for each row
                 when (new.type = 'keyledger.KeyDeleted.v1') execute function rewrite()"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(rewrite))
            .execute(&mut owner)
            .await
            .unwrap();
        here.submit(broken.delete_key(), by_system()).await.unwrap();
        tokio::time::timeout(Duration::from_secs(1), working.key_deleted())
            .await
            .expect("it hears within 1 s");
        let refused = broken.reserve_fresh(&there).await;
        assert!(matches!(refused, Err(SubmitError::Broken)), "{rewritten}: {refused:?}");
        let held = sound.reserve_fresh(&there).await.unwrap();
        sound.charge(&here, held.reply.reservation).await.unwrap();
        sound.reserve_fresh(&there).await.unwrap();
    }
}
