//! How long a connection may say nothing, how many a client may have, and what follows what on one of them.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::raw::connect;
use super::stage::{Stage, demo_data_api};

/// Far longer than any of the time-outs that are set here.
const LONG: Duration = Duration::from_secs(30);

async fn stage(more: &str) -> Stage {
    let upstream = demo_data_api().await;
    Stage::configured(&format!("upstream = \"http://{upstream}\"\n{more}"), "").await
}

/// The closing of the connection, and what came before it.
async fn until_closed(socket: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    let reading = async { while matches!(socket.read_buf(&mut seen).await, Ok(1..)) {} };
    tokio::time::timeout(LONG, reading).await.expect("it is closed");
    String::from_utf8(seen).unwrap()
}

/// Asks on a connection that stays open, and reads until the answer's last byte.
async fn ask(socket: &mut TcpStream, request: &str) -> String {
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let reading = async {
        loop {
            let text = String::from_utf8_lossy(&seen);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| {
                    line.to_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse::<usize>()
                        .ok()
                });
                if body.len() >= length.expect("a length") {
                    return;
                }
            }
            assert!(socket.read_buf(&mut seen).await.unwrap() > 0, "it ended at {seen:?}");
        }
    };
    tokio::time::timeout(LONG, reading).await.expect("an answer");
    String::from_utf8(seen).unwrap()
}

fn kept(stage: &Stage, method: &str, target: &str, more: &str) -> String {
    stage.request(method, target, more).replace("Connection: close\r\n", "")
}

#[tokio::test]
async fn patience_with_a_head_is_short_and_with_an_idle_connection_long() {
    let stage = stage("head_seconds = 1\nidle_seconds = 3600\n").await;
    let get = kept(&stage, "GET", "/serp?q=a", "");
    let (mut silent, mut slow) = (connect(stage.gateway).await, connect(stage.gateway).await);
    slow.write_all(b"GET /serp HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        .await
        .unwrap();
    assert_eq!(until_closed(&mut silent).await, "");
    assert_eq!(until_closed(&mut slow).await, "");

    let mut idle = connect(stage.gateway).await;
    for _ in 0..3 {
        assert!(ask(&mut idle, &get).await.starts_with("HTTP/1.1 200"));
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
    // The head of a later request has no more time than that of the first.
    idle.write_all(&get.as_bytes()[..20]).await.unwrap();
    assert_eq!(until_closed(&mut idle).await, "");
}

#[tokio::test]
async fn patience_with_an_idle_connection_ends_too() {
    let stage = stage("head_seconds = 60\nidle_seconds = 1\n").await;
    let mut idle = connect(stage.gateway).await;
    assert!(
        ask(&mut idle, &kept(&stage, "GET", "/serp?q=a", ""))
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert_eq!(until_closed(&mut idle).await, "");
    // A body that nobody read leaves nothing behind that could be taken for a request.
    let mut refused = connect(stage.gateway).await;
    let body = "GET /serp HTTP/1.1\r\nHost: a\r\n\r\n";
    let more = format!("Content-Length: {}\r\n", body.len());
    let answer = ask(&mut refused, &(kept(&stage, "POST", "/unpriced", &more) + body)).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert_eq!(until_closed(&mut refused).await, "");
}

#[tokio::test]
async fn patience_is_asked_once_a_request_and_each_request_gets_its_own_answer() {
    let stage = stage("head_seconds = 60\nidle_seconds = 60\n").await;
    let mut socket = connect(stage.gateway).await;
    let text = "{\"q\":\"a\"}";
    let sized = kept(&stage, "POST", "/echo", "Content-Length: 9\r\n") + text;
    let chunked = kept(&stage, "POST", "/echo", "Transfer-Encoding: chunked\r\n") + "9\r\n{\"q\":\"a\"}\r\n0\r\n\r\n";
    // A GET may have a body too, and it is not lost on the way.
    let got = chunked.replacen("POST", "GET", 1);
    for _ in 0..3 {
        for request in [&kept(&stage, "GET", "/echo", ""), &sized, &chunked, &got] {
            let answer = ask(&mut socket, request).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            let length = if request.contains("{\"q\"") { 9 } else { 0 };
            assert!(answer.contains(&format!("\"body_bytes\":{length}")), "{answer}");
        }
    }
    // Two at once, and a third of which only a part comes with them.
    let get = kept(&stage, "GET", "/echo", "");
    let (part, rest) = get.split_at(30);
    socket
        .write_all(format!("{sized}{get}{part}").as_bytes())
        .await
        .unwrap();
    let mut seen = Vec::new();
    while String::from_utf8_lossy(&seen).matches("body_bytes").count() < 2 {
        assert!(socket.read_buf(&mut seen).await.unwrap() > 0);
    }
    assert!(ask(&mut socket, rest).await.contains("\"body_bytes\":0"));
    // A bad head is told so in the same words, also when it comes on the heels of a good one.
    socket
        .write_all(format!("{get}GET /echo HTTP/7.1\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let told = until_closed(&mut socket).await;
    assert_eq!(told.matches("HTTP/1.1 ").count(), 2, "{told}");
    assert!(told.contains("HTTP/1.1 400") && told.ends_with('}') && told.contains("\"code\":\"bad-request\""));
}

#[tokio::test]
async fn patience_has_places_for_each_client_and_more_for_a_proxy() {
    let stage = stage("connections_per_client_max = 2\nhead_seconds = 60\n").await;
    let request = kept(&stage, "GET", "/serp?q=a", "");
    let (mut first, mut second) = (connect(stage.gateway).await, connect(stage.gateway).await);
    assert!(ask(&mut first, &request).await.starts_with("HTTP/1.1 200"));
    assert!(ask(&mut second, &request).await.starts_with("HTTP/1.1 200"));
    assert_eq!(until_closed(&mut connect(stage.gateway).await).await, "");
    drop(first);
    crate::harness::until("the place is free again", async || {
        let mut third = connect(stage.gateway).await;
        let _ = third.write_all(stage.request("GET", "/serp?q=a", "").as_bytes()).await;
        until_closed(&mut third).await.starts_with("HTTP/1.1 200")
    })
    .await;

    let proxied = stage
        .with(
            demo_data_api().await,
            "connections_per_client_max = 1\nproxies = [\"127.0.0.0/8\"]\n",
        )
        .await;
    let mut many = Vec::new();
    for _ in 0..5 {
        let mut socket = connect(proxied.gateway).await;
        assert!(ask(&mut socket, &request).await.starts_with("HTTP/1.1 200"));
        many.push(socket);
    }
}
