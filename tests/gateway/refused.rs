//! What is refused reaches neither the ledger's credits nor the upstream.

use keyledger::clock;
use keyledger::ledger::GrantCredits;
use keyledger_events::{GrantSource, base62_secret};

use super::raw::{Stub, send};
use super::stage::Stage;
use crate::ledger::customer::by_system;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn without_credits_nothing_is_forwarded() {
    let stage = Stage::with_credits("0.4").await;
    let answer = stage.get("/serp?q=a").await;
    assert_eq!((answer.status, answer.code().as_str()), (402, "insufficient-credits"));
    assert_eq!(
        (&answer.json()["required"], &answer.json()["available"]),
        (&"0.5".into(), &"0.4".into())
    );
    stage.nothing_was_held().await;
}

#[tokio::test]
async fn credits_for_one_endpoint_pay_there_and_are_not_told_of_elsewhere() {
    let stage = Stage::with_credits("0.4").await;
    let grant = GrantCredits {
        account: stage.customer.account,
        grant: clock::fresh_grant_id(),
        amount: "0.5".parse().unwrap(),
        priority: 0,
        expires_at: None,
        source: GrantSource::Promotion,
        reference: None,
        starts_at: None,
        endpoints: Some(vec!["serp".to_owned()].try_into().unwrap()),
        reason: None,
    };
    stage.ledger.submit(grant, by_system()).await.unwrap();
    let elsewhere = stage.get("/echo").await;
    assert_eq!(
        (elsewhere.status, elsewhere.code().as_str()),
        (402, "insufficient-credits")
    );
    assert_eq!(elsewhere.json()["available"], "0.4");
    assert_eq!(stage.get("/serp?q=a").await.status, 200);
    let again = stage.get("/serp?q=a").await;
    assert_eq!((again.status, &again.json()["available"]), (402, &"0.4".into()));
}

#[tokio::test]
async fn a_key_that_is_none_and_one_that_was_never_issued_are_told_the_same() {
    let stub = Stub::answering(OK).await;
    let stage = Stage::in_front_of(stub.address).await;
    let with = async |key: &str| {
        send(
            stage.gateway,
            &format!("GET /serp HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n"),
        )
        .await
    };
    let typo = with("sk_live_mistyped").await;
    let unknown = with(&base62_secret("sk_live_", clock::random_secret_bits())).await;
    for answer in [&typo, &unknown] {
        assert_eq!((answer.status, answer.code().as_str()), (401, "key-invalid"));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(typo.body, unknown.body);
    let none = send(
        stage.gateway,
        "GET /serp?api_key=x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!((none.status, none.code().as_str()), (401, "key-missing"));
    assert!(stub.requests().is_empty());
}

#[tokio::test]
async fn requests_that_could_be_read_in_two_ways_are_refused() {
    let stub = Stub::answering(OK).await;
    let stage = Stage::in_front_of(stub.address).await;
    for (method, target, more, status, code) in [
        ("GET", "/secret", "", 404, "unpriced"),
        ("GET", "/serp/../secret", "", 400, "bad-path"),
        ("GET", "/serp/%2e%2e/secret", "", 400, "bad-path"),
        ("GET", "//serp", "", 400, "bad-path"),
        ("GET", "/serp/a%2Fb", "", 400, "bad-path"),
        ("GET", "/serp/a;b", "", 400, "bad-path"),
        ("GET", "http://evil.example/serp", "", 400, "bad-request"),
        ("TRACE", "/serp", "", 405, "method-not-allowed"),
        ("FOO", "/serp", "", 405, "method-not-allowed"),
        ("GET", "/serp", "Host: b\r\n", 400, "bad-request"),
        ("GET", "/serp", "Upgrade: websocket\r\n", 400, "upgrade-refused"),
        ("GET", "/serp", "Authorization: Bearer x\r\n", 400, "key-ambiguous"),
        ("POST", "/serp", "Content-Length: 1001\r\n", 413, "body-too-large"),
    ] {
        let answer = stage.send(&stage.request(method, target, more)).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{method} {target} {more}"
        );
    }
    let long = format!("/serp?q={}", "x".repeat(5_000));
    assert_eq!(stage.get(&long).await.status, 414);
    assert!(stub.requests().is_empty());
    stage.nothing_was_held().await;
}

#[tokio::test]
async fn framing_that_is_not_one_request_never_becomes_two() {
    let smuggled = "GET /serp HTTP/1.1\r\nHost: a\r\nX-Smuggled: 1\r\n\r\n";
    for more in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: -1\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X-A: a\0b\r\n",
        " folded: x\r\n",
    ] {
        let stub = Stub::answering(OK).await;
        let stage = Stage::in_front_of(stub.address).await;
        let answer = stage.send(&(stage.request("POST", "/serp", more) + smuggled)).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "bad-request"),
            "{more:?}"
        );
        assert_eq!(answer.header("x-request-id").map(str::len), Some(32), "{more:?}");
        assert!(stub.requests().is_empty(), "{more:?}");
    }
}

#[tokio::test]
async fn a_length_beside_chunks_is_not_believed() {
    let stub = Stub::answering(OK).await;
    let stage = Stage::in_front_of(stub.address).await;
    let head = stage.request("POST", "/serp", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n");
    stage
        .send(&(head + "0\r\n\r\nGET /serp HTTP/1.1\r\nHost: a\r\nX-Smuggled: 1\r\n\r\n"))
        .await;
    let seen = stub.requests();
    assert!(seen.len() <= 1 && !seen.concat().contains("Smuggled"), "{seen:?}");
    assert!(seen.iter().all(|request| {
        let request = request.to_ascii_lowercase();
        !(request.contains("content-length") && request.contains("transfer-encoding"))
    }));
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_refused() {
    let stage = Stage::open().await;
    let many: String = (0..65).map(|index| format!("X-{index}: 1\r\n")).collect();
    let large = format!("X-A: {}\r\n", "x".repeat(40 << 10));
    for more in [many, large] {
        let answer = stage.send(&stage.request("GET", "/serp", &more)).await;
        assert_eq!((answer.status, answer.code().as_str()), (431, "head-too-large"));
        assert!(answer.whole && answer.header("x-request-id").is_some());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    let garbage = super::raw::send(stage.gateway, "\x16\x03\x01\x02\x00\x01").await;
    assert_eq!((garbage.status, garbage.code().as_str()), (400, "bad-request"));
    stage.nothing_was_held().await;
}

#[tokio::test]
async fn a_body_that_grows_too_large_on_the_way_is_refused_and_free() {
    let stage = Stage::open().await;
    let chunk = format!("400\r\n{}\r\n0\r\n\r\n", "x".repeat(1024));
    let request = stage.request("POST", "/echo", "Transfer-Encoding: chunked\r\n") + &chunk;
    assert_eq!(stage.send(&request).await.status, 413);
    assert_eq!(stage.settled(1).await, [super::stage::released("error")]);
}
