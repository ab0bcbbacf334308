//! The views: equal to a replay of the log, whatever happens to the bus, the projector or an event.

pub mod appended;
mod behind;
mod checked;
mod credits;
mod distrusted;
mod halted;
mod law;
mod notices;
mod outages;
mod priced;
mod rebuilt;
mod usage;

use std::time::Duration;

use keyledger::bus::Bus;
use keyledger::ledger::{KeyLimits, Ledger};
use keyledger::projector::{Projector, ProjectorHandle, ProjectorOptions};
use keyledger::relay::{Relay, RelayOptions};
use keyledger::views::{KeySearch, ViewName};
use keyledger_events::{CallRate, Recorded};
use keyledger_projections::{BalanceRows, ChargesRows, KeyListRows, ReservationsRows, replay};
use sqlx::Connection as _;
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, until};
use crate::ledger::customer::{Customer, by_system, create_key, limited_key, reserve};
use crate::ledger::writers::whole_log;

pub fn project(harness: &Harness, bus: Option<Bus>) -> (ProjectorHandle, CancellationToken) {
    let stop = harness.stop.child_token();
    let options = ProjectorOptions {
        log: harness.log(),
        pool: harness.another_pool(),
        bus,
    };
    (Projector::start(options, stop.clone()), stop)
}

pub fn relay(harness: &Harness, bus: Bus, ledger: &Ledger) {
    let options = RelayOptions {
        log: harness.log(),
        bus,
        committed: Some(ledger.committed()),
    };
    Relay::start(options, harness.stop.child_token());
}

/// Some customers who do all that can be done, so that every kind of row changes.
pub async fn history(ledger: &Ledger, customers: usize) -> Vec<Customer> {
    let mut all = Vec::new();
    for n in 0..customers {
        let customer = Customer::open(ledger, "100").await;
        let (second, digest) = create_key(ledger, customer.account).await;
        let limits = KeyLimits {
            scopes: Some(vec!["serp".to_owned(), "echo".to_owned()].try_into().unwrap()),
            rate: Some(CallRate::new(10, 30).unwrap()),
            spending: None,
        };
        limited_key(ledger, customer.account, limits).await;
        for turn in 0..20 {
            let held = customer.reserve_fresh(ledger).await.unwrap().reply.reservation;
            match turn % 3 {
                0 => {
                    customer.charge(ledger, held).await.unwrap();
                }
                1 => {
                    customer.release(ledger, held).await.unwrap();
                }
                _ => {}
            }
        }
        let id = keyledger::clock::fresh_reservation_id();
        ledger.submit(reserve(digest, id), by_system()).await.unwrap();
        ledger
            .submit(customer.rename_key(second, &format!("Number {n}")), by_system())
            .await
            .unwrap();
        if n % 2 == 0 {
            ledger.submit(customer.delete_key(), by_system()).await.unwrap();
        }
        all.push(customer);
    }
    all
}

pub async fn level(harness: &Harness) {
    let head = harness.log().head().await.unwrap().position;
    for view in [
        ViewName::KeyList,
        ViewName::Balance,
        ViewName::Charges,
        ViewName::Reservations,
        ViewName::Usage,
    ] {
        harness
            .views()
            .wait_for(view, head, Duration::from_secs(20))
            .await
            .unwrap();
    }
}

/// Compares every row in Postgres with the pure fold of the whole log.
pub async fn views_equal_replay(harness: &Harness) {
    level(harness).await;
    let events = whole_log(&harness.log()).await;
    equal_key_list(harness, &events).await;
    equal_balances(harness, &events).await;
    equal_charges_and_reservations(harness, &events).await;
    credits::equal_credits(harness, &replay(&events).unwrap(), &replay(&events).unwrap()).await;
    usage::equal_usage(harness, &events).await;
    notices::equal_notices(harness, &events).await;
}

async fn equal_key_list(harness: &Harness, events: &[Recorded]) {
    let rows: KeyListRows = replay(events).unwrap();
    let mut connection = harness.owner().await;
    let stored: i64 = sqlx::query_scalar("select count(*) from views.key_list")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(usize::try_from(stored).unwrap(), rows.0.len());
    for row in rows.0.values() {
        let key = harness.views().key(row.account, row.key).await.unwrap().value.unwrap();
        assert_eq!(key.name, row.name.as_str());
        assert_eq!(key.preview, row.preview);
        assert_eq!(key.created_at, row.created_at);
        assert_eq!(key.created_by, row.created_by.to_string());
        assert_eq!(key.last_used_at, row.last_used_at);
        assert_eq!(i64::try_from(key.uses).unwrap(), row.uses);
        assert_eq!(key.deleted_at, row.deleted.map(|(at, _)| at));
        assert_eq!((&key.scopes, key.rate_limit), (&row.scopes, row.rate_limit));
        assert_eq!(key.delete_reason.as_deref(), row.deleted.map(|(_, why)| why.as_str()));
    }
}

async fn equal_balances(harness: &Harness, events: &[Recorded]) {
    let rows: BalanceRows = replay(events).unwrap();
    let all = harness.views().accounts(1_000, None).await.unwrap().value;
    assert_eq!(all.items.len(), rows.accounts.len());
    for row in rows.accounts.values() {
        let balance = harness.views().balance(row.account).await.unwrap().value.unwrap();
        assert_eq!(balance.granted.micros(), row.sums.granted);
        assert_eq!(balance.charged.micros(), row.sums.charged);
        assert_eq!(balance.reserved.micros(), row.sums.reserved);
        assert_eq!(balance.expired.micros(), row.sums.expired);
        let all = balance.available.micros() + balance.bound.micros() + balance.later.micros();
        assert_eq!(all, row.sums.available(), "what is set aside is the rest");
        let grants = harness
            .views()
            .grants(row.account, 100, None)
            .await
            .unwrap()
            .value
            .unwrap();
        for grant in grants.items {
            let sums = rows.grants[&(row.account, grant.id)].sums;
            assert_eq!(
                (grant.remaining.micros(), grant.held.micros()),
                (sums.remaining, sums.held)
            );
        }
    }
}

async fn equal_charges_and_reservations(harness: &Harness, events: &[Recorded]) {
    let charges: ChargesRows = replay(events).unwrap();
    let open: ReservationsRows = replay(events).unwrap();
    let balances: BalanceRows = replay(events).unwrap();
    for account in balances.accounts.keys() {
        let lines = harness
            .views()
            .charges(*account, 10_000, None)
            .await
            .unwrap()
            .value
            .unwrap()
            .items;
        let expected: Vec<_> = charges.0.values().filter(|row| row.account == *account).collect();
        assert_eq!(lines.len(), expected.len());
        for row in expected {
            let line = lines.iter().find(|line| line.id == row.reservation).unwrap();
            assert_eq!(
                (line.position, line.charged, line.quantity),
                (row.position, row.charged, row.quantity)
            );
            assert_eq!((line.reserved_at, line.charged_at), (row.reserved_at, row.charged_at));
        }
        let holds = harness
            .views()
            .reservations(*account, 10_000, None)
            .await
            .unwrap()
            .value
            .unwrap()
            .items;
        let expected: Vec<_> = open.0.values().filter(|row| row.account == *account).collect();
        assert_eq!(holds.len(), expected.len());
        for row in expected {
            let hold = holds.iter().find(|hold| hold.id == row.reservation).unwrap();
            assert_eq!((hold.amount, hold.expires_at), (row.amount, row.expires_at));
        }
    }
}

#[tokio::test]
async fn views_are_a_replay_of_the_log_with_the_bus() {
    let harness = Harness::start().await;
    let (ledger, bus) = (harness.ledger(), harness.bus().await);
    relay(&harness, bus.clone(), &ledger);
    project(&harness, Some(bus));
    history(&ledger, 4).await;
    credits::everything(&harness, &ledger).await;
    views_equal_replay(&harness).await;
}

#[tokio::test]
async fn views_are_a_replay_of_the_log_without_a_bus() {
    let harness = Harness::start().await;
    project(&harness, None);
    let ledger = harness.ledger();
    history(&ledger, 3).await;
    credits::everything(&harness, &ledger).await;
    views_equal_replay(&harness).await;
}

#[tokio::test]
async fn a_bus_that_skips_is_not_believed() {
    let harness = Harness::start().await;
    let (ledger, bus) = (harness.ledger(), harness.bus().await);
    relay(&harness, bus.clone(), &ledger);
    history(&ledger, 1).await;
    let head = harness.log().head().await.unwrap().position;
    until("the stream is level", async || {
        bus.jetstream()
            .get_stream(bus.stream_name(ledger.shard()))
            .await
            .is_ok_and(|s| s.cached_info().state.last_sequence == head.0)
    })
    .await;
    let stream = bus
        .jetstream()
        .get_stream(bus.stream_name(ledger.shard()))
        .await
        .unwrap();
    for sequence in [5, 6, 20] {
        stream.delete_message(sequence).await.unwrap();
    }
    project(&harness, Some(bus));
    history(&ledger, 1).await;
    views_equal_replay(&harness).await;
}

#[tokio::test]
async fn two_projectors_fold_every_event_once() {
    let harness = Harness::start().await;
    let (ledger, bus) = (harness.ledger(), harness.bus().await);
    relay(&harness, bus.clone(), &ledger);
    project(&harness, Some(bus.clone()));
    project(&harness, Some(bus));
    project(&harness, None);
    history(&ledger, 4).await;
    views_equal_replay(&harness).await;
}

#[tokio::test]
async fn a_projector_that_was_stopped_goes_on_where_it_was() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    for _ in 0..4 {
        let (_, stop) = project(&harness, None);
        history(&ledger, 1).await;
        stop.cancel();
    }
    project(&harness, None);
    views_equal_replay(&harness).await;
}

#[tokio::test]
async fn lists_come_in_pages_and_an_unknown_account_is_not_an_empty_one() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    project(&harness, None);
    let customer = Customer::open(&ledger, "100").await;
    let mut keys = vec![customer.key];
    for _ in 0..6 {
        keys.push(create_key(&ledger, customer.account).await.0);
    }
    level(&harness).await;
    let (views, now) = (harness.views(), keyledger::clock::now());
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = views
            .keys_found(customer.account, &KeySearch::default(), now, 3, after)
            .await
            .unwrap()
            .value
            .unwrap();
        seen.extend(page.items.iter().map(|key| key.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut newest_first = keys.clone();
    newest_first.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(seen, newest_first);
    let nobody = keyledger::clock::fresh_account_id();
    assert!(
        views
            .keys_found(nobody, &KeySearch::default(), now, 3, None)
            .await
            .unwrap()
            .value
            .is_none()
    );
    assert!(
        views
            .charges(customer.account, 3, None)
            .await
            .unwrap()
            .value
            .unwrap()
            .items
            .is_empty()
    );
    assert!(views.balance(nobody).await.unwrap().value.is_none());
}

#[tokio::test]
async fn accounts_with_something_due_are_found() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    project(&harness, None);
    let customer = Customer::open(&ledger, "100").await;
    customer.reserve_fresh(&ledger).await.unwrap();
    level(&harness).await;
    let now = keyledger::clock::now();
    assert!(harness.views().due_accounts(now, 10, &[]).await.unwrap().is_empty());
    assert_eq!(
        harness
            .views()
            .due_accounts(now.plus_seconds(901), 10, &[])
            .await
            .unwrap(),
        [customer.account]
    );
}

#[tokio::test]
async fn whoever_waits_for_a_list_also_waits_until_its_account_is_known() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    project(&harness, None);
    level(&harness).await;
    let mut owner = harness.owner().await;
    let mut slow = owner.begin().await.unwrap();
    sqlx::query("select from views.checkpoints where projection = 'balance' for update")
        .execute(&mut *slow)
        .await
        .unwrap();
    let customer = Customer::open(&ledger, "100").await;
    let (views, head) = (harness.views(), harness.log().head().await.unwrap().position);
    until("the keys are there before the balance", async || {
        views.checkpoint(ViewName::KeyList).await.is_ok_and(|at| at == head)
    })
    .await;
    let limit = Duration::from_millis(200);
    assert!(views.wait_for(ViewName::KeyList, head, limit).await.is_err());
    slow.rollback().await.unwrap();
    views
        .wait_for(ViewName::KeyList, head, Duration::from_secs(20))
        .await
        .unwrap();
    let keys = views
        .keys_found(
            customer.account,
            &KeySearch::default(),
            keyledger::clock::now(),
            10,
            None,
        )
        .await;
    assert_eq!(keys.unwrap().value.unwrap().items.len(), 1);
}
