//! Who may do what.

use keyledger::tokens::Role;
use serde_json::json;

use super::client::Client;
use super::stage::{Stage, id_of, secret_of};

#[tokio::test]
async fn each_role_does_its_own_work_and_no_other() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let before = stage.harness.log().head().await.unwrap().position;
    let reserve = || json!({"secret": secret_of(&made), "endpoint": "serp"});
    let key = format!("{account}/keys/{}", id_of(&made["key"]));
    for (role, reads, grants, meters) in [
        (Role::Metering, false, false, true),
        (Role::Billing, true, true, false),
        (Role::Auditor, true, false, false),
    ] {
        let client = stage.client(role).await;
        let told = |answer: u16, allowed: bool, what: &str| {
            assert_eq!(answer != 403, allowed, "{} {what}: {answer}", role.as_str());
        };
        for path in [
            "/keys",
            "/balance",
            "/grants",
            "/plans",
            "/thresholds",
            "/charges",
            "/events",
            "/reservations",
            "",
        ] {
            told(
                client.get(&format!("{account}{path}")).await.status.as_u16(),
                reads,
                path,
            );
        }
        told(client.get("/v1/events").await.status.as_u16(), reads, "log");
        told(client.get("/v1/prices").await.status.as_u16(), reads, "prices");
        // Wrong bodies: whoever may is told about the body, whoever may not is not asked for one.
        let path = format!("{account}/grants");
        told(client.post(&path, json!({})).await.status.as_u16(), grants, "grant");
        for path in ["/corrections", "/plans", "/charges/rsv_1/refund"] {
            let answer = client.post(&format!("{account}{path}"), json!({})).await;
            told(answer.status.as_u16(), grants, path);
        }
        let thresholds = client.put(&format!("{account}/thresholds"), json!({})).await;
        told(thresholds.status.as_u16(), grants, "thresholds");
        let plan = client.delete(&format!("{account}/plans/plan_1")).await;
        told(plan.status.as_u16(), grants, "end a plan");
        let close = client.post(&format!("{account}/close"), json!({})).await;
        told(close.status.as_u16(), false, "close");
        told(client.patch(&account, json!({})).await.status.as_u16(), false, "change");
        told(
            client.post("/v1/reservations", json!({})).await.status.as_u16(),
            meters,
            "reserve",
        );
        told(
            client.post("/v1/charges", json!({})).await.status.as_u16(),
            meters,
            "charge",
        );
        told(
            client.post("/v1/accounts", json!({"name": "x"})).await.status.as_u16(),
            false,
            "open",
        );
        told(client.delete(&key).await.status.as_u16(), false, "delete");
        let path = format!("{key}/rotate");
        let overlap = json!({"overlap_seconds": 0});
        told(client.post(&path, overlap).await.status.as_u16(), false, "rotate");
        told(
            client.patch(&key, json!({"name": "x"})).await.status.as_u16(),
            false,
            "rename",
        );
    }
    assert_eq!(stage.harness.log().head().await.unwrap().position, before);
    stage
        .client(Role::Metering)
        .await
        .post("/v1/reservations", reserve())
        .await
        .json(201);
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_by_the_process_that_revoked_it() {
    let stage = Stage::open().await;
    let (id, secret) = stage.tokens.create(Role::Auditor, "for the audit").await.unwrap();
    let client = Client::new(stage.address, Some(secret.expose_text_to_its_maker().to_owned()));
    client.get("/v1/accounts").await.json(200);
    assert!(stage.revoke(id).await);
    assert!(!stage.revoke(id).await);
    let refused = client.get("/v1/accounts").await;
    assert_eq!(refused.problem(401), "token-invalid");
    assert_eq!(refused.header("www-authenticate"), "Bearer");
}

#[tokio::test]
async fn the_text_of_a_token_is_nowhere_in_the_database() {
    let stage = Stage::open().await;
    let text = &stage.operator_token.1;
    let mut owner = stage.harness.owner().await;
    let found: i64 = sqlx::query_scalar("select count(*) from access_tokens t where t::text like '%' || $1 || '%'")
        .bind(&text[4..])
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(found, 0);
    let caller = stage.tokens.check(text).await.unwrap();
    assert_eq!((caller.token, caller.role), (stage.operator_token.0, Role::Operator));
}

#[tokio::test]
async fn events_name_the_token_that_caused_them() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let event = stage.operator.get(&format!("{account}/events")).await.json(200)["items"][0].clone();
    assert_eq!(event["actor"], stage.operator_token.0.to_string());
}
