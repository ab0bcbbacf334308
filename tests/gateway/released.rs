//! What is queued, failed, cut or abandoned costs nothing.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::raw::{Stub, connect};
use super::stage::{Stage, charged, released};
use crate::harness::nobody;
use crate::ledger::customer::by_system;
use keyledger::ledger::{CloseAccount, NewText, RotateKey, SettleDue};
use keyledger_events::{KeyDigest, Reason};

#[tokio::test]
async fn a_queued_request_is_free_and_its_result_is_charged() {
    let stage = Stage::open().await;
    let body = "{\"q\":\"shoes\"}";
    let more = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    let queued = stage.send(&(stage.request("POST", "/serp/tasks", &more) + body)).await;
    assert_eq!((queued.status, queued.header("credits-charged")), (202, Some("0")));
    assert_eq!(queued.header("credits-remaining"), Some("100"));
    let task = format!("/serp/tasks/{}", queued.json()["task"].as_str().unwrap());
    assert_eq!(stage.get(&task).await.status, 202);
    assert_eq!(stage.get(&task).await.status, 200);
    assert_eq!(
        stage.settled(3).await,
        [released("queued"), released("queued"), charged(1, "0.5")]
    );
}

#[tokio::test]
async fn an_answer_without_data_is_free() {
    let stage = Stage::open().await;
    let statuses = [201, 204, 301, 304, 400, 404, 429, 500, 503];
    for status in statuses {
        let answer = stage.get(&format!("/serp?fail={status}")).await;
        assert_eq!((answer.status, answer.header("credits-charged")), (status, Some("0")));
    }
    let head = stage.send(&stage.request("HEAD", "/serp?q=a", "")).await;
    assert_eq!(head.status, 200);
    let settled = stage.settled(statuses.len() + 1).await;
    assert!(settled.iter().all(|one| *one == released("error")), "{settled:?}");
}

#[tokio::test]
async fn an_upstream_that_is_not_there_or_late_is_free() {
    let gone = nobody();
    let stage = Stage::in_front_of(gone).await;
    let answer = stage.get("/serp").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream-unreachable"));
    assert_eq!(stage.settled(1).await, [released("error")]);

    let stage = Stage::open().await;
    let answer = stage.get("/serp?q=a&delay_ms=5000").await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream-timeout"));
    assert_eq!(stage.settled(1).await, [released("error")]);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_free_and_does_not_look_whole() {
    let stage = Stage::open().await;
    for query in ["cut=1", "cut=1&stream=1&chunks=3&chunk_ms=10"] {
        let answer = stage.get(&format!("/serp?q=a&{query}")).await;
        assert!(!answer.whole, "{query}");
    }
    assert_eq!(stage.settled(2).await, [released("error"), released("error")]);
}

#[tokio::test]
async fn an_upstream_that_is_wrong_is_free() {
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", 200),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            200,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
            200,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nwho knows where this ends", 200),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n",
            502,
        ),
        ("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", 502),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            502,
        ),
        ("no status line\r\n\r\n", 502),
        ("", 502),
    ] {
        let stub = Stub::answering(answer).await;
        let stage = Stage::in_front_of(stub.address).await;
        assert_eq!(stage.get("/serp").await.status, status, "{answer:?}");
        assert_eq!(stage.settled(1).await, [released("error")], "{answer:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_falls_silent_is_free() {
    let stub = Stub::falling_silent_after("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
    let stage = Stage::in_front_of(stub.address).await;
    assert!(!stage.get("/serp").await.whole);
    assert_eq!(stage.settled(1).await, [released("error")]);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_end_pays_nothing() {
    let stage = Stage::open().await;
    // While the upstream thinks; in the middle of a slow body; with most of a large body unread.
    for (query, bytes) in [
        ("delay_ms=800", 0),
        ("stream=1&chunks=20&chunk_ms=50", 100),
        ("size=30000000", 100),
    ] {
        let mut socket = connect(stage.gateway).await;
        socket
            .write_all(stage.request("GET", &format!("/serp?q=a&{query}"), "").as_bytes())
            .await
            .unwrap();
        let mut some = vec![0; bytes];
        socket.read_exact(&mut some).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(socket);
    }
    let gone = released("client-gone");
    assert_eq!(stage.settled(3).await, [gone.clone(), gone.clone(), gone]);
}

#[tokio::test]
async fn deleting_a_key_cuts_what_it_has_under_way_within_a_second() {
    let stage = Stage::open().await;
    let mut socket = connect(stage.gateway).await;
    let slow = stage.request("GET", "/serp?q=a&stream=1&chunks=100&chunk_ms=200", "");
    socket.write_all(slow.as_bytes()).await.unwrap();
    let mut begun = [0; 200];
    socket.read_exact(&mut begun).await.unwrap();
    // Another does not read at all, so only the connection itself can be ended.
    let mut deaf = connect(stage.gateway).await;
    deaf.write_all(stage.request("GET", "/serp?q=a&size=30000000", "").as_bytes())
        .await
        .unwrap();
    deaf.read_exact(&mut begun).await.unwrap();

    stage.delete_key(stage.key).await;
    let deleted = Instant::now();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a cut answer must not look whole");
    assert_eq!(stage.settled(2).await, [released("error"), released("error")]);
    assert!(deleted.elapsed() < Duration::from_secs(1), "{:?}", deleted.elapsed());
    let next = stage.get("/serp?q=a").await;
    assert_eq!((next.status, next.code().as_str()), (401, "key-deleted"));
}

#[tokio::test]
async fn deleting_a_key_cuts_what_costs_nothing_too() {
    for head in [
        "200 OK\r\nX-Free: because nothing tells its end",
        "404 Not Found\r\nContent-Length: 100",
    ] {
        let upstream = Stub::falling_silent_after(&format!("HTTP/1.1 {head}\r\n\r\nhalf")).await;
        let stage = Stage::in_front_of(upstream.address).await;
        let mut socket = connect(stage.gateway).await;
        let asked = stage.request("GET", "/serp?q=a", "");
        socket.write_all(asked.as_bytes()).await.unwrap();
        let mut begun = Vec::new();
        while !begun.ends_with(b"half") && !begun.ends_with(b"half\r\n") {
            begun.push(socket.read_u8().await.unwrap());
        }
        assert_eq!(stage.settled(1).await, [released("error")]);
        stage.delete_key(stage.key).await;
        let rest = tokio::time::timeout(Duration::from_secs(1), socket.read_to_end(&mut begun)).await;
        assert!(rest.is_ok(), "it is cut within a second");
        assert!(!begun.ends_with(b"0\r\n\r\n"), "a cut answer must not look whole");
    }
}

#[tokio::test]
async fn closing_an_account_cuts_what_its_keys_have_under_way_within_a_second() {
    let stage = Stage::open().await;
    let mut socket = connect(stage.gateway).await;
    let slow = stage.request("GET", "/serp?q=a&stream=1&chunks=100&chunk_ms=200", "");
    socket.write_all(slow.as_bytes()).await.unwrap();
    let mut begun = [0; 200];
    socket.read_exact(&mut begun).await.unwrap();
    let close = CloseAccount {
        account: stage.customer.account,
        reason: Reason::parse("Contract ended").unwrap(),
    };
    stage.ledger.submit(close, by_system()).await.unwrap();
    let closed = Instant::now();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a cut answer must not look whole");
    assert!(closed.elapsed() < Duration::from_secs(1), "{:?}", closed.elapsed());
    // Given back with the closing itself, whatever the gateway says of it later.
    assert_eq!(stage.settled(1).await, [released("account-closed")]);
    let next = stage.get("/serp?q=a").await;
    assert_eq!((next.status, next.code().as_str()), (401, "key-deleted"));
}

#[tokio::test]
async fn a_rotated_keys_requests_are_cut_when_its_moment_comes() {
    let stage = Stage::open().await;
    let mut socket = connect(stage.gateway).await;
    let slow = stage.request("GET", "/serp?q=a&stream=1&chunks=100&chunk_ms=200", "");
    socket.write_all(slow.as_bytes()).await.unwrap();
    let mut begun = [0; 200];
    socket.read_exact(&mut begun).await.unwrap();
    let text = |text: &str| NewText {
        preview: "sk_live_...".to_owned(),
        digest: KeyDigest::of(text),
    };
    let account = stage.customer.account;
    let rotate = RotateKey {
        account,
        key: stage.key,
        successor: keyledger::clock::fresh_key_id(),
        live: text("live"),
        test: text("test"),
        overlap_seconds: 1,
    };
    stage.ledger.submit(rotate, by_system()).await.unwrap();
    // As the sweeper does.
    let sweeping = stage.ledger.clone();
    let sweeper = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            sweeping.submit(SettleDue { account }, by_system()).await.unwrap();
        }
    });
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    sweeper.abort();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a cut answer must not look whole");
    assert_eq!(stage.settled(1).await, [released("error")]);
    let next = stage.get("/serp?q=a").await;
    assert_eq!((next.status, next.code().as_str()), (401, "key-deleted"));
}
