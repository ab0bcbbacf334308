//! The relay: the stream is the log, in order, once, whatever is killed or wiped.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, Stream};
use keyledger::bus::Bus;
use keyledger::ledger::Ledger;
use keyledger::local::{NatsOptions, PrivateNats};
use keyledger::relay::{Relay, RelayHandle, RelayOptions};
use keyledger_events::{Position, Shard};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, until};
use crate::ledger::customer::Customer;

fn relay(harness: &Harness, bus: &Bus, ledger: Option<&Ledger>) -> RelayHandle {
    let options = RelayOptions {
        log: harness.log(),
        bus: bus.clone(),
        committed: ledger.map(Ledger::committed),
    };
    Relay::start(options, harness.stop.child_token())
}

async fn stream(bus: &Bus) -> Option<Stream> {
    bus.jetstream().get_stream(bus.stream_name(Shard(0))).await.ok()
}

/// Waits until the stream is as long as the log, and compares every message.
async fn stream_equals_log(harness: &Harness, bus: &Bus) {
    let head = harness.log().head().await.unwrap().position;
    until("the stream is as long as the log", async || {
        stream(bus)
            .await
            .is_some_and(|stream| stream.cached_info().state.last_sequence == head.0)
    })
    .await;
    let stream = stream(bus).await.unwrap();
    assert_eq!(stream.cached_info().state.messages, head.0, "no message is missing");
    let mut after = Position::START;
    while after < head {
        for stored in harness.log().read(after, 1_000).await.unwrap() {
            let message = stream.get_raw_message(stored.position.0).await.unwrap();
            assert_eq!(message.payload, stored.body, "message {} is the event", stored.position);
            after = stored.position;
        }
    }
}

async fn private_nats() -> (TempDir, PrivateNats, Bus) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let options = NatsOptions {
        dir: directory.path().join("nats"),
        port: None,
        binary: None,
    };
    let nats = PrivateNats::start(options).await.unwrap();
    let bus = Bus::connect(&nats.url(), "KEYLEDGER").await.unwrap();
    (directory, nats, bus)
}

async fn uses(ledger: &Ledger, customer: &Customer, count: usize) {
    for _ in 0..count {
        let held = customer.reserve_fresh(ledger).await.unwrap();
        customer.charge(ledger, held.reply.reservation).await.unwrap();
    }
}

#[tokio::test]
async fn the_stream_is_the_log_in_order() {
    let harness = Harness::start().await;
    let (ledger, bus) = (harness.ledger(), harness.bus().await);
    let customer = Customer::open(&ledger, "1000").await;
    uses(&ledger, &customer, 50).await;
    relay(&harness, &bus, Some(&ledger));
    uses(&ledger, &customer, 50).await;
    stream_equals_log(&harness, &bus).await;
    let message = stream(&bus).await.unwrap().get_raw_message(1).await.unwrap();
    assert_eq!(
        message.headers.get("Content-Type").unwrap().as_str(),
        "application/cloudevents+json"
    );
    assert!(
        message
            .subject
            .ends_with(&format!("0.{}.AccountOpened", customer.account))
    );
}

#[tokio::test]
async fn load_with_three_relays_at_once_repeats_and_reorders_nothing() {
    let harness = Harness::start().await;
    let (ledger, bus) = (harness.ledger(), harness.bus().await);
    let customer = Arc::new(Customer::open(&ledger, "100000").await);
    relay(&harness, &bus, Some(&ledger));
    relay(&harness, &bus, None);
    relay(&harness, &harness.bus().await, None);
    let users: Vec<_> = (0..16)
        .map(|_| {
            let (ledger, customer) = (ledger.clone(), Arc::clone(&customer));
            tokio::spawn(async move { uses(&ledger, &customer, 50).await })
        })
        .collect();
    for user in users {
        user.await.unwrap();
    }
    stream_equals_log(&harness, &bus).await;
}

#[tokio::test]
async fn kill_of_nats_under_load_stops_no_command_and_the_stream_heals() {
    let harness = Harness::start().await;
    let (_directory, nats, bus) = private_nats().await;
    let ledger = harness.ledger();
    let customer = Arc::new(Customer::open(&ledger, "100000").await);
    relay(&harness, &bus, Some(&ledger));
    let load = {
        let (ledger, customer) = (ledger.clone(), Arc::clone(&customer));
        tokio::spawn(async move { uses(&ledger, &customer, 1_500).await })
    };
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        nats.kill_9().await;
        // Commands go on while the bus is away.
        uses(&ledger, &customer, 20).await;
        nats.start_again().await.unwrap();
    }
    load.await.unwrap();
    stream_equals_log(&harness, &bus).await;
}

#[tokio::test]
async fn kill_of_nats_and_loss_of_its_store_refills_the_stream() {
    let harness = Harness::start().await;
    let (_directory, nats, bus) = private_nats().await;
    let ledger = harness.ledger();
    let customer = Customer::open(&ledger, "100000").await;
    relay(&harness, &bus, Some(&ledger));
    uses(&ledger, &customer, 100).await;
    stream_equals_log(&harness, &bus).await;
    nats.stop().await;
    nats.wipe_store().unwrap();
    nats.start_again().await.unwrap();
    // Nothing new is written: the relay notices by itself.
    stream_equals_log(&harness, &bus).await;
    uses(&ledger, &customer, 10).await;
    stream_equals_log(&harness, &bus).await;
}

#[tokio::test]
async fn kill_of_nats_while_nothing_happens_keeps_nothing_from_what_comes_next() {
    let harness = Harness::start().await;
    let (_directory, nats, bus) = private_nats().await;
    let ledger = harness.ledger();
    let customer = Customer::open(&ledger, "1000").await;
    relay(&harness, &bus, Some(&ledger));
    for count in [1, 100] {
        uses(&ledger, &customer, 10).await;
        stream_equals_log(&harness, &bus).await;
        // Longer than the server remembers ids: it does not know any more which message was the last.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        nats.kill_9().await;
        nats.start_again().await.unwrap();
        uses(&ledger, &customer, count).await;
        stream_equals_log(&harness, &bus).await;
    }
}

#[tokio::test]
async fn a_stream_that_takes_nothing_is_told_of_and_goes_on_when_it_does() {
    let harness = Harness::start().await;
    let bus = harness.bus().await;
    let ledger = harness.ledger();
    let customer = Customer::open(&ledger, "100").await;
    let handle = relay(&harness, &bus, Some(&ledger));
    stream_equals_log(&harness, &bus).await;
    let stream = stream(&bus).await.unwrap();
    let limited = |max_messages, discard| Config {
        max_messages,
        discard,
        ..stream.cached_info().config.clone()
    };
    // As a store that is full.
    let here = i64::try_from(handle.status().last.0).unwrap();
    let full = limited(here, DiscardPolicy::New);
    bus.jetstream().update_stream(&full).await.unwrap();
    uses(&ledger, &customer, 3).await;
    until("it is told", async || handle.status().refused.is_some()).await;
    assert_eq!(handle.status().fault, None);
    // What is old makes room for what is new, as operators may have it.
    let rolling = limited(here, DiscardPolicy::Old);
    bus.jetstream().update_stream(&rolling).await.unwrap();
    let head = harness.log().head().await.unwrap().position;
    until("it goes on", async || {
        handle.status().last == head && handle.status().refused.is_none()
    })
    .await;
    uses(&ledger, &customer, 20).await;
    let head = harness.log().head().await.unwrap().position;
    until("and on", async || handle.status().last == head).await;
    assert_eq!(handle.status().fault, None);
}

#[tokio::test]
async fn a_deleted_stream_comes_back_whole() {
    let harness = Harness::start().await;
    let (ledger, bus) = (harness.ledger(), harness.bus().await);
    let customer = Customer::open(&ledger, "1000").await;
    relay(&harness, &bus, Some(&ledger));
    uses(&ledger, &customer, 30).await;
    stream_equals_log(&harness, &bus).await;
    bus.jetstream().delete_stream(bus.stream_name(Shard(0))).await.unwrap();
    uses(&ledger, &customer, 5).await;
    stream_equals_log(&harness, &bus).await;
}

#[tokio::test]
async fn a_foreign_message_is_a_named_fault_and_nothing_is_published_after_it() {
    let harness = Harness::start().await;
    let (ledger, bus) = (harness.ledger(), harness.bus().await);
    let customer = Customer::open(&ledger, "1000").await;
    let status = relay(&harness, &bus, Some(&ledger));
    stream_equals_log(&harness, &bus).await;
    let subject = bus.subjects(Shard(0)).replace('>', "intruder");
    bus.jetstream()
        .publish(subject, "not an event".into())
        .await
        .unwrap()
        .await
        .unwrap();
    let before = stream(&bus).await.unwrap().cached_info().state.last_sequence;
    until("the fault is named", async || status.status().fault.is_some()).await;
    uses(&ledger, &customer, 3).await;
    until("the fault is named still", async || {
        status
            .status()
            .fault
            .is_some_and(|fault| fault.contains(&bus.stream_name(Shard(0))))
    })
    .await;
    assert_eq!(stream(&bus).await.unwrap().cached_info().state.last_sequence, before);
    // Cured: the stream is thrown away and copied again.
    bus.jetstream().delete_stream(bus.stream_name(Shard(0))).await.unwrap();
    stream_equals_log(&harness, &bus).await;
    until("the fault is gone", async || status.status().fault.is_none()).await;
}

#[tokio::test]
async fn a_foreign_message_among_those_under_way_has_none_of_ours_behind_it() {
    let harness = Harness::start().await;
    let (ledger, bus) = (harness.ledger(), harness.bus().await);
    let customer = Arc::new(Customer::open(&ledger, "100000").await);
    let status = relay(&harness, &bus, Some(&ledger));
    let users: Vec<_> = (0..64)
        .map(|_| {
            let (ledger, customer) = (ledger.clone(), Arc::clone(&customer));
            tokio::spawn(async move { uses(&ledger, &customer, 20).await })
        })
        .collect();
    until("the relay is in the middle of it", async || {
        status.status().last > Position(200)
    })
    .await;
    let subject = bus.subjects(Shard(0)).replace('>', "intruder");
    let intruder = bus.jetstream().publish(subject, "not an event".into());
    let place = intruder.await.unwrap().await.unwrap().sequence;
    for user in users {
        user.await.unwrap();
    }
    until("the fault is named", async || {
        let fault = status.status().fault;
        fault.is_some_and(|fault| fault.contains(&format!("message {place} ")) || fault.contains("after the log's end"))
    })
    .await;
    assert_eq!(
        stream(&bus).await.unwrap().cached_info().state.last_sequence,
        place,
        "messages that were under way fitted behind it"
    );
}

#[tokio::test]
async fn a_foreign_message_with_our_own_behind_it_is_found_too() {
    let harness = Harness::start().await;
    let (ledger, bus) = (harness.ledger(), harness.bus().await);
    let customer = Customer::open(&ledger, "1000").await;
    let first = CancellationToken::new();
    let options = RelayOptions {
        log: harness.log(),
        bus: bus.clone(),
        committed: None,
    };
    Relay::start(options, first.clone());
    stream_equals_log(&harness, &bus).await;
    first.cancel();
    let end = harness.log().head().await.unwrap().position;
    let subject = bus.subjects(Shard(0)).replace('>', "intruder");
    let intruder = bus.jetstream().publish(subject.clone(), "not an event".into());
    assert_eq!(intruder.await.unwrap().await.unwrap().sequence, end.next().0);
    // As a window under way does it: the message that was meant for this place is refused, the next one fits.
    uses(&ledger, &customer, 1).await;
    let events = harness.log().read(end.next(), 10).await.unwrap();
    for stored in events {
        let sent = bus
            .jetstream()
            .publish(subject.clone(), stored.body.into())
            .await
            .unwrap();
        assert_eq!(sent.await.unwrap().sequence, stored.position.0);
    }
    let status = relay(&harness, &bus, None);
    until("the intruder is named", async || {
        status
            .status()
            .fault
            .is_some_and(|fault| fault.contains(&format!("message {} ", end.next())))
    })
    .await;
}

#[tokio::test]
async fn an_event_that_is_younger_than_the_relay_is_passed_on_like_any_other() {
    let harness = Harness::start().await;
    let (ledger, bus) = (harness.ledger(), harness.bus().await);
    let customer = Customer::open(&ledger, "1000").await;
    let mut owner = harness.owner().await;
    for statement in [
        "update log_head set position = position + 1 where shard = 0",
        "insert into events (shard, position, account_id, seq, event_id, type, recorded_at, body)
         select 0, h.position, e.account_id, 9999, gen_random_uuid(), 'keyledger.CreditsDoubled.v2', now(),
             convert_to(
                 regexp_replace(
                     replace(convert_from(e.body, 'UTF8'), 'AccountOpened.v1', 'CreditsDoubled.v2'),
                     '\"id\":\"[^\"]*\"', '\"id\":\"00000000000000000000000042\"'
                 ), 'UTF8')
         from log_head h, events e where e.position = 1",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    let status = relay(&harness, &bus, Some(&ledger));
    stream_equals_log(&harness, &bus).await;
    assert_eq!(status.status().fault, None);
    let head = harness.log().head().await.unwrap().position;
    let message = stream(&bus).await.unwrap().get_raw_message(head.0).await.unwrap();
    assert!(
        message
            .subject
            .ends_with(&format!("{}.CreditsDoubled", customer.account))
    );
}
