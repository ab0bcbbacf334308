//! What is told, and of whom.

use keyledger::webhooks::Kind;
use serde_json::json;

use super::receiver::Receiver;
use super::{Shifted, couriers, cross, registered, watched};
use crate::http::stage::{Stage, secret_of};

#[tokio::test]
async fn thresholds_leaks_and_refused_keys_are_told_with_what_a_platform_needs() {
    let stage = Stage::open().await;
    let receiver = Receiver::start().await;
    couriers(&stage, &[receiver.config("billing", &Kind::ALL)], &Shifted::default());
    registered(&stage, "billing").await;
    let body = json!({"name": "Acme", "external_ref": "crm/7"});
    let opened = stage.operator.post("/v1/accounts", body).await.json(201);
    let id = opened["id"].as_str().unwrap();
    let account = format!("/v1/accounts/{id}");
    let grant = json!({"amount": "6", "source": "purchase"});
    stage.operator.post(&format!("{account}/grants"), grant).await.json(201);
    let thresholds = json!({"thresholds": ["5"]});
    stage
        .operator
        .put(&format!("{account}/thresholds"), thresholds)
        .await
        .json(200);
    let new = json!({"name": "Looker Studio"});
    let key = stage.operator.post(&format!("{account}/keys"), new).await.json(201);
    let secret = secret_of(&key).to_owned();
    cross(&stage, id, 1).await;
    let low = receiver.has_taken(1).await[0].clone();
    assert_eq!((low.kind(), low.account()), ("credits.threshold_reached", id));
    let data = &low.body["data"];
    assert_eq!(
        (
            &data["threshold"],
            &data["balance"],
            &data["name"],
            &data["external_ref"]
        ),
        (&json!("5"), &json!("5"), &json!("Acme"), &json!("crm/7"))
    );
    let events = stage
        .operator
        .get(&format!("{account}/events?limit=200"))
        .await
        .json(200);
    let said = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["id"] == low.id.as_str());
    let said = said.expect("the message's id is that of the event which says it");
    assert_eq!(said["type"], "keyledger.ThresholdReached.v1");
    assert_eq!(said["time"], low.body["timestamp"]);

    stage
        .operator
        .post("/v1/leaks", json!({"keys": [&secret]}))
        .await
        .json(200);
    let leaked = receiver.has_taken(2).await[1].clone();
    assert_eq!(leaked.kind(), "key.leaked");
    assert_eq!(leaked.body["data"]["key"]["id"], key["key"]["id"]);
    assert_eq!(leaked.body["data"]["key"]["name"], "Looker Studio");

    let try_it = json!({"secret": secret, "endpoint": "serp"});
    for _ in 0..3 {
        stage
            .operator
            .post("/v1/reservations", try_it.clone())
            .await
            .problem(401);
    }
    stage.ledger.note_denials().await;
    let denied = receiver.has_taken(3).await[2].clone();
    assert_eq!(denied.kind(), "key.denied");
    assert_eq!(
        (&denied.body["data"]["reason"], &denied.body["data"]["count"]),
        (&json!("deleted"), &json!(3))
    );
    for message in receiver.taken() {
        assert!(
            !message.body.to_string().contains(&secret),
            "a key's text leaves by no webhook"
        );
    }
}

#[tokio::test]
async fn a_receiver_hears_of_what_it_asked_for_from_when_it_came() {
    let stage = Stage::open().await;
    let (_, id) = watched(&stage).await;
    let early = Receiver::start().await;
    let clock = Shifted::default();
    couriers(&stage, &[early.config("early", &[Kind::ThresholdReached])], &clock);
    registered(&stage, "early").await;
    cross(&stage, &id, 2).await;
    early.has_taken(2).await;
    let (late, other) = (Receiver::start().await, Receiver::start().await);
    let configs = [
        late.config("late", &[Kind::ThresholdReached]),
        other.config("other", &[Kind::KeyLeaked]),
    ];
    couriers(&stage, &configs, &clock);
    registered(&stage, "late").await;
    registered(&stage, "other").await;
    cross(&stage, &id, 1).await;
    let heard = late.has_taken(1).await;
    let all = early.has_taken(3).await;
    assert_eq!(heard[0], all[2]);
    assert_eq!((heard.len(), all.len(), other.asked()), (1, 3, 0));
}

#[tokio::test]
async fn of_two_processes_with_the_same_config_one_sends() {
    let stage = Stage::open().await;
    let (_, id) = watched(&stage).await;
    let receiver = Receiver::start().await;
    let config = receiver.config("billing", &Kind::ALL);
    let first = couriers(&stage, std::slice::from_ref(&config), &Shifted::default());
    couriers(&stage, &[config], &Shifted::default());
    registered(&stage, "billing").await;
    cross(&stage, &id, 10).await;
    receiver.has_taken(10).await;
    // The other goes on at once when the first one stops in order.
    first.cancel();
    cross(&stage, &id, 10).await;
    let taken = receiver.has_taken(20).await;
    let mut ids: Vec<_> = taken.iter().map(|message| &message.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), receiver.asked()), (20, 20), "each once");
}
