//! Events put into the log past the rules, for what no writer of ours would write, or not that fast.

use keyledger::log::{Batch, KeysOfBlock};
use keyledger_events::{
    AccountId, Actor, CommandId, Endpoint, Event, EventId, KeyId, KeyUsed, Position, Recorded, ReservationId, Seq,
    Shard,
};
use uuid::Uuid;

use crate::harness::Harness;

/// Appends facts about an account right after the head, whatever they are.
pub async fn append(harness: &Harness, account: AccountId, events: Vec<Event>) -> Position {
    let log = harness.log();
    let seq: i64 = sqlx::query_scalar("select coalesce(max(seq), 0) from events where account_id = $1")
        .bind(Uuid::from_bytes(account.to_bytes()))
        .fetch_one(&mut harness.owner().await)
        .await
        .unwrap();
    let mut head = log.head().await.unwrap().position;
    let mut seq = Seq(seq.unsigned_abs());
    let mut keys_of_block = KeysOfBlock::default();
    for page in events.chunks(5_000) {
        let mut batch = Batch::default();
        for event in page {
            head = head.next();
            seq = seq.next();
            let recorded = Recorded {
                id: EventId::from_parts(keyledger::clock::now().ms(), keyledger::clock::random_id_bits()),
                shard: Shard(0),
                position: head,
                account,
                seq,
                time: keyledger::clock::now(),
                actor: Actor::System,
                command: CommandId::parse("test").unwrap(),
                sealed: None,
                event: event.clone(),
            };
            batch.push(&recorded, keys_of_block.leads(seq, event.key()));
        }
        log.append(&batch).await.unwrap();
    }
    head
}

/// Uses of a key, as many as asked for.
pub fn uses(key: KeyId, count: usize) -> Vec<Event> {
    let used = KeyUsed {
        key,
        endpoint: Endpoint::parse("serp").unwrap(),
        reservation: ReservationId::from_parts(1, 1),
        request: None,
        network: None,
        user_agent: None,
        environment: keyledger_events::Environment::Live,
    };
    vec![Event::from(used); count]
}
