//! How often a key, an account and a client may ask, and what being denied costs.

use keyledger::clock;
use keyledger_events::base62_secret;

use super::raw::{Answer, send};
use super::stage::{Stage, charged, demo_data_api, generate_key};

async fn with_key(stage: &Stage, key: &str) -> Answer {
    let head = format!("GET /echo HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n");
    send(stage.gateway, &head).await
}

fn wrong_key() -> String {
    base62_secret("sk_live_", clock::random_secret_bits())
}

#[tokio::test]
async fn rates_a_call_beyond_the_keys_limit_is_told_when_to_come_back_and_costs_nothing() {
    let stage = Stage::limited("per_key_per_second = 1\nper_key_burst = 2\n").await;
    let first = stage.get("/echo").await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("ratelimit"), Some("\"key\";r=1;t=1"));
    assert_eq!(first.header("ratelimit-policy"), Some("\"key\";q=2;w=2"));
    assert_eq!(stage.get("/echo").await.status, 200);
    let denied = stage.get("/echo").await;
    assert_eq!((denied.status, denied.code().as_str()), (429, "rate-limited"));
    assert_eq!(denied.header("retry-after"), Some("1"));
    assert_eq!(denied.header("ratelimit"), Some("\"key\";r=0;t=2"));
    assert_eq!(denied.header("content-type"), Some("application/problem+json"));
    assert!(denied.header("x-request-id").is_some());
    assert_eq!(stage.settled(2).await, [charged(1, "0.5"), charged(1, "0.5")]);
    assert_eq!((stage.holds().await, stage.uses().await.len()), (2, 2));
    // Whoever comes back when told to is let through.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(stage.get("/echo").await.status, 200);
}

#[tokio::test]
async fn rates_one_key_cannot_starve_another() {
    let stage = Stage::limited("per_key_per_second = 1\nper_key_burst = 2\n").await;
    let (_, other) = generate_key(&stage.ledger, stage.customer.account).await;
    let flood: Vec<_> = (0..20).map(|_| stage.get("/echo")).collect();
    let passed = futures_util::future::join_all(flood).await;
    assert_eq!(passed.iter().filter(|answer| answer.status == 200).count(), 2);
    assert_eq!(with_key(&stage, &other).await.status, 200);
}

#[tokio::test]
async fn rates_all_keys_of_an_account_share_its_limit() {
    let stage = Stage::limited("per_account_per_second = 1\nper_account_burst = 3\n").await;
    let (_, other) = generate_key(&stage.ledger, stage.customer.account).await;
    for key in [&stage.secret, &other, &stage.secret] {
        assert_eq!(with_key(&stage, key).await.status, 200);
    }
    let denied = with_key(&stage, &other).await;
    assert_eq!(
        (denied.status, denied.header("ratelimit")),
        (429, Some("\"account\";r=0;t=3"))
    );
}

#[tokio::test]
async fn rates_an_endpoint_may_have_a_limit_of_its_own() {
    let stage = Stage::limited("per_key_per_second = 50\n").await;
    let first = stage.get("/serp?q=a").await;
    assert_eq!(first.header("ratelimit"), Some("\"key\";r=49;t=1"));
    let limited = stage.get("/limited").await;
    // On a slow machine the key's bucket is full again by now.
    let told = limited.header("ratelimit").unwrap();
    let expected = ["48", "49"].map(|left| format!("\"endpoint\";r=0;t=1, \"key\";r={left};t=1"));
    assert!(expected.iter().any(|expected| expected == told), "{told}");
    let flood = futures_util::future::join_all((0..20).map(|_| stage.get("/limited"))).await;
    assert!(flood.iter().any(|answer| answer.status == 429));
    assert_eq!(stage.get("/serp?q=a").await.status, 200);
}

#[tokio::test]
async fn rates_a_flood_of_wrong_keys_is_no_work_for_the_ledger_and_no_harm_to_right_ones() {
    let stage = Stage::limited("bad_keys_per_second = 1\nbad_keys_burst = 5\n").await;
    assert_eq!(stage.get("/echo").await.status, 200);
    let keys: Vec<String> = (0..40).map(|_| wrong_key()).collect();
    let answers = futures_util::future::join_all(keys.iter().map(|key| with_key(&stage, key))).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert!((5..=6).contains(&count(401)), "{} were looked up", count(401));
    assert_eq!(count(401) + count(429), 40);
    let denied = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(
        (denied.code().as_str(), denied.header("retry-after")),
        ("rate-limited", Some("1"))
    );
    // The same address, a right key.
    assert_eq!(stage.get("/echo").await.status, 200);
    // Texts that cannot be keys count as well, and are told the same.
    assert_eq!(with_key(&stage, "nonsense").await.status, 429);
}

#[tokio::test]
async fn rates_behind_a_proxy_each_client_stands_for_itself() {
    const LIMITS: &str =
        "proxies = [\"127.0.0.1/32\"]\n[gateway.rate_limits]\nbad_keys_per_second = 1\nbad_keys_burst = 5\n";
    let stage = Stage::open().await.with(demo_data_api().await, LIMITS).await;
    let from = async |client: &str, key: &str| {
        let head = format!(
            "GET /echo HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nX-Forwarded-For: 9.9.9.9, {client}\r\n\
             Connection: close\r\n\r\n"
        );
        send(stage.gateway, &head).await
    };
    let keys: Vec<String> = (0..40).map(|_| wrong_key()).collect();
    let answers = futures_util::future::join_all(keys.iter().map(|key| from("6.6.6.6", key))).await;
    assert!(answers.iter().any(|answer| answer.status == 429));
    assert_eq!(from("6.6.6.6", &stage.secret).await.status, 429);
    // Somebody else, behind the same proxy, whose key nobody has seen here yet.
    let answer = from("1.2.3.4", &stage.secret).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json()["headers"]["x-forwarded-for"],
        serde_json::json!(["1.2.3.4"])
    );
    assert_eq!(stage.uses().await[0].network.as_deref(), Some("1.2.3.0/24"));
}

#[tokio::test]
async fn rates_a_refused_key_is_refused_again_without_the_ledger() {
    let stage = Stage::open().await;
    let wrong = wrong_key();
    assert_eq!(with_key(&stage, &wrong).await.code(), "key-invalid");
    let (_, right) = generate_key(&stage.ledger, stage.customer.account).await;
    stage.without_database().await;
    assert_eq!(with_key(&stage, &wrong).await.code(), "key-invalid");
    assert_eq!(with_key(&stage, &right).await.status, 503);
}

#[tokio::test]
async fn rates_a_new_key_works_at_once_whatever_was_refused_before() {
    let stage = Stage::open().await;
    for _ in 0..10 {
        assert_eq!(with_key(&stage, &wrong_key()).await.status, 401);
        let (_, right) = generate_key(&stage.ledger, stage.customer.account).await;
        assert_eq!(with_key(&stage, &right).await.status, 200);
    }
}

#[tokio::test]
async fn rates_a_deleted_key_is_told_so_and_never_let_through() {
    let stage = Stage::limited("per_key_per_second = 1\nper_key_burst = 3\nbad_keys_per_second = 1\n").await;
    assert_eq!(stage.get("/echo").await.status, 200);
    stage.delete_key(stage.key).await;
    // Its holder may ask as often as it likes: it is no guess at a key.
    for _ in 0..10 {
        assert_eq!(stage.get("/echo").await.code(), "key-deleted");
    }
    assert_eq!(stage.holds().await, 1);
}
