//! HTTP/2 without TLS, as a client speaks it that knows beforehand: many requests on one connection, each settled for
//! itself.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::raw::Stub;
use super::stage::{Stage, charged, demo_data_api, released};

/// A client that takes at most `window` bytes of each answer before it has read them.
pub async fn client(stage: &Stage, window: u32) -> (SendRequest<Empty<Bytes>>, tokio::task::AbortHandle) {
    let socket = TcpStream::connect(stage.gateway).await.unwrap();
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(socket))
        .await
        .unwrap();
    (sender, tokio::spawn(connection).abort_handle())
}

pub fn request(stage: &Stage, target: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://api.example{target}"))
        .header("authorization", format!("Bearer {}", stage.secret))
        .header("te", "trailers")
        .header("cookie", "a=b")
        .header("cookie", "c=d")
        .body(Empty::new())
        .unwrap()
}

pub async fn get(sender: &mut SendRequest<Empty<Bytes>>, request: Request<Empty<Bytes>>) -> Response<Incoming> {
    sender.ready().await.unwrap();
    sender.send_request(request).await.unwrap()
}

#[tokio::test]
async fn http2_carries_many_requests_and_charges_each() {
    let stage = Stage::open().await;
    let (mut sender, _) = client(&stage, 1 << 20).await;
    let asking = (0..30).map(|number| {
        let mut sender = sender.clone();
        let request = request(&stage, &format!("/serp?q={number}"));
        async move {
            get(&mut sender, request)
                .await
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
        }
    });
    let bodies = futures_util::future::join_all(asking).await;
    assert!(bodies.iter().all(|body| !body.is_empty()));
    assert!(stage.settled(30).await.iter().all(|one| *one == charged(1, "0.5")));

    let echoed = get(&mut sender, request(&stage, "/echo")).await;
    let seen = echoed.into_body().collect().await.unwrap().to_bytes();
    let seen: serde_json::Value = serde_json::from_slice(&seen).unwrap();
    assert_eq!(seen["headers"]["cookie"], serde_json::json!(["a=b; c=d"]));
    assert_eq!(seen["headers"]["authorization"], serde_json::Value::Null);
    assert_eq!(
        seen["headers"]["x-keyledger-account"][0],
        stage.customer.account.to_string()
    );

    let counted = get(&mut sender, request(&stage, "/ai-visibility/acme?conversations=3")).await;
    let collected = counted.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["credits-charged"], "1.5");
    let mut wrong = request(&stage, "/serp");
    wrong.headers_mut().insert("host", "other.example".parse().unwrap());
    assert_eq!(get(&mut sender, wrong).await.status(), 400);
    assert_eq!(get(&mut sender, request(&stage, "/secret")).await.status(), 404);
}

/// The race: the server has taken the whole body, and the client's window has room for a part. Other streams go on and
/// are flushed all the time, which must not count for this one.
#[tokio::test]
async fn http2_answers_that_wait_for_the_client_are_not_charged_by_the_flush_of_another() {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n{}", "x".repeat(20_000));
    let big = Stub::answering(&answer).await;
    let usual = demo_data_api().await;
    let config = format!(
        "upstream = \"http://{usual}\"\n[[gateway.upstreams]]\nname = \"big\"\nurl = \"http://{}\"",
        big.address
    );
    let prices = "[[prices]]\nendpoint = \"big\"\nmatch = \"GET /big\"\nprice = \"2\"\nupstream = \"big\"\n";
    let stage = Stage::configured(&config, prices).await;
    let (mut sender, connection) = client(&stage, 10_000).await;
    let held_back = get(&mut sender, request(&stage, "/big")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let other = get(&mut sender, request(&stage, "/serp?q=a")).await;
    other.into_body().collect().await.unwrap();
    assert_eq!(stage.settled(1).await, [charged(1, "0.5")]);
    connection.abort();
    drop((held_back, sender));
    assert_eq!(stage.settled(2).await, [charged(1, "0.5"), released("client-gone")]);

    let (mut sender, _connection) = client(&stage, 10_000).await;
    let read = get(&mut sender, request(&stage, "/big"))
        .await
        .into_body()
        .collect()
        .await
        .unwrap();
    assert_eq!(read.to_bytes().len(), 20_000);
    assert_eq!(stage.settled(3).await[2], charged(1, "2"));
}

#[tokio::test]
async fn http2_streams_that_are_reset_or_break_off_are_free_and_the_others_go_on() {
    let stage = Stage::open().await;
    let (mut sender, _) = client(&stage, 1 << 20).await;
    let slow = get(
        &mut sender,
        request(&stage, "/serp?q=a&stream=1&chunks=10&chunk_ms=100"),
    )
    .await;
    drop(slow);
    assert_eq!(stage.settled(1).await, [released("client-gone")]);
    let cut = get(
        &mut sender,
        request(&stage, "/serp?q=a&cut=1&stream=1&chunks=3&chunk_ms=10"),
    )
    .await;
    assert!(cut.into_body().collect().await.is_err(), "it does not look whole");
    assert_eq!(stage.settled(2).await[1], released("error"));
    let whole = get(&mut sender, request(&stage, "/serp?q=a")).await;
    assert!(whole.into_body().collect().await.is_ok());
    assert_eq!(stage.settled(3).await[2], charged(1, "0.5"));
}

#[tokio::test]
async fn http2_answers_of_a_stop_are_finished_and_settled() {
    let stage = Stage::open().await;
    let (mut sender, _) = client(&stage, 1 << 20).await;
    let slow = get(&mut sender, request(&stage, "/serp?q=a&stream=1&chunks=5&chunk_ms=100")).await;
    stage.stop.cancel();
    assert!(slow.into_body().collect().await.is_ok());
    assert_eq!(stage.settled(1).await, [charged(1, "0.5")]);
}

#[tokio::test]
async fn http2_streams_that_the_gateway_cuts_are_nobodys_habit_and_those_that_a_client_leaves_are() {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "x".repeat(95));
    let silent = Stub::falling_silent_after(&answer).await.address;
    let config = format!(
        "upstream = \"http://{silent}\"\nbody_timeout_seconds = 1\n\
         free_riders = {{ hang_ups_max = 1, hang_up_window_seconds = 60 }}"
    );
    let stage = Stage::configured(&config, "").await;
    let (mut sender, _) = client(&stage, 1 << 20).await;
    for cut in 1..=2 {
        let answer = get(&mut sender, request(&stage, "/serp")).await;
        assert!(answer.into_body().collect().await.is_err(), "it does not look whole");
        assert_eq!(stage.settled(cut).await[cut - 1], released("client-gone"));
    }
    for (left, settled) in [(3, released("client-gone")), (4, charged(1, "0.5"))] {
        let mut answer = get(&mut sender, request(&stage, "/serp")).await;
        assert!(answer.body_mut().frame().await.is_some());
        drop(answer);
        assert_eq!(stage.settled(left).await[left - 1], settled);
    }
}
