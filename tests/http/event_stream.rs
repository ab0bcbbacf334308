//! The log as a stream: from any place on, without a gap, and no longer than its reader may.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use keyledger::tokens::Role;
use serde_json::{Value, json};

use super::stage::Stage;
use crate::sse::{Messages, field};

/// Opens a stream with a token's text. `Err`: the problem's code.
async fn open(stage: &Stage, token: &str, path: &str, last: Option<&str>) -> Result<Messages, String> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut asked = Request::get(format!("http://{}{path}", stage.address))
        .header("accept", "text/event-stream")
        .header("authorization", format!("Bearer {token}"));
    if let Some(last) = last {
        asked = asked.header("last-event-id", last);
    }
    let response = client.request(asked.body(Empty::new()).unwrap()).await.unwrap();
    if response.status() != 200 {
        let body = http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap()
            .to_bytes();
        let problem: Value = serde_json::from_slice(&body).unwrap();
        return Err(problem["code"].as_str().unwrap().to_owned());
    }
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    Ok(Messages::of(response.into_body()))
}

async fn next(messages: &mut Messages) -> (String, String, Value) {
    let message = messages.next().await.expect("the stream goes on");
    let part = |name: &str| {
        field(&message, name)
            .unwrap_or_else(|| panic!("no {name} in {message}"))
            .to_owned()
    };
    (part("id"), part("event"), serde_json::from_str(&part("data")).unwrap())
}

#[tokio::test]
async fn a_stream_has_what_was_and_then_what_comes_without_a_gap() {
    let stage = Stage::open().await;
    let token = stage.operator_token.1.clone();
    let (account, _) = stage.customer("10").await;
    let mut all = open(&stage, &token, "/v1/events", None).await.unwrap();
    let listed = stage.operator.get("/v1/events?limit=200").await.json(200);
    for event in listed["items"].as_array().unwrap() {
        let (id, name, data) = next(&mut all).await;
        assert_eq!(&data, event, "as it is stored");
        assert_eq!(id, format!("0:{}", event["position"]));
        assert_eq!(event["type"], format!("keyledger.{name}.v1"));
    }
    // From the middle, from a place that is given, and both at once: what was seen last counts.
    let third = next(&mut open(&stage, &token, "/v1/events?from=3", None).await.unwrap()).await;
    let mut again = open(&stage, &token, "/v1/events?from=1", Some("0:2")).await.unwrap();
    assert_eq!(next(&mut again).await, third);
    for n in 0..300 {
        let body = json!({"name": format!("Key {n}")});
        stage.operator.post(&format!("{account}/keys"), body).await.json(201);
    }
    let mut positions = Vec::new();
    for _ in 0..300 {
        let (id, name, _) = next(&mut all).await;
        assert_eq!(name, "KeyCreated");
        positions.push(id.strip_prefix("0:").unwrap().parse::<u64>().unwrap());
    }
    let first = positions[0];
    assert_eq!(positions, (first..first + 300).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_another_process_writes_is_heard_too() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let other = Stage::on(stage.harness.another(), true).await;
    let token = stage.operator_token.1.clone();
    let head = stage.operator.get("/v1/events?limit=1").await.position().to_owned();
    let mut here = open(&stage, &token, "/v1/events", Some(&head)).await.unwrap();
    let made = other
        .operator
        .post(&format!("{account}/keys"), json!({"name": "Elsewhere"}))
        .await;
    let (id, name, data) = next(&mut here).await;
    assert_eq!((id.as_str(), name.as_str()), (made.position(), "KeyCreated"));
    // The log as it is: what it says of people is sealed.
    assert_eq!(data["data"]["name"], "(sealed)");
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_revoked_and_when_the_process_stops() {
    let stage = Stage::open().await;
    stage.customer("10").await;
    let (id, secret) = stage.tokens.create(Role::Auditor, "auditor").await.unwrap();
    let text = secret.expose_text_to_its_maker().to_owned();
    let mut revoked = open(&stage, &text, "/v1/events?from=1", None).await.unwrap();
    let mut other = open(&stage, &stage.operator_token.1, "/v1/events?from=1", None)
        .await
        .unwrap();
    next(&mut revoked).await;
    stage.revoke(id).await;
    while revoked.next().await.is_some() {}
    stage.harness.stop.cancel();
    while other.next().await.is_some() {}
}

#[tokio::test]
async fn a_stream_that_cannot_be_is_a_problem() {
    let stage = Stage::open().await;
    let token = stage.operator_token.1.clone();
    let refused = async |path: &str, last: Option<&str>| open(&stage, &token, path, last).await.err();
    let position = || Some("bad-position".to_owned());
    for last in ["5", "1:5", "0:x", "0:999999"] {
        assert_eq!(refused("/v1/events", Some(last)).await, position(), "{last}");
    }
    assert_eq!(
        refused("/v1/events?from=0", None).await,
        Some("invalid-query".to_owned())
    );
    assert_eq!(refused("/v1/events?shard=7", None).await, Some("not-found".to_owned()));
    let (_, metering) = stage.tokens.create(Role::Metering, "metering").await.unwrap();
    let forbidden = open(&stage, metering.expose_text_to_its_maker(), "/v1/events", None).await;
    assert_eq!(forbidden.err(), Some("forbidden".to_owned()));
    let mut open_ones = Vec::new();
    let too_many = loop {
        match open(&stage, &token, "/v1/events", None).await {
            Ok(stream) => open_ones.push(stream),
            Err(code) => break code,
        }
    };
    assert_eq!((too_many.as_str(), open_ones.len()), ("too-many-streams", 64));
    // Whoever hangs up makes room.
    open_ones.clear();
    crate::harness::until("there is room again", async || {
        open(&stage, &token, "/v1/events", None).await.is_ok()
    })
    .await;
}
