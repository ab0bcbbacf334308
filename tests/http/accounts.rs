//! Accounts that change.

use serde_json::json;

use super::stage::{Stage, id_of, secret_of};

#[tokio::test]
async fn an_account_is_renamed_and_its_limit_moved_and_the_rest_stays() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let change = async |body: serde_json::Value| stage.operator.patch(&account, body).await;
    let named = change(json!({"name": " Umbrella ", "external_ref": "crm/1"}))
        .await
        .json(200);
    assert_eq!(
        (&named["name"], &named["external_ref"]),
        (&json!("Umbrella"), &json!("crm/1"))
    );
    let limited = change(json!({"credit_limit": "2.5"})).await.json(200);
    assert_eq!(
        (&limited["external_ref"], &limited["credit_limit"]),
        (&json!("crm/1"), &json!("2.5"))
    );
    let again = change(json!({"credit_limit": "2.50"})).await;
    assert_eq!(
        (again.header("idempotent-replayed"), again.json(200)),
        ("true", limited)
    );
    let bare = change(json!({"external_ref": null})).await;
    let seen = stage
        .operator
        .get(&format!("{account}?after={}", bare.position()))
        .await
        .json(200);
    assert_eq!(bare.json(200), seen);
    assert_eq!(
        (&seen["name"], &seen["external_ref"]),
        (&json!("Umbrella"), &json!(null))
    );
    let found = stage.operator.get("/v1/accounts?search=umbr").await.json(200);
    assert_eq!(id_of(&found["items"][0]), id_of(&seen));
    for (wrong, code, field) in [
        (json!({"name": ""}), "invalid-name", "name"),
        (json!({"credit_limit": "-1"}), "invalid-amount", "credit_limit"),
        (json!({"external_ref": ""}), "invalid-body", "external_ref"),
        (
            json!({"opened_at": "2026-01-01T00:00:00Z"}),
            "invalid-body",
            "opened_at",
        ),
    ] {
        let answer = change(wrong).await;
        assert_eq!(answer.problem(422), code);
        assert_eq!(answer.json(422)["field"], field);
    }
}

#[tokio::test]
async fn a_limit_below_what_is_used_lets_nothing_new_through() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("0.5").await;
    let hold = async || {
        let reserve = json!({"secret": secret_of(&made), "endpoint": "serp"});
        stage.operator.post("/v1/reservations", reserve).await
    };
    let limit = async |limit: &str| {
        stage
            .operator
            .patch(&account, json!({"credit_limit": limit}))
            .await
            .json(200)
    };
    limit("1").await;
    for _ in 0..3 {
        hold().await.json(201);
    }
    limit("0.5").await;
    let refused = hold().await;
    assert_eq!(refused.problem(402), "insufficient-credits");
    assert_eq!(refused.json(402)["available"], "-1");
    limit("2").await;
    assert_eq!(hold().await.json(201)["available"], "-1.5");
}

#[tokio::test]
async fn a_closed_account_lets_nothing_new_be_done_and_is_still_read() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let reserve = || json!({"secret": secret_of(&made), "endpoint": "serp"});
    let held = stage.operator.post("/v1/reservations", reserve()).await.json(201);
    let close = async || {
        let reason = json!({"reason": "Contract ended"});
        stage.operator.post(&format!("{account}/close"), reason).await
    };
    let closed = close().await;
    let after = closed.position().to_owned();
    assert!(closed.json(200)["closed_at"].is_string());
    let again = close().await;
    assert_eq!(
        (again.header("idempotent-replayed"), again.status.as_u16()),
        ("true", 200)
    );
    let key = stage.operator.post("/v1/reservations", reserve()).await;
    assert_eq!(key.problem(401), "key-deleted");
    let charge = format!("{account}/reservations/{}/charge", id_of(&held));
    assert_eq!(
        stage.operator.post(&charge, json!({})).await.problem(409),
        "reservation-closed"
    );
    let id = account.rsplit('/').next().unwrap();
    for (path, body) in [
        (
            format!("{account}/grants"),
            json!({"amount": "1", "source": "purchase"}),
        ),
        (format!("{account}/keys"), json!({"name": "Another"})),
        ("/v1/charges".to_owned(), json!({"account": id, "endpoint": "serp"})),
        (
            "/v1/reservations".to_owned(),
            json!({"account": id, "endpoint": "serp"}),
        ),
    ] {
        assert_eq!(
            stage.operator.post(&path, body).await.problem(409),
            "account-closed",
            "{path}"
        );
    }
    let renamed = stage.operator.patch(&account, json!({"name": "Umbrella"})).await;
    assert_eq!(renamed.problem(409), "account-closed");
    let read = async |what: &str| {
        stage
            .operator
            .get(&format!("{account}{what}after={after}"))
            .await
            .json(200)
    };
    assert!(read("?").await["closed_at"].is_string());
    let balance = read("/balance?").await;
    assert_eq!(
        (&balance["available"], &balance["reserved"]),
        (&json!("10"), &json!("0"))
    );
    let keys = read("/keys?state=all&").await;
    assert_eq!(keys["items"][0]["delete_reason"], "account-closed", "{keys}");
    let used = read("/usage?").await;
    assert_eq!(used["items"][0]["released"]["account-closed"], 1);
}
