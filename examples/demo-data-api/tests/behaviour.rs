//! What the demo API answers, over a real connection.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so by panicking"
)]

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use demo_data_api::DemoOptions;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn the_same_question_has_the_same_ranked_answer() {
    with_api(|api| async move {
        let first = get(api, "/serp?q=running%20shoes").await;
        assert_eq!(first.status, 200);
        assert_eq!(first.json()["results"].as_array().unwrap().len(), 10);
        assert_eq!(get(api, "/serp?q=running%20shoes").await.body, first.body);
        assert_ne!(get(api, "/serp?q=walking").await.body, first.body);
        assert_eq!(post(api, "/serp", r#"{"q":"running shoes"}"#).await.body, first.body);
        assert_eq!(get(api, "/serp").await.status, 400);
    })
    .await;
}

#[tokio::test]
async fn ai_visibility_delivers_as_many_conversations_as_asked_for() {
    with_api(|api| async move {
        for (path, many) in [
            ("/ai-visibility/acme", 3),
            ("/ai-visibility/acme?conversations=0", 0),
            ("/ai-visibility/acme?conversations=50", 50),
        ] {
            assert_eq!(
                get(api, path).await.json()["conversations"].as_array().unwrap().len(),
                many
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_task_is_pending_before_it_is_done() {
    with_api(|api| async move {
        let queued = post(api, "/serp/tasks", r#"{"q":"shoes"}"#).await;
        assert_eq!(queued.status, 202);
        let task = format!("/serp/tasks/{}", queued.json()["task"].as_str().unwrap());
        assert_eq!(get(api, &task).await.status, 202);
        let done = get(api, &task).await;
        assert_eq!((done.status, done.json()["data"]["q"].as_str()), (200, Some("shoes")));
        assert_eq!(get(api, "/serp/tasks/task_999").await.status, 404);
        assert_eq!(get(api, "/serp/tasks/nonsense").await.status, 404);
    })
    .await;
}

#[tokio::test]
async fn an_answer_fails_waits_grows_and_counts_when_asked() {
    with_api(|api| async move {
        assert_eq!(get(api, "/conversions?fail=503").await.status, 503);
        assert_eq!(get(api, "/conversions?fail=99").await.status, 400);
        let started = Instant::now();
        assert_eq!(get(api, "/conversions?delay_ms=150").await.status, 200);
        assert!(started.elapsed() >= Duration::from_millis(150));
        let large = get(api, "/conversions?size=100000").await;
        assert_eq!(large.body.len(), 100_000);
        assert!(large.json()["conversions"].is_array());
        assert!(
            get(api, "/conversions?header_count=7")
                .await
                .head
                .contains("x-result-count: 7")
        );
    })
    .await;
}

#[tokio::test]
async fn a_stream_comes_in_pieces_without_a_length() {
    with_api(|api| async move {
        let whole = get(api, "/conversions").await;
        let started = Instant::now();
        let streamed = get(api, "/conversions?stream=1&chunks=4&chunk_ms=50").await;
        assert!(started.elapsed() >= Duration::from_millis(150));
        assert!(streamed.head.contains("transfer-encoding: chunked"));
        let (body, complete) = unchunk(&streamed.body);
        assert!(complete);
        assert_eq!(body, whole.body);
    })
    .await;
}

#[tokio::test]
async fn a_cut_answer_ends_in_the_middle() {
    with_api(|api| async move {
        let whole = get(api, "/conversions").await;
        let cut = get(api, "/conversions?cut=1").await;
        assert!(cut.head.contains(&format!("content-length: {}", whole.body.len())));
        assert_eq!(cut.body, whole.body[..whole.body.len() / 2]);

        let cut = get(api, "/conversions?cut=1&stream=1&chunk_ms=5").await;
        let (body, complete) = unchunk(&cut.body);
        assert!(!complete);
        assert_eq!(body, whole.body[..whole.body.len() / 2]);
    })
    .await;
}

#[tokio::test]
async fn an_echo_shows_the_headers_and_counts_the_requests() {
    with_api(|api| async move {
        get(api, "/conversions").await;
        let echo = get(api, "/echo?a=b").await.json();
        assert_eq!(echo["headers"]["host"][0], "demo");
        assert_eq!(echo["query"], "a=b");
        assert_eq!(echo["requests"], 2);
    })
    .await;
}

struct Answer {
    status: u16,
    /// Names in lower case.
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn with_api<F: Future<Output = ()>>(test: impl FnOnce(SocketAddr) -> F) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(demo_data_api::serve(listener, DemoOptions::default(), async {
        let _ended_either_way = stopped.await;
    }));
    test(address).await;
    drop(stop);
    server.await.unwrap().unwrap();
}

async fn get(api: SocketAddr, path: &str) -> Answer {
    exchange(
        api,
        format!("GET {path} HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n\r\n"),
    )
    .await
}

async fn post(api: SocketAddr, path: &str, json: &str) -> Answer {
    let length = json.len();
    exchange(
        api,
        format!(
            "POST {path} HTTP/1.1\r\nhost: demo\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{json}"
        ),
    )
    .await
}

/// One request on one connection, read until the other side ends it, in whatever way.
async fn exchange(api: SocketAddr, request: String) -> Answer {
    let mut connection = TcpStream::connect(api).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = connection.read(&mut piece).await {
        raw.extend_from_slice(&piece[..length]);
    }
    let split = raw.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&raw[..split]).to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head,
        body: raw[split + 4..].to_vec(),
    }
}

/// The body in an RFC 9112 chunked coding, and whether its last chunk came.
fn unchunk(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = raw.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&raw[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return (body, true);
        }
        body.extend_from_slice(&raw[end + 2..end + 2 + length]);
        raw = &raw[end + 4 + length..];
    }
    (body, false)
}
