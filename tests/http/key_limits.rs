//! Keys that are limited to endpoints or to a rate of their own: made, shown, and kept to.

use serde_json::{Value, json};

use super::client::Answer;
use super::stage::{Stage, id_of, secret_of};
use crate::projector::views_equal_replay;

async fn make(stage: &Stage, account: &str, limits: Value) -> Answer {
    let mut body = json!({"name": "Looker Studio"});
    let members = body.as_object_mut().unwrap();
    members.extend(limits.as_object().unwrap().clone());
    stage.operator.post(&format!("{account}/keys"), body).await
}

/// A customer with ten credits and a key with these limits: its address, and the key's text.
async fn customer(stage: &Stage, limits: Value) -> (String, String) {
    let (account, _) = stage.customer("10").await;
    let made = make(stage, &account, limits).await.json(201);
    (account, secret_of(&made).to_owned())
}

#[tokio::test]
async fn key_limits_are_shown_as_they_were_asked_for() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let asked = json!({"scopes": ["serp", "echo"], "rate_limit": {"per_second": 10, "burst": 30}});
    let made = make(&stage, &account, asked).await;
    let position = made.position().to_owned();
    let key = made.json(201)["key"].clone();
    let (scopes, rate) = (json!(["echo", "serp"]), json!({"per_second": 10, "burst": 30}));
    assert_eq!((&key["scopes"], &key["rate_limit"]), (&scopes, &rate));
    let list = stage
        .operator
        .get(&format!("{account}/keys?after={position}"))
        .await
        .json(200);
    let [limited, unlimited] = list["items"].as_array().unwrap().as_slice() else {
        panic!("two keys: {list}");
    };
    assert_eq!((&limited["scopes"], &limited["rate_limit"]), (&scopes, &rate));
    assert_eq!(
        (unlimited.get("scopes"), unlimited.get("rate_limit")),
        (Some(&Value::Null), Some(&Value::Null))
    );
    let renamed = format!("{account}/keys/{}", id_of(&key));
    let renamed = stage.operator.patch(&renamed, json!({"name": "Other"})).await.json(200);
    assert_eq!((&renamed["scopes"], &renamed["rate_limit"]), (&scopes, &rate));
    views_equal_replay(&stage.harness).await;
}

#[tokio::test]
async fn key_limits_come_back_when_the_view_is_rebuilt() {
    let stage = Stage::open().await;
    let (account, _) = customer(&stage, json!({"scopes": ["serp"], "rate_limit": {"per_second": 7}})).await;
    views_equal_replay(&stage.harness).await;
    let mut owner = stage.harness.owner().await;
    sqlx::query("update views.key_list set scopes = null, rate_per_second = null, rate_burst = null")
        .execute(&mut owner)
        .await
        .unwrap();
    let view = keyledger::projector::View::KeyList;
    let rebuilt = keyledger::projector::rebuild(stage.harness.owner_url(), view, |_, _| {});
    assert!(rebuilt.await.unwrap().rows_changed > 0);
    let key = stage.operator.get(&format!("{account}/keys")).await.json(200)["items"][0].clone();
    assert_eq!(key["scopes"], json!(["serp"]));
    // A burst that was not said is one second's worth.
    assert_eq!(key["rate_limit"], json!({"per_second": 7, "burst": 7}));
}

#[tokio::test]
async fn key_limits_bind_reservations_and_no_work_that_goes_on() {
    let stage = Stage::open().await;
    let (account, secret) = customer(&stage, json!({"scopes": ["serp"]})).await;
    let reserve = |endpoint: &str| json!({"secret": secret, "endpoint": endpoint});
    let refused = stage.operator.post("/v1/reservations", reserve("echo")).await;
    assert_eq!(refused.problem(403), "key-scope");
    assert_eq!(refused.json(403)["detail"], "the key is not for echo");
    let held = stage.operator.post("/v1/reservations", reserve("serp")).await.json(201);
    let charge = format!("{account}/reservations/{}/charge", id_of(&held));
    assert_eq!(
        stage.operator.post(&charge, json!({})).await.json(200)["charged"],
        "0.5"
    );
    // Without a key there are no scopes.
    let id = account.rsplit('/').next().unwrap();
    let own = json!({"account": id, "endpoint": "echo"});
    stage.operator.post("/v1/reservations", own).await.json(201);
}

#[tokio::test]
async fn key_limits_are_a_part_of_what_an_idempotency_key_names() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let send = async |body: Value| {
        let path = format!("{account}/keys");
        stage
            .operator
            .post_with(&path, &[("idempotency-key", "k-1")], body)
            .await
    };
    let first = send(json!({"name": "CI", "scopes": ["serp", "echo"]})).await.json(201);
    // The order in which endpoints are named says nothing, and a limit that is `null` is none.
    let again = send(json!({"name": "CI", "scopes": ["echo", "serp"], "rate_limit": null})).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.json(201)["key"]["id"], first["key"]["id"]);
    for other in [json!({"name": "CI"}), json!({"name": "CI", "scopes": ["serp"]})] {
        assert_eq!(send(other).await.problem(422), "idempotency-mismatch");
    }
}

#[tokio::test]
async fn key_limits_may_name_an_endpoint_that_has_no_price_yet() {
    let stage = Stage::open().await;
    let (_, secret) = customer(&stage, json!({"scopes": ["next_year"]})).await;
    let reserve = async |endpoint: &str| {
        let body = json!({"secret": secret, "endpoint": endpoint});
        stage.operator.post("/v1/reservations", body).await
    };
    assert_eq!(reserve("next_year").await.problem(404), "unknown-endpoint");
    assert_eq!(reserve("serp").await.problem(403), "key-scope");
}

/// What a proxy is told about a GET of this path with this key.
async fn ask(stage: &Stage, token: &str, secret: &str, path: &str) -> Answer {
    let bearer = format!("Bearer {secret}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-keyledger-forward-auth", token),
        ("x-original-method", "GET"),
        ("x-original-uri", path),
    ];
    stage
        .stranger()
        .send(http::Method::GET, "/v1/forward-auth", &headers, "")
        .await
}

async fn proxy_token(stage: &Stage) -> String {
    let (_, token) = stage
        .tokens
        .create(keyledger::tokens::Role::Metering, "proxy")
        .await
        .unwrap();
    token.expose_text_to_its_maker().to_owned()
}

#[tokio::test]
async fn forward_auth_keeps_a_key_to_its_scopes() {
    let stage = Stage::open().await;
    let token = proxy_token(&stage).await;
    let (account, secret) = customer(&stage, json!({"scopes": ["serp"]})).await;
    assert_eq!(ask(&stage, &token, &secret, "/serp?q=a").await.status, 200);
    for _ in 0..3 {
        let refused = ask(&stage, &token, &secret, "/echo").await;
        assert_eq!(refused.problem(403), "key-scope");
        assert_eq!(refused.header("x-keyledger-code"), "key-scope");
        assert_eq!(refused.header("x-keyledger-reservation"), "");
    }
    let head = stage.harness.log().head().await.unwrap().position;
    let balance = stage.operator.get(&format!("{account}/balance?after=0:{head}")).await;
    assert_eq!(balance.json(200)["reserved"], "0.5");
}

#[tokio::test]
async fn forward_auth_limits_a_key_by_its_own_rate() {
    let stage = Stage::open().await;
    let token = proxy_token(&stage).await;
    let (_, secret) = customer(&stage, json!({"rate_limit": {"per_second": 1, "burst": 2}})).await;
    assert_eq!(ask(&stage, &token, &secret, "/serp").await.status, 200);
    let flood = futures_util::future::join_all((0..20).map(|_| ask(&stage, &token, &secret, "/serp"))).await;
    let denied = flood.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(denied.problem(429), "rate-limited");
    assert_eq!(denied.header("ratelimit-policy"), "\"key\";q=2;w=2");
    assert_eq!(denied.header("retry-after"), "1");
    // Another key knows nothing of it.
    let (_, other) = customer(&stage, json!({})).await;
    assert_eq!(ask(&stage, &token, &other, "/serp").await.status, 200);
}
