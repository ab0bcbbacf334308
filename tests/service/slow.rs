//! A thousand slow clients at once: what memory they take, and whether anybody else waits for them.
//!
//! What is compared is what an operator sees: the resident memory of the process after ordinary traffic, and with a
//! thousand slow clients on top of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::client::Client;
use super::process::{Customer, Service, Site};
use crate::harness::until;

const CLIENTS: usize = 1_000;
/// Holds of one key are bounded too.
const CUSTOMERS: usize = 4;
const ANSWER_BYTES: usize = 1 << 20;

/// Answers a GET with a little, or with a lot where it is asked for `large`, and never a POST, which it counts.
#[derive(Clone, Default)]
struct Upstream {
    posts: Arc<AtomicUsize>,
}

impl Upstream {
    async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = self.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(upstream.clone().answer(socket));
            }
        });
        address
    }

    async fn answer(self, mut socket: TcpStream) {
        let mut piece = [0; 2048];
        while let Ok(length @ 1..) = socket.read(&mut piece).await {
            if piece.starts_with(b"POST") {
                self.posts.fetch_add(1, Ordering::Relaxed);
                while let Ok(1..) = socket.read(&mut piece).await {}
                return;
            }
            let large = piece[..length].windows(5).any(|five| five == b"large");
            let mut left = if large { ANSWER_BYTES } else { 500 };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n");
            let mut sent = socket.write_all(head.as_bytes()).await;
            while left > 0 && sent.is_ok() {
                let next = left.min(piece.len());
                sent = socket.write_all(&[b'x'; 2048][..next]).await;
                left -= next;
            }
        }
    }
}

/// A gateway after ordinary traffic.
struct World {
    service: Service,
    gateway: SocketAddr,
    slow: Vec<Customer>,
    other: Client,
    before_kib: u64,
    _site: Site,
}

impl World {
    async fn open(upstream: &Upstream) -> World {
        let site = Site::start().await;
        // All clients of this test have one address.
        site.configure(upstream.start().await, "proxies = [\"127.0.0.0/8\"]");
        let service = site.serve_logging("warn").await;
        let operator = site.operator(&service);
        let mut slow = Vec::new();
        for _ in 0..CUSTOMERS {
            slow.push(Customer::open(&operator, "1000").await);
        }
        let customer = Customer::open(&operator, "1000").await;
        let other = Client::new(&service.gateway, &customer.secret);
        for _ in 0..20 {
            let asking = (0..32).map(|_| other.get("/serp?q=a"));
            let answers = futures_util::future::join_all(asking).await;
            assert!(answers.iter().all(|answer| answer.status == 200));
        }
        World {
            gateway: service.gateway.trim_start_matches("http://").parse().unwrap(),
            before_kib: service.memory_kib("VmRSS"),
            service,
            slow,
            other,
            _site: site,
        }
    }

    /// A connection on which so much was sent, with little room for what comes back.
    async fn send(&self, number: usize, method: &str, more: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        let mut socket = socket.connect(self.gateway).await.unwrap();
        let secret = &self.slow[number % CUSTOMERS].secret;
        let request = format!("{method} HTTP/1.1\r\nHost: a\r\nX-API-Key: {secret}\r\n{more}");
        socket.write_all(request.as_bytes()).await.unwrap();
        socket
    }

    /// Asks as anybody would, while all slow clients do what they do. Says what memory was taken, and how long the
    /// slowest answer took.
    async fn meanwhile(&self, what: &str, slow: &mut [TcpStream], reads: bool) -> u64 {
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            for socket in slow.iter_mut().step_by(20) {
                if reads {
                    let _ = socket.read(&mut [0; 16]).await;
                } else {
                    let _ = socket.write_all(b"a").await;
                }
            }
            let began = Instant::now();
            assert_eq!(self.other.get("/serp?q=a").await.status, 200);
            slowest = slowest.max(began.elapsed());
        }
        let during = self.service.memory_kib("VmRSS");
        println!(
            "{what}: {} KiB before, {during} KiB with {CLIENTS} slow clients, {} KiB each; the slowest of 50 others took {slowest:?}",
            self.before_kib,
            during.saturating_sub(self.before_kib) / 1_000,
        );
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
        during
    }
}

/// The slowloris: heads that never end.
#[tokio::test(flavor = "multi_thread")]
async fn load_of_a_thousand_slow_heads_leaves_memory_flat_and_nobody_waiting() {
    let world = World::open(&Upstream::default()).await;
    let mut slow = Vec::new();
    for number in 0..CLIENTS {
        slow.push(world.send(number, "GET /serp", "X-Slow: ").await);
    }
    let during = world.meanwhile("heads", &mut slow, false).await;
    assert!(
        during * 10 <= world.before_kib * 11,
        "{} KiB, then {during} KiB",
        world.before_kib
    );
}

/// Each of them is a request under way, with a hold and a connection to the upstream of its own.
#[tokio::test(flavor = "multi_thread")]
async fn load_of_a_thousand_slow_bodies_takes_bounded_memory_and_keeps_nobody_waiting() {
    let upstream = Upstream::default();
    let world = World::open(&upstream).await;
    let mut slow = Vec::new();
    for number in 0..CLIENTS {
        slow.push(world.send(number, "POST /serp", "Content-Length: 1000\r\n\r\na").await);
    }
    until("all are under way", async || {
        upstream.posts.load(Ordering::Relaxed) == CLIENTS
    })
    .await;
    let during = world.meanwhile("bodies", &mut slow, false).await;
    let each = during.saturating_sub(world.before_kib) / 1_000;
    assert!(each <= 64, "{each} KiB for each");
}

#[tokio::test(flavor = "multi_thread")]
async fn load_of_a_thousand_slow_readers_takes_bounded_memory_and_keeps_nobody_waiting() {
    let world = World::open(&Upstream::default()).await;
    let mut slow = Vec::new();
    for number in 0..CLIENTS {
        slow.push(world.send(number, "GET /serp?large", "\r\n").await);
    }
    for socket in &mut slow {
        socket.read_exact(&mut [0; 64]).await.unwrap();
    }
    let during = world.meanwhile("readers", &mut slow, true).await;
    let each = during.saturating_sub(world.before_kib) / 1_000;
    assert!(each <= 96, "{each} KiB for each");
}
