//! Ten thousand requests over two hundred connections, with an upstream and clients that fail at random: what the log
//! charges is what the clients saw arrive whole.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use keyledger_events::Event;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::raw::connect;
use super::scripted::{End, target, upstream};
use super::stage::Stage;
use crate::harness::until;

const CONNECTIONS: u64 = 200;
const REQUESTS_EACH: usize = 50;

/// What one client saw.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Seen {
    requests: usize,
    whole: usize,
}

/// There is no honest doubt here: a client that leaves does so when half of the body is all that anyone has, and a
/// client that has the whole body stays.
#[tokio::test(flavor = "multi_thread")]
async fn load_of_ten_thousand_requests_with_random_faults_charges_what_arrived_whole() {
    let stage = Arc::new(Stage::start(upstream().await, "100000").await);
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|seed| tokio::spawn(client(stage.gateway, stage.secret.clone(), StdRng::seed_from_u64(seed))))
        .collect();
    let mut seen = Seen::default();
    for client in clients {
        let one = client.await.unwrap();
        seen.requests += one.requests;
        seen.whole += one.whole;
    }
    assert_eq!(seen.requests, 10_000);
    assert!(seen.whole > 5_000 && seen.whole < 9_000, "{seen:?}");
    let mut log = Vec::new();
    until("nothing is held any more", async || {
        log = stage.events().await;
        count(&log, |event| matches!(event, Event::CreditsReserved(_)))
            == count(&log, |event| {
                matches!(event, Event::CreditsCharged(_) | Event::CreditsReleased(_))
            })
    })
    .await;
    assert_eq!(
        count(&log, |event| matches!(event, Event::CreditsReserved(_))),
        seen.requests
    );
    assert_eq!(
        count(&log, |event| matches!(event, Event::CreditsCharged(_))),
        seen.whole
    );
}

fn count(log: &[Event], is: impl Fn(&Event) -> bool) -> usize {
    log.iter().filter(|event| is(event)).count()
}

/// Asks and asks, on one connection for as long as it holds.
async fn client(gateway: SocketAddr, secret: String, mut chance: StdRng) -> Seen {
    let mut seen = Seen::default();
    let mut connection = None;
    for _ in 0..REQUESTS_EACH {
        let (target, leaves) = request(&mut chance);
        let mut sender = match connection.take() {
            Some(sender) => sender,
            None => open(gateway).await,
        };
        seen.requests += 1;
        if arrives_whole(&mut sender, &target, &secret, leaves)
            .await
            .unwrap_or(false)
        {
            seen.whole += 1;
        }
        // What came of the connection is known by whether it takes another request.
        if !leaves && sender.ready().await.is_ok() {
            connection = Some(sender);
        }
    }
    seen
}

/// What to ask for, and whether to leave in the middle of the answer.
fn request(chance: &mut StdRng) -> (String, bool) {
    let ends = [End::Short, End::ShortChunked, End::Reset];
    match chance.random_range(0..200) {
        0..70 => (target(200, End::Whole), false),
        70..140 => (target(200, End::WholeChunked), false),
        140..150 => (target(202, End::Whole), false),
        150..160 => (target(chance.random_range(400..600), End::Whole), false),
        160..184 => (target(200, ends[chance.random_range(0..ends.len())]), false),
        184..194 => (target(200, End::ClientGone), true),
        194..196 => (target(200, End::Stalled), false),
        // Nothing that the upstream knows: it closes the connection without an answer.
        _ => ("/serp?hang=up".to_owned(), false),
    }
}

async fn open(gateway: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let (sender, connection) = http1::handshake(TokioIo::new(connect(gateway).await)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Whether the answer brought data, all of it.
async fn arrives_whole(
    sender: &mut SendRequest<Empty<Bytes>>,
    target: &str,
    secret: &str,
    leaves: bool,
) -> hyper::Result<bool> {
    sender.ready().await?;
    let request = Request::get(target)
        .header(header::HOST, "api.example")
        .header(header::AUTHORIZATION, format!("Bearer {secret}"))
        .body(Empty::new())
        .unwrap();
    let answer = sender.send_request(request).await?;
    let data = answer.status() == 200;
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
        if leaves {
            return Ok(false);
        }
    }
    Ok(data)
}
