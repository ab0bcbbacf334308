//! Gateways that are killed the moment their client has the last byte: what arrived whole is charged, once, and nothing else.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use keyledger_events::Event;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::gate::Gate;
use super::process::{Customer, Service, Site};
use crate::gateway::outages::{bytes_the_kernel_takes, deaf};
use crate::gateway::raw::Stub;
use crate::harness::{Harness, until};
use crate::ledger::writers::whole_log;

/// A gateway with a journal, and a customer of it.
struct Scene {
    site: Site,
    customer: Customer,
    kept_in: TempDir,
}

impl Scene {
    async fn open(upstream: Option<SocketAddr>) -> (Scene, Service) {
        let kept_in = tempfile::tempdir().unwrap();
        let more = format!("journal_dir = {:?}", kept_in.path());
        let site = Site::on(Harness::start().await, &more).await;
        if let Some(upstream) = upstream {
            site.stand_before(upstream);
        }
        let service = site.serve_logging("warn").await;
        let customer = Customer::open(&site.operator(&service), "100").await;
        let scene = Scene {
            site,
            customer,
            kept_in,
        };
        (scene, service)
    }

    async fn charges(&self) -> usize {
        let log = whole_log(&self.site.harness.log()).await;
        let charge = |event: &Event| matches!(event, Event::CreditsCharged(_));
        log.iter().filter(|recorded| charge(&recorded.event)).count()
    }

    /// The records of bodies whose last bytes were leaving.
    fn written_down(&self) -> usize {
        let bytes = std::fs::read(self.kept_in.path().join("handed-over")).unwrap();
        bytes.chunks(512).filter(|place| place[0] != 0).count()
    }

    /// After this, whatever was left on disk has been settled.
    async fn nothing_is_owed(&self) {
        let journal: PathBuf = self.kept_in.path().join("settlements.journal");
        until("nothing is owed any more", async || {
            std::fs::read(&journal).unwrap().is_empty()
        })
        .await;
    }

    fn request(&self, target: &str) -> String {
        let secret = &self.customer.secret;
        format!("GET {target} HTTP/1.1\r\nHost: a\r\nX-API-Key: {secret}\r\n\r\n")
    }

    /// Its own connection's first stream.
    async fn stream(&self, service: &Service, window: u32) -> Response<Incoming> {
        let socket = TcpStream::connect(gateway(service)).await.unwrap();
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .handshake(TokioIo::new(socket))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = Request::get("http://a/serp")
            .header("x-api-key", &self.customer.secret)
            .body(Empty::<Bytes>::new())
            .unwrap();
        sender.send_request(request).await.unwrap()
    }

    /// Kills the service in each round right after `read` says that all has come, before the ledger could know of it.
    async fn kill_at_the_last_byte(&self, mut service: Service, rounds: usize, read: impl AsyncFn(&Service, usize)) {
        let mut gate = Gate::before_a_charge(&self.site.harness).await;
        for round in 0..rounds {
            read(&service, round).await;
            service.kill_9().await;
            assert_eq!(
                self.written_down(),
                1,
                "round {round}: it was written down before its last byte came"
            );
            gate.open().await;
            service = self.site.serve_logging("warn").await;
            until("it is charged", async || self.charges().await > round).await;
            gate.close().await;
        }
        self.nothing_is_owed().await;
        gate.open().await;
        assert_eq!(self.charges().await, rounds, "each once");
        service.kill_9().await;
        let _last = self.site.serve_logging("warn").await;
        self.nothing_is_owed().await;
        assert_eq!(self.charges().await, rounds, "what is settled does not come back");
    }
}

fn gateway(service: &Service) -> SocketAddr {
    service.gateway.trim_start_matches("http://").parse().unwrap()
}

/// Whether an answer is there to its last byte, by its framing: the connection stays open.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let head = str::from_utf8(&answer[..end]).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    match head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
        Some(length) => answer.len() == end + 4 + length.parse::<usize>().unwrap(),
        None => answer.ends_with(b"\r\n0\r\n\r\n"),
    }
}

/// The race: between the last byte and the ledger's word there is a moment in which nothing but the gateway's own file
/// knows of the delivery. A record after the last byte loses this in most rounds.
#[tokio::test(flavor = "multi_thread")]
async fn kill_at_the_last_byte_charges_what_arrived_whole_twenty_times() {
    let (scene, service) = Scene::open(None).await;
    let read = async |service: &Service, round: usize| {
        let targets = ["/serp?q=a", "/serp?q=a&stream=1&chunks=3&chunk_ms=5"];
        let mut socket = TcpStream::connect(gateway(service)).await.unwrap();
        let request = scene.request(targets[round % targets.len()]);
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !is_whole(&answer) {
            assert!(socket.read_buf(&mut answer).await.unwrap() > 0, "it breaks off");
        }
    };
    scene.kill_at_the_last_byte(service, 20, read).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_at_the_last_byte_of_a_stream_charges_what_arrived_whole() {
    let answer = |length: usize| {
        let body = "x".repeat(length);
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    // The connection copies a small piece; a large one it hands through as it is.
    for length in [20, 20_000] {
        let (scene, service) = Scene::open(Some(Stub::answering(&answer(length)).await.address)).await;
        let read = async |service: &Service, _| {
            let body = scene.stream(service, 1 << 20).await.into_body();
            assert_eq!(body.collect().await.unwrap().to_bytes().len(), length);
        };
        scene.kill_at_the_last_byte(service, 3, read).await;
    }
}

/// The HTTP server has all of the body, and the socket, or the stream's window, has room for a part of it.
#[tokio::test(flavor = "multi_thread")]
async fn kill_while_the_last_bytes_wait_for_their_client_charges_nothing() {
    let length = bytes_the_kernel_takes().await + (32 << 10);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}",
        "x".repeat(length)
    );
    let (scene, service) = Scene::open(Some(Stub::answering(&answer).await.address)).await;
    let mut deaf = deaf(gateway(&service)).await;
    deaf.write_all(scene.request("/serp").as_bytes()).await.unwrap();
    let small = format!("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n{}", "x".repeat(20_000));
    scene.site.stand_before(Stub::answering(&small).await.address);
    tokio::time::sleep(Duration::from_millis(500)).await;
    service.kill_9().await;
    assert_eq!(scene.written_down(), 0);
    let service = scene.site.serve_logging("warn").await;
    let held_back = scene.stream(&service, 10_000).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    service.kill_9().await;
    assert_eq!(scene.written_down(), 0);
    drop((deaf, held_back));
    let _last = scene.site.serve_logging("warn").await;
    scene.nothing_is_owed().await;
    assert_eq!(scene.charges().await, 0);
}
