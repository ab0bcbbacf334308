//! Several data APIs behind one gateway: who is asked, how many at once, and what happens when nobody is there.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::raw::Stub;
use super::stage::{Stage, charged, demo_data_api, released};
use crate::harness::nobody;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const REPORTS: &str =
    "[[prices]]\nendpoint = \"reports\"\nmatch = \"ANY /reports\"\nprice = \"2\"\nupstream = \"reports\"\n";

fn gateway(usual: &str, reports: &str, more: &str) -> String {
    format!("upstream = \"{usual}\"\n[[gateway.upstreams]]\nname = \"reports\"\nurl = \"{reports}\"\n{more}")
}

#[tokio::test]
async fn upstreams_are_chosen_by_the_price_of_a_route() {
    let (usual, reports) = (Stub::answering(OK).await, Stub::answering(OK).await);
    let config = gateway(
        &format!("http://{}", usual.address),
        &format!("http://{}", reports.address),
        "",
    );
    let stage = Stage::configured(&config, REPORTS).await;
    assert_eq!(stage.get("/reports").await.status, 200);
    assert_eq!(stage.get("/serp").await.status, 200);
    assert_eq!(stage.settled(2).await, [charged(1, "2"), charged(1, "0.5")]);
    let seen = |stub: &Stub| {
        stub.requests()
            .iter()
            .map(|text| text.lines().next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(&usual), ["GET /serp HTTP/1.1"]);
    assert_eq!(seen(&reports), ["GET /reports HTTP/1.1"]);
    let host = format!("host: {}", reports.address);
    assert!(reports.requests()[0].contains(&host), "its own name is in Host");
}

#[tokio::test]
async fn upstreams_that_are_full_refuse_and_hold_nothing_while_others_serve() {
    let slow = Stub::falling_silent_after("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe").await;
    let usual = demo_data_api().await;
    let config = gateway(
        &format!("http://{usual}"),
        &format!("http://{}", slow.address),
        "connections_max = 2\nidle_body_timeout_seconds = 2\n",
    );
    let stage = Stage::configured(&config, REPORTS).await;
    let (first, second, full) = tokio::join!(stage.get("/reports"), stage.get("/reports"), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let full = stage.get("/reports").await;
        assert_eq!(stage.get("/serp?q=a").await.status, 200);
        full
    });
    assert_eq!(
        (full.status, full.code().as_str(), full.header("retry-after")),
        (503, "upstream-busy", Some("1"))
    );
    assert!(!first.whole && !second.whole);
    let settled = stage.settled(3).await;
    assert_eq!(
        settled.iter().filter(|one| **one == released("error")).count(),
        2,
        "{settled:?}"
    );
    assert_eq!(slow.requests().len(), 2);
    // Places come back with the bodies that held them.
    let freed = Stage::configured(&config, REPORTS).await;
    for _ in 0..3 {
        assert_eq!(freed.get("/reports").await.status, 200);
    }
}

#[tokio::test]
async fn upstreams_that_break_off_after_the_request_are_never_asked_again() {
    let stub = Stub::answering("").await;
    let stage = Stage::in_front_of(stub.address).await;
    assert_eq!(stage.get("/serp").await.status, 502);
    assert_eq!(stub.requests().len(), 1);
    assert_eq!(stage.settled(1).await, [released("error")]);
}

#[tokio::test]
async fn upstreams_that_cannot_be_reached_are_left_alone_for_a_moment_and_come_back() {
    let address = nobody();
    let stage = Stage::configured(&format!("upstream = \"http://{address}\""), "").await;
    for _ in 0..5 {
        let answer = stage.get("/serp").await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream-unreachable"));
    }
    let began = Instant::now();
    let at_once = stage.get("/serp").await;
    assert_eq!((at_once.status, at_once.header("retry-after")), (502, Some("1")));
    assert!(began.elapsed() < Duration::from_millis(40), "{:?}", began.elapsed());
    assert_eq!(stage.settled(5).await.len(), 5, "nothing was held for the sixth");
    let _stub = Stub::answering_at(address, OK).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(stage.get("/serp").await.status, 200);
}

/// Accepts connections, shakes no hands, and counts.
async fn deaf() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::<AtomicUsize>::default();
    let accepted = Arc::clone(&count);
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            accepted.fetch_add(1, Ordering::Relaxed);
            kept.push(socket);
        }
    });
    (address, count)
}

#[tokio::test]
async fn upstreams_whose_connections_hang_count_as_not_reached() {
    let (address, accepted) = deaf().await;
    let config = format!("upstream = \"https://{address}\"\nupstream_timeout_seconds = 6\n");
    let stage = Stage::configured(&config, "").await;
    let asking = (0..5).map(|_| stage.get("/serp"));
    for answer in futures_util::future::join_all(asking).await {
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream-unreachable"));
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 10, "each was tried once more");
    let at_once = stage.get("/serp").await;
    assert_eq!((at_once.status, at_once.header("retry-after")), (502, Some("1")));
    assert_eq!(stage.settled(5).await, vec![released("error"); 5]);
}

/// What came: on which turn of its connection and by which method, and its whole head.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

/// Answers the first request of each connection, and closes at the second without a word; at a POST always.
async fn forgetful() -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let told = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                for turn in ["first", "second"] {
                    let mut piece = [0; 4096];
                    let Ok(length @ 1..) = socket.read(&mut piece).await else {
                        return;
                    };
                    let text = String::from_utf8_lossy(&piece[..length]).into_owned();
                    let method = text.split(' ').next().unwrap_or_default().to_owned();
                    told.lock().unwrap().push((format!("{turn} {method}"), text));
                    if turn == "second" || method == "POST" {
                        return;
                    }
                    socket.write_all(OK.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn upstreams_that_close_kept_connections_cost_no_get_an_answer_and_get_no_post_twice() {
    let (address, seen) = forgetful().await;
    let stage = Stage::in_front_of(address).await;
    let closed_on = |what: &str| seen.lock().unwrap().iter().filter(|(one, _)| one == what).count();
    while closed_on("second GET") < 3 {
        assert_eq!(stage.get("/serp?q=a&page=2").await.status, 200);
    }
    for pair in seen.lock().unwrap().windows(2) {
        let [(what, head), (next, again)] = pair else {
            unreachable!("windows of two")
        };
        if what == "second GET" {
            assert_eq!((next.as_str(), again), ("first GET", head), "it is the same request");
            assert!(
                head.starts_with("GET /serp?q=a&page=2 ") && head.contains("x-keyledger-key: key_"),
                "{head}"
            );
        }
    }
    while closed_on("second POST") < 3 {
        assert_eq!(stage.get("/serp").await.status, 200);
        let before = closed_on("first POST") + closed_on("second POST");
        let post = stage
            .send(&stage.request("POST", "/serp", "Content-Length: 0\r\n"))
            .await;
        assert_eq!((post.status, post.code().as_str()), (502, "upstream-unreachable"));
        assert_eq!(closed_on("first POST") + closed_on("second POST"), before + 1);
    }
}
