//! Callers: who they say they are, and under which idempotency key.

use super::{get, none_of_it_is_taken, post};
use crate::http::stage::Stage;

#[tokio::test]
async fn callers_that_are_none() {
    none_of_it_is_taken(|world| {
        let path = format!("{}/balance", world.account);
        let unknown = keyledger_events::base62_secret("klt_", [7; 32]);
        let mut table = Vec::new();
        for value in [
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            "Basic b3BlcmF0b3I6eA==".to_owned(),
            "Bearer\tx".to_owned(),
            format!("Bearer {unknown}"),
            format!("Bearer {}x", &unknown[..unknown.len() - 1]),
            format!("Bearer {}", "x".repeat(8 << 10)),
            format!("Bearer {}", world.secret),
            "Bearer é".to_owned(),
        ] {
            table.push(get(&path, 401, "token-invalid").header("authorization", &value));
        }
        table.push(
            get(&path, 401, "token-invalid")
                .header("authorization", "Bearer a")
                .header("authorization", "Bearer b"),
        );
        // A stranger is told so before anything of the request is looked at.
        let grants = format!("{}/grants", world.account);
        table.push(post(&grants, "{", 401, "token-invalid").header("authorization", "Bearer x"));
        table.push(get("/v1/accounts/x", 401, "token-invalid").header("authorization", "Bearer x"));
        table
    })
    .await;
}

#[tokio::test]
async fn strangers_are_asked_for_a_token() {
    let stage = Stage::open().await;
    for path in ["/v1/accounts", "/v1/events", "/v1/prices", "/v1/accounts/x/balance"] {
        let answer = stage.stranger().get(path).await;
        assert_eq!(answer.problem(401), "token-missing");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn idempotency_keys_that_are_none() {
    none_of_it_is_taken(|world| {
        let grants = (format!("{}/grants", world.account), r#"{"amount":"1","source":"plan"}"#);
        let keys = (format!("{}/keys", world.account), r#"{"name":"x"}"#);
        let mut table = Vec::new();
        for (path, body) in [grants, keys] {
            let wrong = || post(&path, body, 400, "bad-idempotency-key").field("Idempotency-Key");
            for key in ["", "a b", "é", "a\tb", &"x".repeat(256)] {
                table.push(wrong().header("idempotency-key", key));
            }
            table.push(wrong().header("idempotency-key", "a").header("idempotency-key", "a"));
        }
        table
    })
    .await;
}
