//! Rotation: a successor whose text is shown once, and an old key that works until its moment and no longer.

use keyledger_events::AccountId;
use serde_json::{Value, json};

use super::client::Answer;
use super::stage::{Stage, id_of, secret_of};
use crate::harness::until;

async fn rotate(stage: &Stage, account: &str, key: &Value, overlap_seconds: u64) -> Answer {
    let path = format!("{account}/keys/{}/rotate", id_of(key));
    let body = json!({"overlap_seconds": overlap_seconds});
    stage.operator.post(&path, body).await
}

/// What a key opens: a status and, where it is refused, a code.
async fn used(stage: &Stage, secret: &str) -> (u16, String) {
    let hold = json!({"secret": secret, "endpoint": "serp"});
    let answer = stage.operator.post("/v1/reservations", hold).await;
    let told: Value = serde_json::from_str(&answer.text).unwrap();
    let code = told["code"].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), code)
}

fn deleted() -> (u16, String) {
    (401, "key-deleted".to_owned())
}

#[tokio::test]
async fn both_keys_work_for_the_overlap_and_the_list_says_until_when() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let grant = json!({"amount": "10", "source": "purchase"});
    stage.operator.post(&format!("{account}/grants"), grant).await.json(201);
    let limited = json!({"name": "CI", "environment": "test", "scopes": ["serp"], "rate_limit": {"per_second": 7}});
    let old = stage.operator.post(&format!("{account}/keys"), limited).await.json(201);
    let answer = rotate(&stage, &account, &old["key"], 86_400).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let after = answer.position().to_owned();
    let new = answer.json(201);
    assert!(secret_of(&new).starts_with("sk_test_"));
    for member in ["name", "environment", "scopes", "rate_limit"] {
        assert_eq!(new["key"][member], old["key"][member], "{member}");
    }
    assert_eq!(new["key"]["replaces"], old["key"]["id"]);
    for key in [&old, &new] {
        assert_eq!(used(&stage, secret_of(key)).await.0, 201);
    }
    let list = stage.operator.get(&format!("{account}/keys?after={after}")).await;
    assert!(!list.text.contains(&secret_of(&new)[11..]));
    let list = list.json(200);
    let row = |key: &Value| {
        let items = list["items"].as_array().unwrap();
        items
            .iter()
            .find(|item| item["id"] == key["key"]["id"])
            .unwrap()
            .clone()
    };
    assert_eq!(row(&old)["successor"], new["key"]["id"]);
    assert!(row(&old)["stops_at"].is_string() && row(&new)["stops_at"].is_null());
    assert_eq!(
        rotate(&stage, &account, &old["key"], 0).await.problem(409),
        "key-rotated"
    );
    // Whoever finds it out may still delete it at once.
    let path = format!("{account}/keys/{}?reason=compromised", id_of(&old["key"]));
    assert_eq!(stage.operator.delete(&path).await.status, 200);
    assert_eq!(used(&stage, secret_of(&old)).await, deleted());
    assert_eq!(
        rotate(&stage, &account, &old["key"], 0).await.problem(409),
        "key-deleted"
    );
}

#[tokio::test]
async fn when_its_moment_comes_the_old_key_is_refused_in_every_process_and_the_history_says_why() {
    let here = Stage::open().await;
    let there = Stage::on(here.harness.another(), true).await;
    let (account, old) = here.customer("1000").await;
    assert_eq!(used(&there, secret_of(&old)).await.0, 201);
    let new = rotate(&here, &account, &old["key"], 1).await.json(201);
    until("the other process refuses the old key", async || {
        used(&there, secret_of(&old)).await == deleted()
    })
    .await;
    assert_eq!(used(&here, secret_of(&old)).await, deleted());
    for process in [&here, &there] {
        assert_eq!(used(process, secret_of(&new)).await.0, 201);
    }
    let history = format!("{account}/keys/{}/history", id_of(&old["key"]));
    let history = here.operator.get(&history).await.json(200);
    let last = history["items"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["data"]["reason"], &last["actor"]),
        (&json!("rotated"), &json!("system"))
    );
    let stops_at = &history["items"].as_array().unwrap().iter().rev().nth(1).unwrap()["data"]["stops_at"];
    assert!(last["time"].as_str() >= stops_at.as_str(), "not before its moment");
}

#[tokio::test]
async fn without_an_overlap_the_old_key_stops_with_the_answer() {
    let stage = Stage::open().await;
    let (account, old) = stage.customer("10").await;
    let new = rotate(&stage, &account, &old["key"], 0).await.json(201);
    assert_eq!(used(&stage, secret_of(&old)).await, deleted());
    assert_eq!(used(&stage, secret_of(&new)).await.0, 201);
}

#[tokio::test]
async fn a_key_that_nobody_uses_is_found_by_the_sweeper() {
    let stage = Stage::open().await;
    let (account, old) = stage.customer("10").await;
    let answer = rotate(&stage, &account, &old["key"], 60).await;
    let path = format!("{account}/keys?after={}", answer.position());
    stage.operator.get(&path).await.json(200);
    let id: AccountId = account.trim_start_matches("/v1/accounts/").parse().unwrap();
    let (views, now) = (stage.harness.views(), keyledger::clock::now());
    assert_eq!(views.due_accounts(now, 9, &[]).await.unwrap(), []);
    let later = now.plus_seconds(61);
    assert_eq!(views.due_accounts(later, 9, &[]).await.unwrap(), [id]);
}

#[tokio::test]
async fn a_repeated_rotation_makes_one_successor_and_shows_its_text_once() {
    let stage = Stage::open().await;
    let (account, old) = stage.customer("10").await;
    let path = format!("{account}/keys/{}/rotate", id_of(&old["key"]));
    let send = async |overlap: u64| {
        let headers = [("idempotency-key", "r-1")];
        let body = json!({"overlap_seconds": overlap});
        stage.operator.post_with(&path, &headers, body).await
    };
    let first = send(60).await.json(201);
    let again = send(60).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    let again = again.json(201);
    assert_eq!(
        (&again["secret"], &again["key"]["id"]),
        (&Value::Null, &first["key"]["id"])
    );
    assert_eq!(send(61).await.problem(422), "idempotency-mismatch");
}

#[tokio::test]
async fn what_cannot_be_rotated_says_so() {
    let stage = Stage::open().await;
    let (account, old) = stage.customer("1000").await;
    assert_eq!(
        rotate(&stage, &account, &old["key"], 2_592_001).await.problem(422),
        "out-of-range"
    );
    let (other, _) = stage.customer("10").await;
    assert_eq!(rotate(&stage, &other, &old["key"], 0).await.problem(404), "unknown-key");
    let end = keyledger::clock::now().plus_seconds(1).to_string();
    let brief = json!({"name": "Brief", "expires_at": end});
    let brief = stage.operator.post(&format!("{account}/keys"), brief).await.json(201);
    until("the key's time is over", async || {
        used(&stage, secret_of(&brief)).await.1 == "key-expired"
    })
    .await;
    assert_eq!(
        rotate(&stage, &account, &brief["key"], 0).await.problem(409),
        "key-expired"
    );
    let metering = stage.client(keyledger::tokens::Role::Metering).await;
    let path = format!("{account}/keys/{}/rotate", id_of(&old["key"]));
    let body = json!({"overlap_seconds": 0});
    assert_eq!(metering.post(&path, body).await.problem(403), "forbidden");
}
