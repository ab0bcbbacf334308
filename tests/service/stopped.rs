//! A service that is told to stop while proxies ask and tell: what it has read it carries out, and says so to whoever waits.

use std::net::SocketAddr;

use keyledger_events::Event;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::gate::Gate;
use super::settled::{Scene, both};
use crate::harness::until;
use crate::ledger::writers::whole_log;

/// One request on its own connection, sent and not yet answered.
struct Call {
    socket: TcpStream,
    client: SocketAddr,
}

impl Call {
    /// Sends, and waits until the service has read it.
    async fn send(scene: &Scene, line: &str, headers: &[(&str, String)]) -> Call {
        let api: SocketAddr = scene.service().api.trim_start_matches("http://").parse().unwrap();
        let mut socket = TcpStream::connect(api).await.unwrap();
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let request = format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let client = socket.local_addr().unwrap();
        until("the service has read it", async || unread(client) == Some(0)).await;
        Call { socket, client }
    }

    /// Hangs up, and waits until the service knows.
    async fn hang_up(self) {
        drop(self.socket);
        let client = self.client;
        until("the service has let go", async || unread(client).is_none()).await;
    }

    async fn status(mut self) -> String {
        let mut answer = String::new();
        self.socket.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

/// Bytes that the kernel has from this client and the service has not read; none without a socket of the service's.
fn unread(client: SocketAddr) -> Option<u64> {
    const TIME_WAIT: &str = "06";
    let port = format!(":{:04X}", client.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_services = fields.get(2)?.ends_with(&port) && fields[3] != TIME_WAIT;
        let (_, unread) = fields[4].split_once(':').filter(|_| is_services)?;
        u64::from_str_radix(unread, 16).ok()
    })
}

const CALLS: usize = 6;

#[tokio::test]
async fn stopping_carries_out_every_settle_call_that_was_read() {
    let mut scene = Scene::open().await;
    let mut gate = Gate::before_a_top_up(&scene.site.harness).await;
    let mut holds = Vec::new();
    for _ in 0..CALLS {
        holds.push(scene.ask().await);
    }
    let mut calls = Vec::new();
    for held in &holds {
        calls.push(Call::send(&scene, "POST /v1/forward-auth-settle", &scene.telling(held)).await);
    }
    until("one of them is being appended", async || gate.waiting().await).await;
    // nginx may not wait for the answer.
    calls.remove(0).hang_up().await;
    calls.pop().unwrap().hang_up().await;
    scene.service().tell_to_stop();
    gate.open().await;
    for call in calls {
        assert_eq!(call.status().await, "200");
    }
    scene.service.take().unwrap().stopped().await;
    assert_eq!(scene.charges().await, both(CALLS));
}

#[tokio::test]
async fn stopping_tells_of_every_hold_or_gives_it_back() {
    let mut scene = Scene::open().await;
    let mut gate = Gate::before_a_hold(&scene.site.harness).await;
    let mut calls = Vec::new();
    for _ in 0..CALLS {
        calls.push(Call::send(&scene, "GET /v1/forward-auth", &scene.asking()).await);
    }
    until("one of them is being appended", async || gate.waiting().await).await;
    calls.remove(0).hang_up().await;
    calls.pop().unwrap().hang_up().await;
    scene.service().tell_to_stop();
    gate.open().await;
    let told = calls.len();
    for call in calls {
        assert_eq!(call.status().await, "200");
    }
    scene.service.take().unwrap().stopped().await;
    let log = whole_log(&scene.site.harness.log()).await;
    let count = |wanted: fn(&Event) -> bool| log.iter().filter(|recorded| wanted(&recorded.event)).count();
    let held = count(|event| matches!(event, Event::CreditsReserved(_)));
    let given_back = count(|event| matches!(event, Event::CreditsReleased(_)));
    assert_eq!((held, given_back), (CALLS, CALLS - told));
}
