//! An account's history, read backwards: complete, in order, and never by looking at the whole log.

use keyledger::log::{HistorySearch, LOOKED_AT_MAX, Log, open_pool};
use keyledger_events::{
    AccountId, CreditsGranted, Event, GrantId, GrantSource, KeyCreated, KeyDigest, KeyId, KeyName, KeyRenamed, Position,
};

use super::customer::credits;
use crate::harness::{Harness, service_role};
use crate::projector::appended::{append, uses};

fn made(key: KeyId) -> Event {
    let name = KeyName::parse("Looker Studio").unwrap();
    Event::from(KeyCreated {
        key,
        name,
        preview: "sk_live_abc...".to_owned(),
        digest: KeyDigest::of(&key.to_string()),
        environment: keyledger_events::Environment::Live,
        expires_at: None,
        replaces: None,
        scopes: None,
        rate_limit: None,
        spending_limit: None,
    })
}

fn renamed(key: KeyId) -> Event {
    let name = KeyName::parse("Finance").unwrap();
    Event::from(KeyRenamed { key, name })
}

fn granted(number: u64) -> Event {
    Event::from(CreditsGranted {
        grant: GrantId::from_parts(number, 1),
        amount: credits("1"),
        priority: 0,
        expires_at: None,
        source: GrantSource::Plan,
        reference: None,
        starts_at: None,
        endpoints: None,
        period: None,
        rolled_over: None,
        reason: None,
        repays: keyledger_events::Credits::ZERO,
    })
}

const KEYS: &[&str] = &["keyledger.KeyCreated.v1", "keyledger.KeyRenamed.v1"];
const GRANTS: &[&str] = &["keyledger.CreditsGranted.v1"];
const USES: &[&str] = &["keyledger.KeyUsed.v1"];
const MIXED: &[&str] = &["keyledger.CreditsGranted.v1", "keyledger.CreditsCharged.v1"];

/// All that is found page by page, and how many pages it took.
async fn pages(log: &Log, search: HistorySearch<'_>, limit: u32) -> (Vec<Position>, usize) {
    let (mut found, mut before, mut count) = (Vec::new(), None, 0);
    loop {
        let page = log.history(&search, before, limit).await.unwrap();
        found.extend(page.events.iter().map(|event| event.position));
        count += 1;
        match page.older_than {
            Some(older) => before = Some(older),
            None => return (found, count),
        }
    }
}

/// How often the events were read from beginning to end by a pool's own connections.
async fn whole_reads(pool: &sqlx::PgPool) -> i64 {
    sqlx::query("select pg_stat_force_next_flush()")
        .execute(pool)
        .await
        .unwrap();
    sqlx::query_scalar("select seq_scan from pg_stat_user_tables where relname = 'events'")
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_history_is_found_whole_by_account_by_key_and_by_kind_without_reading_all_of_the_log() {
    let harness = Harness::start().await;
    let (mine, other) = (AccountId::from_parts(1, 1), AccountId::from_parts(1, 2));
    let (key, second) = (KeyId::from_parts(1, 1), KeyId::from_parts(1, 2));
    // A long history with little in it, and another account's of the same length.
    append(&harness, other, uses(KeyId::from_parts(1, 3), 40_000)).await;
    let mut events = vec![made(key), made(second), granted(1), renamed(key)];
    events.extend(uses(key, 45_000));
    events.extend(uses(second, 10));
    events.extend([renamed(second), granted(2)]);
    events.extend(uses(key, 25_000));
    events.push(granted(3));
    let last = append(&harness, mine, events).await;
    let first = Position(40_001);
    let mut owner = harness.owner().await;
    sqlx::query("analyze events").execute(&mut owner).await.unwrap();

    let pool = open_pool(service_role(harness.owner_url()), 1);
    let log = Log::new(pool.clone(), keyledger_events::Shard(0));
    let before = whole_reads(&pool).await;
    let search = |key, types| HistorySearch {
        account: mine,
        key,
        types,
    };
    let all = (first.0..=last.0).rev().map(Position).collect::<Vec<_>>();
    let (every, _) = pages(&log, search(None, Event::TYPES), 9_999).await;
    assert_eq!(every, all);
    let (keys, count) = pages(&log, search(None, KEYS), 2).await;
    assert_eq!(
        (keys, count),
        ([45_015, 4, 2, 1].map(|n| Position(first.0 - 1 + n)).to_vec(), 2)
    );
    let (grants, _) = pages(&log, search(None, GRANTS), 50).await;
    assert_eq!(grants.len(), 3);
    // Where a kind has no index, a page ends when it has looked at enough, and says where to go on.
    let (mixed, count) = pages(&log, search(None, MIXED), 50).await;
    assert_eq!(mixed, grants);
    assert_eq!(count, all.len().div_ceil(LOOKED_AT_MAX.try_into().unwrap()));
    let (of_second, _) = pages(&log, search(Some(second), Event::TYPES), 5).await;
    assert_eq!(of_second.len(), 12);
    assert!(of_second.is_sorted_by(|newer, older| newer > older));
    let (used, _) = pages(&log, search(Some(key), USES), 9_000).await;
    assert_eq!(used.len(), 70_000);
    let (keys_of, _) = pages(&log, search(Some(key), KEYS), 1).await;
    assert_eq!(keys_of, [4, 1].map(|n| Position(first.0 - 1 + n)));
    // What is another account's is not found, by its key or by a place of its own.
    let theirs = search(Some(KeyId::from_parts(1, 3)), Event::TYPES);
    assert_eq!(pages(&log, theirs, 50).await.0, []);
    let page = log
        .history(&search(None, Event::TYPES), Some(Position(5)), 50)
        .await
        .unwrap();
    assert_eq!((page.events.len(), page.older_than), (0, None));
    assert_eq!(log.event_of(mine, Position(5)).await.unwrap(), None);
    let placed = log.event_of(mine, first).await.unwrap().unwrap();
    assert_eq!((placed.older, placed.newer), (None, Some(first.next())));
    assert_eq!(
        whole_reads(&pool).await,
        before,
        "the log was read from beginning to end"
    );
}
