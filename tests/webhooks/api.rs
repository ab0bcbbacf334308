//! The delivery log over HTTP: who may look, who may send again, and what bad requests get.

use http::StatusCode;
use keyledger::tokens::Role;
use keyledger::webhooks::Kind;
use keyledger_events::Timestamp;
use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{Shifted, couriers, cross, registered, watched};
use crate::http::stage::Stage;

const LIST: &str = "/v1/webhooks/billing/deliveries";

#[tokio::test]
async fn deliveries_are_listed_page_by_page_and_sent_again_by_their_time() {
    let stage = Stage::open().await;
    let (_, id) = watched(&stage).await;
    let receiver = Receiver::start().await;
    couriers(&stage, &[receiver.config("billing", &Kind::ALL)], &Shifted::default());
    registered(&stage, "billing").await;
    cross(&stage, &id, 5).await;
    receiver.has_taken(5).await;
    crate::harness::until("all is written down", async || {
        stage.operator.get(&format!("{LIST}?state=waiting")).await.json(200)["items"] == json!([])
    })
    .await;
    let auditor = stage.client(Role::Auditor).await;
    let mut seen = Vec::new();
    let mut path = format!("{LIST}?limit=2");
    loop {
        let page = auditor.get(&path).await.json(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].clone()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("{LIST}?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    let mut taken: Vec<Value> = receiver.taken().iter().map(|message| json!(message.id)).collect();
    taken.reverse();
    assert_eq!(seen, taken, "the newest first");
    let receivers = auditor.get("/v1/webhooks").await.json(200);
    let shown = &receivers["items"][0];
    assert_eq!((&shown["name"], &shown["failures"]), (&json!("billing"), &json!(0)));
    assert!(!receivers.to_string().contains("whsec"), "a secret is shown nowhere");

    let again = json!({"from": "2020-01-01T00:00:00Z", "to": Timestamp::MAX.to_string()});
    auditor
        .post("/v1/webhooks/billing/replay", again.clone())
        .await
        .problem(403);
    let replayed = stage
        .operator
        .post("/v1/webhooks/billing/replay", again)
        .await
        .json(200);
    assert_eq!(replayed, json!({"replayed": 5}));
    let taken = receiver.has_taken(10).await;
    assert_eq!(taken[..5], taken[5..], "the same ids and bodies, in the same order");
    let none = json!({"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"});
    let replayed = stage.operator.post("/v1/webhooks/billing/replay", none).await.json(200);
    assert_eq!(replayed, json!({"replayed": 0}));
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told() {
    let stage = Stage::open().await;
    let (_, id) = watched(&stage).await;
    let receiver = Receiver::start().await;
    receiver.answer(StatusCode::GONE);
    couriers(&stage, &[receiver.config("billing", &Kind::ALL)], &Shifted::default());
    registered(&stage, "billing").await;
    cross(&stage, &id, 1).await;
    crate::harness::until("it is given up at once", async || {
        stage.operator.get(&format!("{LIST}?state=given-up")).await.json(200)["items"] != json!([])
    })
    .await;
    let get = async |path: &str, status: u16| stage.operator.get(path).await.problem(status);
    assert_eq!(get("/v1/webhooks/none/deliveries", 404).await, "unknown-webhook");
    assert_eq!(get("/v1/webhooks/%00/deliveries", 404).await, "unknown-webhook");
    assert_eq!(get(&format!("{LIST}/evt_0"), 404).await, "unknown-delivery");
    assert_eq!(get(&format!("{LIST}?state=lost"), 422).await, "invalid-query");
    assert_eq!(get(&format!("{LIST}?limit=0"), 422).await, "invalid-query");
    assert_eq!(get(&format!("{LIST}?receiver=x"), 422).await, "invalid-query");
    assert_eq!(get(&format!("{LIST}?cursor=x"), 400).await, "bad-cursor");
    assert_eq!(get("/v1/webhooks/none/deliveries/evt_0", 404).await, "unknown-delivery");
    let post = async |path: &str, body: Value, status: u16| stage.operator.post(path, body).await.problem(status);
    assert_eq!(
        post(&format!("{LIST}/evt_0/replay"), json!({}), 404).await,
        "unknown-delivery"
    );
    let span = |from: &str, to: &str| json!({"from": from, "to": to});
    let right = span("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    assert_eq!(post("/v1/webhooks/none/replay", right, 404).await, "unknown-webhook");
    let path = "/v1/webhooks/billing/replay";
    for (wrong, field) in [
        (span("2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z"), "to"),
        (span("yesterday", "2026-01-02T00:00:00Z"), "from"),
        (json!({"from": "2026-01-02T00:00:00Z"}), "to"),
        (
            json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "state": "x"}),
            "state",
        ),
    ] {
        let answer = stage.operator.post(path, wrong.clone()).await;
        assert_eq!(answer.json(422)["field"], field, "{wrong}");
    }
    stage
        .client(Role::Metering)
        .await
        .get("/v1/webhooks")
        .await
        .problem(403);
    stage.stranger().get("/v1/webhooks").await.problem(401);
}
