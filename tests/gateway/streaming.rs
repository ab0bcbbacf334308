//! What streams: events as they come, permission before a body, trailers after one.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::raw::{Stub, connect};
use super::stage::{Stage, charged};

async fn read_until(socket: &mut TcpStream, what: &str) -> String {
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    let reading = async {
        while !String::from_utf8_lossy(&seen).contains(what) {
            let length = socket.read(&mut piece).await.unwrap();
            assert!(
                length > 0,
                "it ended without {what}: {}",
                String::from_utf8_lossy(&seen)
            );
            seen.extend_from_slice(&piece[..length]);
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(5), reading).await;
    assert!(in_time.is_ok(), "{what} does not come");
    String::from_utf8_lossy(&seen).into_owned()
}

/// Each event is sent only after the client has seen the one before: whoever gathers events waits for ever.
#[tokio::test]
async fn streaming_events_pass_one_by_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stage = Stage::in_front_of(listener.local_addr().unwrap()).await;
    let mut client = connect(stage.gateway).await;
    client
        .write_all(stage.request("GET", "/serp", "").as_bytes())
        .await
        .unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    read_until(&mut upstream, "\r\n\r\n").await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    upstream.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut client, "text/event-stream").await;
    for number in 0..5 {
        upstream
            .write_all(format!("9\r\ndata: {number}\n\n\r\n").as_bytes())
            .await
            .unwrap();
        read_until(&mut client, &format!("data: {number}\n\n")).await;
    }
    upstream.write_all(b"0\r\n\r\n").await.unwrap();
    read_until(&mut client, "0\r\n\r\n").await;
    assert_eq!(stage.settled(1).await, [charged(1, "0.5")]);
}

#[tokio::test]
async fn streaming_a_body_begins_with_permission_and_ends_with_the_answer() {
    let stage = Stage::open().await;
    let mut client = connect(stage.gateway).await;
    let head = stage.request("POST", "/echo", "Content-Length: 5\r\nExpect: 100-continue\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    let permission = read_until(&mut client, "\r\n\r\n").await;
    assert!(permission.starts_with("HTTP/1.1 100"), "{permission}");
    client.write_all(b"hello").await.unwrap();
    let answer = read_until(&mut client, "body_bytes").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // Who may not ask is not asked for the body either.
    let mut stranger = connect(stage.gateway).await;
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    stranger.write_all(head.as_bytes()).await.unwrap();
    let refused = read_until(&mut stranger, "key-missing").await;
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
}

#[tokio::test]
async fn streaming_ends_with_the_upstreams_trailers_but_not_with_those_that_steer() {
    let stub = Stub::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum, Set-Cookie\r\n\r\n\
         2\r\nok\r\n0\r\nX-Checksum: 7\r\nSet-Cookie: a=b\r\n\r\n",
    )
    .await;
    let stage = Stage::in_front_of(stub.address).await;
    let answer = stage.send(&stage.request("GET", "/serp", "TE: trailers\r\n")).await;
    assert_eq!(
        (answer.trailer("x-checksum"), answer.trailer("set-cookie")),
        (Some("7"), None)
    );
    assert_eq!(answer.header("trailer"), Some("x-checksum"));
    let without = stage.get("/serp").await;
    assert_eq!((without.trailer("x-checksum"), without.whole), (None, true));
    assert_eq!(stage.settled(2).await, [charged(1, "0.5"), charged(1, "0.5")]);
}
