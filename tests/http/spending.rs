//! Keys that may spend so much a day or month and no more.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::client::Answer;
use super::stage::{Stage, id_of, secret_of};

async fn limited(stage: &Stage, account: &str, limit: Value) -> Value {
    let body = json!({"name": "Limited", "spending_limit": limit});
    stage.operator.post(&format!("{account}/keys"), body).await.json(201)
}

async fn hold(stage: &Stage, secret: &str) -> Answer {
    let hold = json!({"secret": secret, "endpoint": "serp"});
    stage.operator.post("/v1/reservations", hold).await
}

#[tokio::test]
async fn a_key_that_has_spent_what_it_may_is_told_how_much_and_until_when() {
    let stage = Stage::open().await;
    let (account, other) = stage.customer("10").await;
    let key = limited(&stage, &account, json!({"amount": "1", "per": "day"})).await;
    assert_eq!(key["key"]["spending_limit"], json!({"amount": "1", "per": "day"}));
    let first = hold(&stage, secret_of(&key)).await.json(201);
    let charge = format!("{account}/reservations/{}/charge", id_of(&first));
    stage.operator.post(&charge, json!({})).await.json(200);
    let second = hold(&stage, secret_of(&key)).await.json(201);
    let refused = hold(&stage, secret_of(&key)).await;
    assert_eq!(refused.problem(402), "key-spending-limit");
    let told = refused.json(402);
    assert_eq!(
        (&told["limit"], &told["spent"], &told["required"]),
        (&json!({"amount": "1", "per": "day"}), &json!("1"), &json!("0.5"))
    );
    let resets_at = told["resets_at"].as_str().unwrap();
    assert!(resets_at.ends_with("T00:00:00.000000Z"), "{resets_at}");
    assert!(resets_at > keyledger::clock::now().to_string().as_str());
    assert_eq!(told["available"], Value::Null);
    // The account's other keys are not concerned, and what was held and not charged may be spent.
    hold(&stage, secret_of(&other)).await.json(201);
    let release = format!("{account}/reservations/{}/release", id_of(&second));
    stage.operator.post(&release, json!({"cause": "error"})).await.json(200);
    hold(&stage, secret_of(&key)).await.json(201);
}

#[tokio::test]
async fn however_many_processes_hold_at_once_no_more_is_held_than_the_key_may_spend() {
    let here = Stage::open().await;
    let there = Stage::on(here.harness.another(), true).await;
    let (account, _) = here.customer("100").await;
    let key = limited(&here, &account, json!({"amount": "2", "per": "month"})).await;
    let holds = (0..24).map(|n| hold(if n % 2 == 0 { &here } else { &there }, secret_of(&key)));
    let answers = join_all(holds).await;
    let held = answers.iter().filter(|answer| answer.status == 201).count();
    let refused = answers.iter().filter(|answer| answer.status == 402).count();
    assert_eq!((held, refused), (4, 20));
}

#[tokio::test]
async fn the_limit_is_changed_and_taken_away_and_the_list_knows_it() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let key = limited(&stage, &account, json!({"amount": "0.5", "per": "day"})).await;
    let path = format!("{account}/keys/{}", id_of(&key["key"]));
    hold(&stage, secret_of(&key)).await.json(201);
    assert_eq!(hold(&stage, secret_of(&key)).await.status, 402);
    for (limit, then) in [
        (json!({"amount": "0.9", "per": "month"}), 402),
        (json!({"amount": "1", "per": "month"}), 201),
        (json!({"amount": "1", "per": "day"}), 402),
        (Value::Null, 201),
    ] {
        let changed = stage.operator.patch(&path, json!({"spending_limit": limit})).await;
        let list = format!("{account}/keys?after={}", changed.position());
        assert_eq!(changed.json(200)["spending_limit"], limit);
        let list = stage.operator.get(&list).await.json(200);
        let row = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["id"] == key["key"]["id"]);
        assert_eq!(row.unwrap()["spending_limit"], limit);
        assert_eq!(hold(&stage, secret_of(&key)).await.status, then, "{limit}");
    }
    let history = stage.operator.get(&format!("{path}/history")).await.json(200);
    let changes = history["items"].as_array().unwrap().iter();
    let changes = changes.filter(|event| event["type"] == "keyledger.KeySpendingLimited.v1");
    assert_eq!(changes.count(), 4);
    stage.operator.delete(&path).await.json(200);
    let late = stage.operator.patch(&path, json!({"spending_limit": null})).await;
    assert_eq!(late.problem(409), "key-deleted");
}

#[tokio::test]
async fn what_is_no_limit_is_refused_where_it_stands() {
    let stage = Stage::open().await;
    let (account, key) = stage.customer("10").await;
    for limit in [
        json!({"amount": "0", "per": "day"}),
        json!({"amount": "-1", "per": "day"}),
        json!({"amount": 1, "per": "day"}),
        json!({"amount": "1", "per": "week"}),
        json!({"amount": "1"}),
        json!("1"),
    ] {
        let body = json!({"name": "No", "spending_limit": limit});
        let refused = stage.operator.post(&format!("{account}/keys"), body).await;
        assert_eq!(refused.problem(422), "invalid-body", "{limit}");
        assert!(refused.text.contains("\"field\":\"spending_limit"), "{}", refused.text);
    }
    let path = format!("{account}/keys/{}", id_of(&key["key"]));
    let both = json!({"name": "Both", "spending_limit": null});
    for body in [json!({}), both] {
        assert_eq!(stage.operator.patch(&path, body).await.problem(422), "invalid-body");
    }
    let metering = stage.client(keyledger::tokens::Role::Metering).await;
    let body = json!({"spending_limit": null});
    assert_eq!(metering.patch(&path, body).await.problem(403), "forbidden");
}
