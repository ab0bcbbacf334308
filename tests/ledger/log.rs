//! The log itself: append-only, gapless, and honest about who won.

use std::time::Duration;

use keyledger::log::{AppendError, Batch};
use keyledger_events::{
    AccountId, AccountName, AccountOpened, Actor, CommandId, Credits, EventId, Position, Recorded, Seq, Shard,
};
use sqlx::{Connection as _, PgConnection};

use super::customer::Customer;
use crate::harness::{Harness, service_role};

fn event(position: u64, account: u128) -> Recorded {
    Recorded {
        id: EventId::from_parts(1_764_000_000_000, keyledger::clock::random_id_bits()),
        shard: Shard(0),
        position: Position(position),
        account: AccountId::from_parts(1, account),
        seq: Seq(1),
        time: keyledger::clock::now(),
        actor: Actor::System,
        command: CommandId::parse("test").unwrap(),
        sealed: None,
        event: AccountOpened {
            name: AccountName::parse("A").unwrap(),
            external_ref: None,
            credit_limit: Credits::ZERO,
        }
        .into(),
    }
}

fn batch(events: &[Recorded]) -> Batch {
    let mut batch = Batch::default();
    for event in events {
        batch.push(event, true);
    }
    batch
}

#[tokio::test]
async fn whoever_lost_the_race_learns_it_and_wrote_nothing() {
    let harness = Harness::start().await;
    let log = harness.log();
    log.append(&batch(&[event(1, 1), event(2, 2)])).await.unwrap();
    let lost = log.append(&batch(&[event(2, 3)])).await;
    assert!(
        matches!(
            lost,
            Err(AppendError::Behind {
                expected: Position(1),
                found: Position(2)
            })
        ),
        "{lost:?}"
    );
    assert_eq!(log.head().await.unwrap().position, Position(2));
    assert_eq!(log.read(Position::START, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_turn_keeps_others_out_until_the_append_or_until_it_is_left() {
    let harness = Harness::start().await;
    let [here, there] = [harness.log(), harness.log()];
    assert_eq!(here.take_turn().await.unwrap().position, Position(0));
    let others = tokio::spawn(async move { (there.append(&batch(&[event(1, 8)])).await, there) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!others.is_finished(), "the head is held");
    here.append(&batch(&[event(1, 7)])).await.unwrap();
    let (late, there) = others.await.unwrap();
    assert!(matches!(late, Err(AppendError::Behind { found, .. }) if found == Position(1)));
    here.take_turn().await.unwrap();
    here.leave_turn().await;
    there.append(&batch(&[event(2, 8)])).await.unwrap();
    // One who goes away in the middle lets go, too.
    here.take_turn().await.unwrap();
    drop(here);
    there.append(&batch(&[event(3, 9)])).await.unwrap();
}

#[tokio::test]
async fn whoever_falls_silent_in_a_turn_loses_it_and_writes_nothing() {
    let harness = Harness::start().await;
    let [silent, other] = [harness.log(), harness.log()];
    silent.take_turn().await.unwrap();
    other.append(&batch(&[event(1, 8)])).await.unwrap();
    let late = silent.append(&batch(&[event(1, 7)])).await;
    assert!(
        matches!(late, Err(AppendError::NotWritten(_) | AppendError::Behind { .. })),
        "{late:?}"
    );
    silent.append(&batch(&[event(2, 7)])).await.unwrap();
    let positions: Vec<Position> = other
        .read(Position::START, 9)
        .await
        .unwrap()
        .iter()
        .map(|e| e.position)
        .collect();
    assert_eq!(positions, [Position(1), Position(2)]);
}

#[tokio::test]
async fn an_append_that_is_sent_again_after_a_lost_answer_is_found_and_not_doubled() {
    let harness = Harness::start().await;
    let log = harness.log();
    let once = batch(&[event(1, 1), event(2, 2)]);
    log.append(&once).await.unwrap();
    // The same statement again, as the lost-answer rule sends it: the head has moved, to our own event.
    log.append(&once).await.unwrap();
    assert_eq!(log.head().await.unwrap().position, Position(2));
}

#[tokio::test]
async fn who_reads_along_is_given_what_the_log_has_whoever_appended_it() {
    let harness = Harness::start().await;
    let [here, there] = [harness.log(), harness.log()];
    // From the first question on, what is appended is kept.
    assert_eq!(here.read_along(Position::START, 10).await.unwrap(), []);
    assert_eq!(there.read_along(Position::START, 10).await.unwrap(), []);
    let mut next = 1;
    for (log, count) in [(&here, 3), (&there, 2), (&here, 1), (&here, 4), (&there, 1), (&here, 2)] {
        let events: Vec<Recorded> = (next..next + count)
            .map(|place| event(place, u128::from(place)))
            .collect();
        log.append(&batch(&events)).await.unwrap();
        next += count;
        for after in 0..next {
            for limit in [1, 3, 50] {
                let all = here.read(Position(after), limit).await.unwrap();
                for log in [&here, &there] {
                    let along = log.read_along(Position(after), limit).await.unwrap();
                    assert_eq!(along, all[..along.len()], "{after} {limit}");
                    assert!(!along.is_empty() || all.is_empty(), "{after} {limit}");
                }
            }
        }
    }
    let at_hand = |log: &keyledger::log::Log| log.at_hand(Position(next - 3), 50).map(|events| events.len());
    assert_eq!((at_hand(&here), at_hand(&there)), (Some(2), None));
    let lost = here.append(&batch(&[event(2, 99)])).await;
    assert!(matches!(lost, Err(AppendError::Behind { .. })), "{lost:?}");
    assert_eq!(at_hand(&here), None, "whoever was behind starts anew");
}

#[tokio::test]
async fn what_a_process_appended_is_read_along_while_the_log_cannot_be_asked() {
    let harness = Harness::start().await;
    let log = harness.log();
    let pool = harness.another_pool();
    let beside = log.through(pool.clone());
    assert_eq!(beside.read_along(Position::START, 10).await.unwrap(), []);
    pool.close().await;
    log.append(&batch(&[event(1, 1), event(2, 2)])).await.unwrap();
    log.append(&batch(&[event(3, 3)])).await.unwrap();
    assert_eq!(*beside.appended().borrow(), Position(3));
    let along = beside.read_along(Position(1), 10).await.unwrap();
    assert_eq!(along, log.read(Position(1), 10).await.unwrap());
    assert!(
        beside.read_along(Position(3), 10).await.is_err(),
        "what is to come is the log's to say"
    );
}

#[tokio::test]
async fn a_batch_that_breaks_a_rule_of_the_table_leaves_nothing_behind() {
    let harness = Harness::start().await;
    let log = harness.log();
    let twice = [event(1, 1), event(2, 1)];
    assert!(matches!(
        log.append(&batch(&twice)).await,
        Err(AppendError::NotWritten(_))
    ));
    assert_eq!(log.head().await.unwrap().position, Position::START);
}

#[tokio::test]
async fn nobody_changes_or_removes_an_event() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    Customer::open(&ledger, "100").await;
    let mut owner = harness.owner().await;
    let mut service = PgConnection::connect_with(&service_role(harness.owner_url()))
        .await
        .unwrap();
    for statement in [
        "update events set type = 'x'",
        "delete from events",
        "truncate events",
        "update log_head set position = 0",
        "update log_head set shard = 1, position = position + 1",
        "delete from log_head",
        "truncate log_head",
    ] {
        assert!(
            sqlx::query(statement).execute(&mut owner).await.is_err(),
            "the owner: {statement}"
        );
        assert!(
            sqlx::query(statement).execute(&mut service).await.is_err(),
            "the service: {statement}"
        );
    }
    let denied = sqlx::query("drop trigger events_are_never_changed on events")
        .execute(&mut service)
        .await;
    assert!(denied.is_err());
    let kept: i64 = sqlx::query_scalar("select count(*) from events_as_json where document->>'specversion' = '1.0'")
        .fetch_one(&mut service)
        .await
        .unwrap();
    assert_eq!(kept, 3);
}

#[tokio::test]
async fn columns_beside_the_body_say_what_the_body_says() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    let customer = Customer::open(&ledger, "100").await;
    let held = customer.reserve_fresh(&ledger).await.unwrap();
    customer.charge(&ledger, held.reply.reservation).await.unwrap();
    let wrong: i64 = sqlx::query_scalar(
        "select count(*) from events e join events_as_json j using (shard, position)
         where (document->>'position')::bigint <> e.position
            or (document->>'accountseq')::bigint <> e.seq
            or document->>'type' <> e.type
            or (document->>'time')::timestamptz <> e.recorded_at
            or (document->'data'->>'digest') is distinct from encode(e.key_digest, 'hex')
            or ((coalesce(document->'data'->>'key', document->'data'->'work'->>'key')) is null) <> (e.key_id is null)",
    )
    .fetch_one(&mut harness.owner().await)
    .await
    .unwrap();
    assert_eq!(wrong, 0);
    for stored in harness.log().read(Position::START, 100).await.unwrap() {
        assert_eq!(Recorded::decode(&stored.body).unwrap().position, stored.position);
    }
}
