//! How streams and connections of HTTP/2 end that do not end by themselves: clients that take nothing, floods of resets,
//! deleted keys, silence, and the end of the process.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::SendRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::http2::{client, get, request};
use super::raw::connect;
use super::stage::{Stage, charged, demo_data_api, released};

const LONG: Duration = Duration::from_secs(30);

/// An upstream that answers each request with more than anybody takes, and tells when it is left.
async fn endless(head: &'static str) -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = socket.read(&mut request).await;
                let _ = socket.write_all(head.as_bytes()).await;
                while socket.write_all(&[b'x'; 16 << 10]).await.is_ok() {}
                let _ = tell.send(());
            });
        }
    });
    (address, told)
}

async fn before(upstream: SocketAddr, more: &str) -> Stage {
    Stage::configured(&format!("upstream = \"http://{upstream}\"\n{more}"), "").await
}

/// A stream without any body gets through, however little the client takes.
async fn others_go_on(sender: &mut SendRequest<Empty<Bytes>>, stage: &Stage) {
    let mut head = request(stage, "/secret");
    *head.method_mut() = http::Method::HEAD;
    let answered = tokio::time::timeout(LONG, get(sender, head)).await;
    assert_eq!(answered.expect("others go on").status(), 404);
}

#[tokio::test]
async fn http2_client_that_takes_nothing_loses_the_stream_and_the_upstream_is_let_go() {
    for (head, settled) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", "client-gone"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 1000000000\r\n\r\n", "error"),
    ] {
        let (upstream, mut left) = endless(head).await;
        let stage = before(upstream, "stall_seconds = 1").await;
        let (mut sender, _connection) = client(&stage, 0).await;
        let stuck = get(&mut sender, request(&stage, "/serp")).await;
        let gone = tokio::time::timeout(LONG, left.recv()).await;
        assert!(gone.expect("the upstream is let go").is_some());
        assert_eq!(stage.settled(1).await, [released(settled)]);
        others_go_on(&mut sender, &stage).await;
        let body = tokio::time::timeout(LONG, stuck.into_body().collect()).await;
        assert!(body.expect("the stream is reset").is_err());
    }
}

#[tokio::test]
async fn http2_client_that_does_not_take_a_refusal_loses_the_stream_alone() {
    let stage = before(demo_data_api().await, "stall_seconds = 1").await;
    let (mut sender, _connection) = client(&stage, 0).await;
    let refused = get(&mut sender, request(&stage, "/secret")).await;
    assert_eq!(refused.status(), 404);
    let body = tokio::time::timeout(LONG, refused.into_body().collect()).await;
    assert!(body.expect("the stream is reset").is_err());
    others_go_on(&mut sender, &stage).await;
}

/// The upstream has sent nearly all, and the gateway has it; the client wanted a tenth.
#[tokio::test]
async fn http2_client_that_took_little_was_not_near_the_end() {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "x".repeat(95));
    let silent = super::raw::Stub::falling_silent_after(&answer).await.address;
    let stage = before(
        silent,
        "free_riders = { hang_ups_max = 1, hang_up_window_seconds = 60 }",
    )
    .await;
    for left in 1..=3 {
        let (mut sender, connection) = client(&stage, 10).await;
        let mut answer = get(&mut sender, request(&stage, "/serp")).await;
        assert!(answer.body_mut().frame().await.is_some());
        connection.abort();
        drop((answer, sender));
        assert_eq!(stage.settled(left).await[left - 1], released("client-gone"));
    }
}

#[tokio::test]
async fn http2_stream_of_a_deleted_key_is_cut_and_another_keys_goes_on() {
    let stage = before(demo_data_api().await, "").await;
    let (_, other) = super::stage::generate_key(&stage.ledger, stage.customer.account).await;
    let (mut sender, _connection) = client(&stage, 1 << 20).await;
    let slow = "/serp?q=a&stream=1&chunks=30&chunk_ms=100";
    let cut = get(&mut sender, request(&stage, slow)).await;
    let mut theirs = request(&stage, slow);
    let authorization = format!("Bearer {other}").parse().unwrap();
    theirs.headers_mut().insert("authorization", authorization);
    let whole = get(&mut sender, theirs).await;
    stage.delete_key(stage.key).await;
    assert!(cut.into_body().collect().await.is_err(), "it does not look whole");
    assert!(whole.into_body().collect().await.is_ok());
    assert_eq!(stage.settled(2).await, [released("error"), charged(1, "0.5")]);
}

#[tokio::test]
async fn http2_stream_of_a_deleted_key_is_cut_that_costs_nothing() {
    let half = "HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\nhalf";
    let stage = before(super::raw::Stub::falling_silent_after(half).await.address, "").await;
    let (mut sender, _connection) = client(&stage, 1 << 20).await;
    let unpaid = get(&mut sender, request(&stage, "/serp")).await;
    assert_eq!(stage.settled(1).await, [released("error")]);
    stage.delete_key(stage.key).await;
    let rest = tokio::time::timeout(Duration::from_secs(1), unpaid.into_body().collect()).await;
    assert!(rest.expect("it is cut within a second").is_err());
}

#[tokio::test]
async fn http2_body_that_takes_too_long_is_cut_and_the_connection_goes_on() {
    let stage = before(demo_data_api().await, "body_timeout_seconds = 1").await;
    let (mut sender, _connection) = client(&stage, 1 << 20).await;
    let slow = get(
        &mut sender,
        request(&stage, "/serp?q=a&stream=1&chunks=100&chunk_ms=100"),
    )
    .await;
    assert!(slow.into_body().collect().await.is_err(), "it does not look whole");
    let next = get(&mut sender, request(&stage, "/serp?q=a")).await;
    assert!(next.into_body().collect().await.is_ok());
    assert_eq!(stage.settled(2).await, [released("client-gone"), charged(1, "0.5")]);
}

/// CVE-2023-44487: each request is taken back as soon as it is made, so that no bound on streams at once holds it.
#[tokio::test]
async fn http2_flood_of_resets_costs_its_connection_and_nobody_elses() {
    let stage = before(demo_data_api().await, "head_seconds = 5\nidle_seconds = 5").await;
    let mut flood = Vec::from(*b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    flood.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    for number in 0..5_000_u32 {
        let id = (2 * number + 1).to_be_bytes();
        // :method GET, :scheme http, :path /secret, :authority a.
        let block = b"\x82\x86\x04\x07/secret\x01\x01a";
        flood.extend([0, 0, u8::try_from(block.len()).unwrap(), 1, 5]);
        flood.extend(id);
        flood.extend(block);
        flood.extend([0, 0, 4, 3, 0]);
        flood.extend(id);
        flood.extend(8_u32.to_be_bytes());
    }
    let mut socket = connect(stage.gateway).await;
    let (mut answers, mut requests) = socket.split();
    let mut seen = Vec::new();
    let reading = async { while matches!(answers.read_buf(&mut seen).await, Ok(1..)) {} };
    let flooding = tokio::time::timeout(LONG, async { tokio::join!(reading, requests.write_all(&flood)) });
    let (ended, other) = tokio::join!(flooding, stage.get("/serp?q=a"));
    assert!(ended.is_ok(), "the connection is closed");
    assert_eq!(other.status, 200);
    assert_eq!(stage.get("/serp?q=a").await.status, 200);
    // GOAWAY with ENHANCE_YOUR_CALM, unless a reset has overtaken it.
    assert!(seen.windows(4).any(|four| four == 11_u32.to_be_bytes()) || seen.len() < 64 << 10);
}

#[tokio::test]
async fn http2_connections_without_a_request_are_told_to_go() {
    for more in [
        "idle_seconds = 1\nhead_seconds = 5",
        "idle_seconds = 60\nhead_seconds = 1",
    ] {
        let stage = before(demo_data_api().await, more).await;
        let mut socket = connect(stage.gateway).await;
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        if more.starts_with("idle_seconds = 1\n") {
            // Asked once: from then on it is idle.
            let block = b"\x82\x86\x04\x07/secret\x01\x01a";
            socket
                .write_all(&[0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 1])
                .await
                .unwrap();
            socket.write_all(block).await.unwrap();
        }
        let mut seen = Vec::new();
        let reading = async { while matches!(socket.read_buf(&mut seen).await, Ok(1..)) {} };
        tokio::time::timeout(LONG, reading).await.expect("it is closed");
        // GOAWAY: eight bytes, type 7, stream 0.
        let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0];
        assert!(
            seen.windows(goaway.len()).any(|nine| nine == goaway),
            "{more}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn http2_streams_in_flight_at_a_stop_finish_and_are_settled_and_no_new_ones_begin() {
    let stage = before(demo_data_api().await, "").await;
    let (mut sender, _connection) = client(&stage, 1 << 20).await;
    let slow = "/serp?q=a&stream=1&chunks=10&chunk_ms=100";
    let first = get(&mut sender, request(&stage, slow)).await;
    let second = get(&mut sender, request(&stage, slow)).await;
    stage.stop.cancel();
    let (first, second) = tokio::join!(first.into_body().collect(), second.into_body().collect());
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(stage.settled(2).await, [charged(1, "0.5"), charged(1, "0.5")]);
    let late = async {
        sender.ready().await?;
        sender.send_request(request(&stage, "/serp?q=a")).await
    };
    assert!(late.await.is_err());
    assert!(tokio::time::timeout(LONG, stage.served).await.is_ok());
}
