//! Keys that nobody uses.

use keyledger::webhooks::Kind;
use serde_json::json;

use super::receiver::Receiver;
use super::{Shifted, couriers, registered};
use crate::http::stage::{Stage, secret_of};

const DAY: i64 = 24 * 3_600;

#[tokio::test]
async fn a_key_that_nobody_used_for_ninety_days_is_told_of_once() {
    let stage = Stage::open().await;
    let (account, used) = stage.customer("5").await;
    let key = async |name: &str| {
        let made = stage
            .operator
            .post(&format!("{account}/keys"), json!({"name": name}))
            .await;
        made.json(201)
    };
    let (idle, gone) = (key("Idle").await, key("Gone").await);
    let id = |key: &serde_json::Value| key["key"]["id"].as_str().unwrap().to_owned();
    let path = format!("{account}/keys/{}", id(&gone));
    stage.operator.delete(&path).await.json(200);
    let hold = json!({"secret": secret_of(&used), "endpoint": "serp"});
    let held = stage.operator.post("/v1/reservations", hold).await;
    let after = held.position().to_owned();
    stage
        .operator
        .get(&format!("{account}/keys?after={after}"))
        .await
        .json(200);
    let receiver = Receiver::start().await;
    // 89 days on: nothing yet. It is looked for once an hour, and ours ends at the receiver's own.
    make_old(&stage, 89).await;
    let clock = Shifted::by_seconds(-DAY / 12);
    couriers(&stage, &[receiver.config("ops", &[Kind::KeyStale])], &clock);
    registered(&stage, "ops").await;
    // It came long ago: what has lain idle since then is told of, and not what did so before.
    let mut owner = stage.harness.owner().await;
    sqlx::query("update webhook_receivers set since = since - interval '1 year'")
        .execute(&mut owner)
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert_eq!(receiver.asked(), 0);
    make_old(&stage, 2).await;
    clock.go(DAY / 12);
    let taken = receiver.has_taken(2).await;
    let mut told: Vec<_> = taken
        .iter()
        .map(|message| message.body["data"]["key"]["id"].as_str().unwrap().to_owned())
        .collect();
    told.sort();
    let mut expected = [id(&idle), id(&used)];
    expected.sort();
    assert_eq!(told, expected);
    let of_used = taken
        .iter()
        .find(|message| message.body["data"]["key"]["id"] == id(&used).as_str())
        .unwrap();
    assert!(of_used.body["data"]["last_used"].is_string());
    assert!(
        of_used.body["data"]["key"]["preview"]
            .as_str()
            .unwrap()
            .starts_with("sk_live_")
    );
    // Looked for again, and nothing new.
    clock.go(DAY / 12);
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    let list = stage.operator.get("/v1/webhooks/ops/deliveries").await.json(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_receiver_that_is_new_is_not_told_of_what_has_been_idle_for_long() {
    let stage = Stage::open().await;
    let (account, key) = stage.customer("5").await;
    let listed = format!("{account}/keys?after=0:3");
    stage.operator.get(&listed).await.json(200);
    make_old(&stage, 200).await;
    let receiver = Receiver::start().await;
    couriers(
        &stage,
        &[receiver.config("ops", &[Kind::KeyStale])],
        &Shifted::default(),
    );
    registered(&stage, "ops").await;
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    assert_eq!(receiver.asked(), 0, "{}", key["key"]["id"]);
}

/// The key list's times, so many days earlier.
async fn make_old(stage: &Stage, days: i32) {
    let mut owner = stage.harness.owner().await;
    sqlx::query(
        "update views.key_list set created_at = created_at - make_interval(days => $1),
             last_used_at = last_used_at - make_interval(days => $1)",
    )
    .bind(days)
    .execute(&mut owner)
    .await
    .unwrap();
}
