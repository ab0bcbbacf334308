//! What another proxy is told, in the shapes in which nginx, Caddy, Traefik and Envoy ask.

pub mod behind;
mod settled;

use std::os::unix::fs::PermissionsExt as _;

use keyledger::config::ForwardAuthConfig;
use keyledger::local::{PostgresOptions, PrivatePostgres};
use keyledger::tokens::Role;
use keyledger_events::base62_secret;

use super::stage::Stage;
use crate::harness::Harness;
use behind::{ASK, Behind};

#[tokio::test]
async fn forward_auth_holds_and_hands_on_who_pays() {
    let behind = Behind::proxy("10").await;
    let answer = behind.ask("GET", "/serp?q=a").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
    assert!(behind.account.ends_with(answer.header("x-keyledger-account")));
    assert_eq!(answer.header("x-keyledger-key"), behind.key);
    assert!(answer.header("x-keyledger-reservation").starts_with("rsv_"));
    assert_eq!(
        (answer.header("credits-held"), answer.header("credits-remaining")),
        ("0.5", "9.5")
    );
    assert_eq!(behind.balance().await["reserved"], "0.5");
}

#[tokio::test]
async fn forward_auth_is_asked_in_the_shape_of_each_proxy() {
    let behind = Behind::proxy("10").await;
    let caddy_and_traefik = [
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", "/serp?q=a"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "api.example"),
        ("x-forwarded-for", "203.0.113.9"),
    ];
    let answers = [
        behind.ask("GET", "/serp?q=a").await,
        behind.send("GET", ASK, &caddy_and_traefik).await,
        // Envoy sends the original method and path behind its prefix.
        behind.send("GET", "/v1/forward-auth/serp?q=a", &[]).await,
        // Any method may be used for asking about a GET.
        behind.send("POST", ASK, &caddy_and_traefik).await,
        behind.send("PUT", ASK, &caddy_and_traefik).await,
    ];
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(behind.balance().await["reserved"], "2.5");
    let unpriced = behind.send("POST", "/v1/forward-auth/serp", &[]).await;
    assert_eq!(unpriced.problem(404), "unpriced");
}

#[tokio::test]
async fn forward_auth_believes_no_proxy_without_a_token() {
    let behind = Behind::proxy("10").await;
    let (_, auditor) = behind.stage.tokens.create(Role::Auditor, "auditor").await.unwrap();
    let unknown = base62_secret("klt_", [7; 32]);
    let original = [("x-original-method", "GET"), ("x-original-uri", "/serp")];
    for token in ["", "x", &unknown, auditor.expose_text_to_its_maker(), &behind.secret] {
        let mut headers = original.to_vec();
        headers.push(("x-keyledger-forward-auth", token));
        let answer = behind.send("GET", ASK, &headers).await;
        assert_eq!(answer.problem(403), "forward-auth-untrusted");
        let settle = behind.send("POST", "/v1/forward-auth-settle", &headers).await;
        assert_eq!(settle.problem(403), "forward-auth-untrusted");
    }
    let mut twice = original.to_vec();
    twice.push(("x-keyledger-forward-auth", &behind.token));
    twice.push(("x-keyledger-forward-auth", &behind.token));
    assert_eq!(behind.send("GET", ASK, &twice).await.status, 403);
    // In the address it is not read.
    let in_address = format!("{ASK}?token={}", behind.token);
    let mut headers = original.to_vec();
    headers.push(("x-keyledger-forward-auth", ""));
    assert_eq!(behind.send("GET", &in_address, &headers).await.status, 403);
    behind.nothing_moved().await;
}

#[tokio::test]
async fn forward_auth_refuses_as_the_gateway_does() {
    let behind = Behind::proxy("0.4").await;
    let lack = behind.ask("GET", "/serp").await;
    assert_eq!(lack.problem(402), "insufficient-credits");
    assert_eq!(lack.json(402)["required"], "0.5");
    assert_eq!(behind.ask("GET", "/nothing").await.problem(404), "unpriced");
    assert_eq!(behind.ask("BREW", "/serp").await.problem(405), "method-not-allowed");
    for path in ["/serp/../x", "//serp", "/a%2fserp", "/serp;a", "serp"] {
        assert_eq!(behind.ask("GET", path).await.problem(400), "bad-path", "{path}");
    }
    let long = format!("/serp?q={}", "x".repeat(5_000));
    assert_eq!(behind.ask("GET", &long).await.problem(414), "uri-too-long");
    let original = [("x-original-method", "GET"), ("x-original-uri", "/serp")];
    for (secret, code) in [
        ("Bearer sk_live_mistyped", "key-invalid"),
        ("Basic eA==", "key-missing"),
    ] {
        let mut headers = original.to_vec();
        headers.push(("authorization", secret));
        assert_eq!(behind.send("GET", ASK, &headers).await.problem(401), code);
    }
    behind.nothing_moved().await;
}

#[tokio::test]
async fn forward_auth_refuses_a_request_that_is_told_in_two_ways() {
    let behind = Behind::proxy("10").await;
    let spoofed = [
        ("x-original-method", "GET"),
        ("x-original-uri", "/serp"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", "/free"),
    ];
    assert_eq!(behind.send("GET", ASK, &spoofed).await.problem(400), "bad-request");
    let behind_prefix = behind.send("GET", "/v1/forward-auth/free", &spoofed[..2]).await;
    assert_eq!(behind_prefix.problem(400), "bad-request");
    assert_eq!(behind.send("GET", ASK, &[]).await.problem(400), "bad-request");
    behind.nothing_moved().await;
}

#[tokio::test]
async fn forward_auth_tells_a_deleted_key_at_once() {
    let behind = Behind::proxy("10").await;
    assert_eq!(behind.ask("GET", "/serp").await.status, 200);
    let path = format!("{}/keys/{}", behind.account, behind.key);
    behind.stage.operator.delete(&path).await.json(200);
    assert_eq!(behind.ask("GET", "/serp").await.problem(401), "key-deleted");
}

#[tokio::test]
async fn forward_auth_speaks_401_and_403_alone_to_those_who_ask_for_it() {
    let behind = Behind::proxy("0.4").await;
    let original = [("x-original-method", "GET"), ("x-original-uri", "/serp")];
    let mut by_header = original.to_vec();
    by_header.push(("x-keyledger-refuse-as", "403"));
    let by_query = format!("{ASK}?refuse=401-403");
    for answer in [
        behind.send("GET", ASK, &by_header).await,
        behind.send("GET", &by_query, &original).await,
    ] {
        assert_eq!(answer.status, 403);
        assert_eq!(answer.header("x-keyledger-status"), "402");
        assert_eq!(answer.header("x-keyledger-code"), "insufficient-credits");
        assert!(answer.text.contains(r#""status":402"#));
    }
    by_header.push(("authorization", "Bearer x"));
    let key = behind.send("GET", ASK, &by_header).await;
    assert_eq!(
        (key.problem(401), key.header("x-keyledger-status")),
        ("key-invalid".to_owned(), "401")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_of_the_log_lets_nothing_through_forward_auth() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let options = PostgresOptions {
        dir: directory.path().join("postgres"),
        durable: true,
        port: None,
        slow_disk: None,
        settings: Vec::new(),
    };
    let postgres = PrivatePostgres::start(options).await.unwrap();
    keyledger::migrate::migrate(&postgres.url()).await.unwrap();
    let harness = Harness::on("away".to_owned(), postgres.url(), "nats://127.0.0.1:1".to_owned());
    let behind = Behind::on(Stage::on(harness, true).await, "10").await;
    assert_eq!(behind.ask("GET", "/serp").await.status, 200);
    postgres.kill_9().await;
    for _ in 0..2 {
        let answer = behind.ask("GET", "/serp").await;
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(answer.header("x-keyledger-account"), "");
    }
    postgres.start_again().await.unwrap();
    crate::harness::until("the ledger is back", async || {
        behind.ask("GET", "/serp").await.status == 200
    })
    .await;
    postgres.stop().await;
}

#[tokio::test]
async fn forward_auth_limits_calls_as_the_gateway_does() {
    let behind = Behind::proxy("10").await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(behind.ask("GET", "/limited").await);
    }
    let denied = answers
        .iter()
        .find(|answer| answer.status == 429)
        .expect("two at once and one a second are let through");
    assert_eq!(denied.problem(429), "rate-limited");
    assert_eq!(denied.header("retry-after"), "1");
    assert!(denied.header("ratelimit").starts_with("\"endpoint\";r=0;"));
    assert_eq!(denied.header("ratelimit-policy"), "\"endpoint\";q=2;w=2");
    assert!(answers[0].header("ratelimit").starts_with("\"endpoint\";r=1;"));
    let as_403 = [
        ("x-original-method", "GET"),
        ("x-original-uri", "/limited"),
        ("x-keyledger-refuse-as", "403"),
    ];
    let mut refused = behind.send("GET", ASK, &as_403).await;
    for _ in 0..3 {
        if refused.status == 200 {
            refused = behind.send("GET", ASK, &as_403).await;
        }
    }
    assert_eq!(
        (refused.status.as_u16(), refused.header("x-keyledger-status")),
        (403, "429")
    );
}

#[tokio::test]
async fn forward_auth_is_asked_from_the_networks_that_are_listed() {
    let from = |network: &str| ForwardAuthConfig {
        peers: Some(vec![network.parse().unwrap()]),
    };
    let stage = Stage::asked_from(Harness::start().await, true, from("127.0.0.0/8")).await;
    let behind = Behind::on(stage, "10").await;
    assert_eq!(behind.ask("GET", "/serp").await.status, 200);
    let stage = Stage::asked_from(Harness::start().await, true, from("192.0.2.0/24")).await;
    let behind = Behind::on(stage, "10").await;
    // What the request says of itself is not its peer.
    let forwarded = [
        ("x-original-method", "GET"),
        ("x-original-uri", "/serp"),
        ("x-forwarded-for", "192.0.2.1"),
    ];
    for path in [ASK, "/v1/forward-auth-settle"] {
        let method = if path == ASK { "GET" } else { "POST" };
        let answer = behind.send(method, path, &forwarded).await;
        assert_eq!(answer.problem(403), "forward-auth-untrusted", "{path}");
    }
    behind.nothing_moved().await;
}
