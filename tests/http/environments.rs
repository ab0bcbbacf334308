//! Test keys: their work is counted, told apart, and costs nothing.

use serde_json::{Value, json};

use super::stage::{Stage, id_of, secret_of};

/// A request that fetched data: where the log then stands.
async fn fetch(stage: &Stage, account: &str, secret: &str) -> (Value, String) {
    let reserve = json!({"secret": secret, "endpoint": "serp"});
    let held = stage.operator.post("/v1/reservations", reserve).await.json(201);
    let charge = format!("{account}/reservations/{}/charge", id_of(&held));
    let charged = stage.operator.post(&charge, json!({})).await;
    let position = charged.position().to_owned();
    charged.json(200);
    (held, position)
}

#[tokio::test]
async fn a_test_keys_use_is_counted_apart_and_no_credit_is_spent() {
    let stage = Stage::open().await;
    let (account, live) = stage.customer("1").await;
    let body = json!({"name": "Trial", "environment": "test"});
    let test = stage.operator.post(&format!("{account}/keys"), body).await.json(201);
    fetch(&stage, &account, secret_of(&live)).await;
    let mut after = String::new();
    // More often than the credits would last.
    for _ in 0..4 {
        let (held, position) = fetch(&stage, &account, secret_of(&test)).await;
        assert_eq!((&held["amount"], &held["available"]), (&json!("0"), &json!("0.5")));
        after = position;
    }
    let get = async |what: &str| {
        let separator = if what.contains('?') { '&' } else { '?' };
        let path = format!("{account}/{what}{separator}after={after}");
        stage.operator.get(&path).await.json(200)
    };
    let balance = get("balance").await;
    assert_eq!(
        (&balance["available"], &balance["charged"]),
        (&json!("0.5"), &json!("0.5"))
    );
    for by in ["day", "endpoint"] {
        let usage = get(&format!("usage?by={by}")).await;
        let item = &usage["items"][0];
        assert_eq!(
            (&item["uses"], &item["test_uses"], &item["charged"]),
            (&json!(5), &json!(4), &json!("0.5")),
            "{by}"
        );
    }
    let usage = get("usage?by=key").await;
    for (key, uses, test_uses) in [(&live, 1, 0), (&test, 4, 4)] {
        let items = usage["items"].as_array().unwrap();
        let item = items.iter().find(|item| item["key"] == key["key"]["id"]).unwrap();
        assert_eq!((&item["uses"], &item["test_uses"]), (&json!(uses), &json!(test_uses)));
    }
    let charges = get("charges").await;
    let environments: Vec<&Value> = charges["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| &line["environment"])
        .collect();
    assert_eq!(environments, ["test", "test", "test", "test", "live"]);
    assert_eq!(charges["items"][0]["amount"], "0");
}

#[tokio::test]
async fn a_test_key_works_where_there_are_no_credits() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let mut secrets = Vec::new();
    for environment in ["live", "test"] {
        let body = json!({"name": "Key", "environment": environment});
        let made = stage.operator.post(&format!("{account}/keys"), body).await.json(201);
        secrets.push(secret_of(&made).to_owned());
    }
    let reserve = async |secret: &str| {
        let body = json!({"secret": secret, "endpoint": "serp"});
        stage.operator.post("/v1/reservations", body).await.status.as_u16()
    };
    assert_eq!((reserve(&secrets[0]).await, reserve(&secrets[1]).await), (402, 201));
}
