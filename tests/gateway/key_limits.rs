//! Keys that are limited to endpoints, and keys with a rate of their own, before a real data API.

use futures_util::future::join_all;
use keyledger::ledger::KeyLimits;
use keyledger_events::{CallRate, KeyId};

use super::raw::{Answer, send};
use super::stage::{Stage, charged, demo_data_api, generate_key, limited_key};

async fn with_key(stage: &Stage, key: &str, path: &str) -> Answer {
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n");
    send(stage.gateway, &head).await
}

async fn key_for(stage: &Stage, endpoints: &[&str]) -> (KeyId, String) {
    let names: Vec<String> = endpoints.iter().map(|name| (*name).to_owned()).collect();
    let limits = KeyLimits {
        scopes: Some(names.try_into().unwrap()),
        rate: None,
        spending: None,
    };
    limited_key(&stage.ledger, stage.customer.account, limits).await
}

async fn key_at(stage: &Stage, per_second: u64, burst: u64) -> String {
    let limits = KeyLimits {
        scopes: None,
        rate: Some(CallRate::new(per_second, burst).unwrap()),
        spending: None,
    };
    limited_key(&stage.ledger, stage.customer.account, limits).await.1
}

#[tokio::test]
async fn scopes_a_key_works_where_it_is_for_and_is_told_so_elsewhere() {
    let stage = Stage::open().await;
    let (_, secret) = key_for(&stage, &["echo", "serp"]).await;
    let counted = with_key(&stage, &secret, "/echo").await.json()["requests"].as_u64();
    let refused = with_key(&stage, &secret, "/serp/tasks").await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "key-scope"));
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!(refused.json()["detail"], "the key is not for serp_task");
    assert!(refused.header("x-request-id").is_some() && refused.header("www-authenticate").is_none());
    // What has no price is no endpoint.
    assert_eq!(with_key(&stage, &secret, "/nothing").await.code(), "unpriced");
    assert_eq!(with_key(&stage, &secret, "/serp?q=a").await.status, 200);
    // The data API has seen this one, the one before and the first; of the refused ones none.
    let counted_again = with_key(&stage, &secret, "/echo").await.json()["requests"].as_u64();
    assert_eq!(counted_again.zip(counted).map(|(now, then)| now - then), Some(2));
    let three = vec![charged(1, "0.5"); 3];
    assert_eq!(stage.settled(3).await, three);
    assert_eq!(stage.holds().await, 3);
}

#[tokio::test]
async fn scopes_a_flood_of_calls_that_a_key_is_not_for_is_no_work_for_the_ledger_after_the_first() {
    let stage = Stage::limited("per_key_per_second = 1\nper_key_burst = 1\n").await;
    let (_, secret) = key_for(&stage, &["serp"]).await;
    assert_eq!(with_key(&stage, &secret, "/echo").await.code(), "key-scope");
    stage.without_database().await;
    let flood = join_all((0..50).map(|_| with_key(&stage, &secret, "/echo"))).await;
    assert!(flood.iter().all(|answer| answer.code() == "key-scope"));
    // Another endpoint is refused as well, unheard of before.
    assert_eq!(with_key(&stage, &secret, "/limited").await.code(), "key-scope");
}

#[tokio::test]
async fn scopes_a_flood_takes_nothing_from_the_calls_that_a_key_is_for() {
    let stage = Stage::limited("per_key_per_second = 1\nper_key_burst = 2\nbad_keys_per_second = 1\n").await;
    let (_, secret) = key_for(&stage, &["serp"]).await;
    assert_eq!(with_key(&stage, &secret, "/serp?q=a").await.status, 200);
    for _ in 0..20 {
        assert_eq!(with_key(&stage, &secret, "/echo").await.code(), "key-scope");
    }
    assert_eq!(with_key(&stage, &secret, "/serp?q=a").await.status, 200);
    // Nor is its client taken for one that guesses keys.
    assert_eq!(with_key(&stage, &stage.secret, "/echo").await.status, 200);
}

#[tokio::test]
async fn scopes_outlive_a_restart() {
    let stage = Stage::open().await;
    let (_, secret) = key_for(&stage, &["serp"]).await;
    let again = stage.in_another_process(demo_data_api().await, "").await;
    assert_eq!(with_key(&again, &secret, "/echo").await.code(), "key-scope");
    assert_eq!(with_key(&again, &secret, "/serp?q=a").await.status, 200);
}

#[tokio::test]
async fn scopes_of_a_deleted_key_are_not_what_its_holder_is_told_of() {
    let stage = Stage::open().await;
    let (key, secret) = key_for(&stage, &["serp"]).await;
    assert_eq!(with_key(&stage, &secret, "/echo").await.code(), "key-scope");
    stage.delete_key(key).await;
    assert_eq!(with_key(&stage, &secret, "/echo").await.code(), "key-deleted");
}

#[tokio::test]
async fn own_rate_of_a_key_takes_the_place_of_the_one_for_every_key() {
    let stage = Stage::limited("per_key_per_second = 1\nper_key_burst = 1\n").await;
    let secret = key_at(&stage, 1, 50).await;
    let first = with_key(&stage, &secret, "/echo").await;
    assert_eq!(first.status, 200);
    // More than every key may.
    let second = with_key(&stage, &secret, "/echo").await;
    assert_eq!(second.status, 200);
    assert_eq!(second.header("ratelimit-policy"), Some("\"key\";q=50;w=50"));
    let left = second.header("ratelimit").unwrap();
    // The call before its rate was heard of counts; a second may have passed.
    assert!(
        left.starts_with("\"key\";r=48;") || left.starts_with("\"key\";r=49;"),
        "{left}"
    );
}

#[tokio::test]
async fn own_rate_of_a_key_starves_nobody() {
    let stage = Stage::open().await;
    let secret = key_at(&stage, 1, 2).await;
    assert_eq!(with_key(&stage, &secret, "/echo").await.status, 200);
    let flood = join_all((0..40).map(|_| with_key(&stage, &secret, "/echo"))).await;
    let passed = flood.iter().filter(|answer| answer.status != 429).count();
    // One of two was left, and a slow machine has another each second.
    assert!((1..20).contains(&passed), "{passed} passed");
    let denied = flood.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(denied.code(), "rate-limited");
    assert_eq!(denied.header("ratelimit-policy"), Some("\"key\";q=2;w=2"));
    assert!(denied.header("ratelimit").unwrap().starts_with("\"key\";r=0;"));
    assert_eq!(denied.header("retry-after"), Some("1"));
    // Another key of the same account, without limits.
    let (_, other) = generate_key(&stage.ledger, stage.customer.account).await;
    let answers = join_all((0..10).map(|_| with_key(&stage, &other, "/echo"))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(stage.holds().await, 1 + passed + 10);
}

#[tokio::test]
async fn own_rate_of_a_key_does_not_lift_the_limit_of_its_account() {
    let stage = Stage::limited("per_account_per_second = 1\nper_account_burst = 2\n").await;
    let secret = key_at(&stage, 1_000, 1_000).await;
    assert_eq!(with_key(&stage, &secret, "/echo").await.status, 200);
    let calls = join_all((0..40).map(|_| with_key(&stage, &secret, "/echo"))).await;
    let denied = calls.iter().find(|answer| answer.status == 429).unwrap();
    let left = denied.header("ratelimit").unwrap();
    assert!(
        left.contains("\"key\";r=") && left.contains("\"account\";r=0;"),
        "{left}"
    );
}

#[tokio::test]
async fn own_rate_outlives_a_restart() {
    let stage = Stage::open().await;
    let secret = key_at(&stage, 1, 2).await;
    let again = stage.in_another_process(demo_data_api().await, "").await;
    assert_eq!(with_key(&again, &secret, "/echo").await.status, 200);
    let second = with_key(&again, &secret, "/echo").await;
    assert_eq!(second.header("ratelimit-policy"), Some("\"key\";q=2;w=2"));
}

#[tokio::test]
async fn what_is_refused_from_memory_is_counted_like_what_the_ledger_refuses() {
    let stage = Stage::open().await;
    let (_, narrow) = key_for(&stage, &["echo"]).await;
    let (deleted, gone) = generate_key(&stage.ledger, stage.customer.account).await;
    stage.delete_key(deleted).await;
    for _ in 0..6 {
        assert_eq!(with_key(&stage, &narrow, "/serp?q=a").await.code(), "key-scope");
        assert_eq!(with_key(&stage, &gone, "/serp?q=a").await.code(), "key-deleted");
    }
    stage.ledger.note_denials().await;
    let events = stage.events().await;
    let mut denied = Vec::new();
    for event in &events {
        if let keyledger_events::Event::KeyUseDenied(e) = event {
            denied.push((e.reason, e.count));
        }
    }
    denied.sort();
    let expected = [
        (keyledger_events::DenyReason::Deleted, 6),
        (keyledger_events::DenyReason::Scope, 6),
    ];
    assert_eq!(denied, expected);
}
