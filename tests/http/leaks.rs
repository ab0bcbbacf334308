//! Keys that were found in public.

use serde_json::{Value, json};

use super::stage::{Stage, id_of, secret_of};

#[tokio::test]
async fn leaked_keys_stop_at_once_whoever_they_belong_to_and_no_text_comes_back() {
    let stage = Stage::open().await;
    let (mine, one) = stage.customer("10").await;
    let (_, other) = stage.customer("10").await;
    let body = json!({"name": "Gone"});
    let gone = stage.operator.post(&format!("{mine}/keys"), body).await.json(201);
    let path = format!("{mine}/keys/{}?reason=compromised", id_of(&gone["key"]));
    stage.operator.delete(&path).await.json(200);
    let made_up = keyledger_events::base62_secret("sk_live_", [7; 32]);
    let found = json!({"keys": [
        secret_of(&one), "password", secret_of(&other), secret_of(&gone), made_up, secret_of(&one), ""
    ]});
    let answer = stage.operator.post("/v1/leaks", found).await;
    for key in [&one, &other, &gone] {
        assert!(!answer.text.contains(&secret_of(key)[11..]));
    }
    assert!(!answer.text.contains("password") && !answer.position().is_empty());
    let answer = answer.json(200);
    let told: Vec<(&str, &Value)> = answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["outcome"].as_str().unwrap(), &item["key"]))
        .collect();
    let id = |key: &'static str, made: &Value| (key, made["key"]["id"].clone());
    let expected = [
        id("deleted", &one),
        ("unknown", Value::Null),
        id("deleted", &other),
        id("already-deleted", &gone),
        ("unknown", Value::Null),
        id("already-deleted", &one),
        ("unknown", Value::Null),
    ];
    let expected: Vec<(&str, &Value)> = expected.iter().map(|(outcome, key)| (*outcome, key)).collect();
    assert_eq!(told, expected);
    for key in [&one, &other, &gone] {
        let hold = json!({"secret": secret_of(key), "endpoint": "serp"});
        let refused = stage.operator.post("/v1/reservations", hold).await;
        assert_eq!(refused.problem(401), "key-deleted");
    }
    let history = format!("{mine}/keys/{}/history", id_of(&one["key"]));
    let history = stage.operator.get(&history).await.json(200);
    let last = history["items"].as_array().unwrap().last().unwrap();
    assert_eq!(last["data"]["reason"], "leaked");
    assert_eq!(last["actor"], stage.operator_token.0.to_string());
}

#[tokio::test]
async fn only_an_operator_reports_leaks_and_not_too_many_at_once() {
    let stage = Stage::open().await;
    let (_, key) = stage.customer("10").await;
    let found = json!({"keys": [secret_of(&key)]});
    for role in [
        keyledger::tokens::Role::Metering,
        keyledger::tokens::Role::Billing,
        keyledger::tokens::Role::Auditor,
    ] {
        let client = stage.client(role).await;
        assert_eq!(client.post("/v1/leaks", found.clone()).await.problem(403), "forbidden");
    }
    for keys in [json!([]), json!(vec!["x"; 101]), json!("x"), json!([1])] {
        let refused = stage.operator.post("/v1/leaks", json!({"keys": keys})).await;
        assert_eq!(refused.problem(422), "invalid-body");
    }
    let hold = json!({"secret": secret_of(&key), "endpoint": "serp"});
    stage.operator.post("/v1/reservations", hold).await.json(201);
}
