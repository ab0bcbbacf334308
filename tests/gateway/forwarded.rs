//! What the upstream sees: the client's request without its key, and us without a doubt.

use std::io;
use std::sync::{Arc, Mutex};

use super::raw::Stub;
use super::stage::{Stage, charged};

#[tokio::test]
async fn the_upstream_sees_who_asks_and_not_the_key() {
    let stage = Stage::open().await;
    let spoofed = "X-Keyledger-Account: acct_evil\r\nx_keyledger_key: key_evil\r\nX-Forwarded-For: 127.0.0.9\r\n\
        Forwarded: for=127.0.0.9\r\nX-Original-URI: /free\r\nX-HTTP-Method-Override: DELETE\r\n\
        Connection: X-Keyledger-Key, X-Keyledger-Account, Authorization, X-Mine\r\nX-Mine: 1\r\n\
        TE: trailers\r\nAccept: application/json\r\nX-Request-Id: mine-1\r\n\
        Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    let answer = stage.send(&stage.request("GET", "/echo?a=b%20c", spoofed)).await;
    let seen = answer.json();
    assert_eq!((&seen["path"], &seen["query"]), (&"/echo".into(), &"a=b%20c".into()));
    let used = stage.uses().await.remove(0);
    let expected = serde_json::json!({
        "accept": ["application/json"],
        "host": [seen["headers"]["host"][0]],
        "traceparent": ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
        "x-forwarded-for": ["127.0.0.1"],
        "x-keyledger-account": [stage.customer.account.to_string()],
        "x-keyledger-environment": ["live"],
        "x-keyledger-key": [stage.key.to_string()],
        "x-keyledger-reservation": [used.reservation.to_string()],
        "x-request-id": ["mine-1"],
    });
    assert_eq!(seen["headers"], expected);
    assert_ne!(seen["headers"]["host"][0], "api.example");
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
}

#[tokio::test]
async fn a_body_is_passed_on_and_a_counted_answer_is_asked_for_whole() {
    let stage = Stage::open().await;
    let request = stage.request("POST", "/echo", "Content-Length: 5\r\nExpect: 100-continue\r\n") + "hello";
    let answer = stage.send(&request).await;
    // The first answer is the permission to go on.
    assert_eq!(answer.status, 100);

    let stub = Stub::answering("HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{\"conversations\":[1,2,3]}").await;
    let stage = Stage::in_front_of(stub.address).await;
    stage
        .send(&stage.request(
            "GET",
            "/ai-visibility/a",
            "Range: bytes=0-1\r\nAccept-Encoding: gzip\r\n",
        ))
        .await;
    let seen = stub.requests().concat().to_ascii_lowercase();
    assert!(
        seen.contains("accept-encoding: identity") && !seen.contains("range:"),
        "{seen}"
    );
}

#[tokio::test]
async fn what_an_upstream_says_in_our_name_is_dropped() {
    let stub = Stub::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Credits-Charged\r\nCredits-Remaining: 1000000\r\n\
         X-Keyledger-Account: x\r\nKeep-Alive: 5\r\n\r\n2\r\nok\r\n0\r\nCredits-Charged: 0\r\n\r\n",
    )
    .await;
    let stage = Stage::in_front_of(stub.address).await;
    let answer = stage.send(&stage.request("GET", "/serp", "TE: trailers\r\n")).await;
    assert_eq!(answer.header("credits-remaining"), Some("99.5"));
    assert_eq!(
        (answer.header("x-keyledger-account"), answer.header("keep-alive")),
        (None, None)
    );
    assert_eq!(answer.trailer("credits-charged"), None);
    assert_eq!(stage.settled(1).await, [charged(1, "0.5")]);
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_key_is_in_no_log_however_much_is_logged() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let stage = Stage::open().await;
    for target in ["/serp?q=a", "/serp?fail=500", "/secret", "/serp/..", "/serp?q=a&cut=1"] {
        stage.get(target).await;
    }
    let doubled = stage.request("GET", "/serp", &format!("X-API-Key: {}x\r\n", stage.secret));
    assert_eq!(stage.send(&doubled).await.status, 400);
    let logged = String::from_utf8_lossy(&captured.0.lock().unwrap()).into_owned();
    assert!(logged.contains("an answer broke off"), "the log was captured");
    let random = &stage.secret["sk_live_".len()..];
    assert!(!logged.contains(random));
}
