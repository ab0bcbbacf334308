//! Keys whose clients keep hanging up just before the end of a body.

use std::net::SocketAddr;

use keyledger_events::{ClientLeft, Event};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::raw::{Stub, connect};
use super::stage::{Stage, charged, released};

const THREE: &str = "free_riders = { hang_ups_max = 3, hang_up_window_seconds = 60 }";

/// Announces 100 bytes, sends so many, and waits.
async fn upstream(bytes: usize) -> SocketAddr {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "x".repeat(bytes));
    Stub::falling_silent_after(&answer).await.address
}

/// In front of such an upstream.
async fn stage(bytes: usize, more: &str) -> Stage {
    let upstream = upstream(bytes).await;
    Stage::start(upstream, "100").await.with(upstream, more).await
}

/// What the log says of each settlement's client.
async fn left(stage: &Stage) -> Vec<Option<ClientLeft>> {
    let left = |event| {
        if let Event::CreditsCharged(e) = event {
            Some(e.client_left)
        } else if let Event::CreditsReleased(e) = event {
            Some(e.client_left)
        } else {
            None
        }
    };
    stage.events().await.into_iter().filter_map(left).collect()
}

/// Takes all that comes, and leaves. One after the other, as each has to be known before the next one asks.
async fn leave(stage: &Stage, bytes: usize, times: usize, settled: usize) {
    for time in 1..=times {
        let mut socket = connect(stage.gateway).await;
        let request = stage.request("GET", "/serp", "");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with("x".repeat(bytes).as_bytes()) {
            assert!(socket.read_buf(&mut seen).await.unwrap() > 0);
        }
        drop(socket);
        assert_eq!(stage.settled(settled + time).await.len(), settled + time);
    }
}

#[tokio::test]
async fn a_key_that_keeps_leaving_near_the_end_pays_from_the_first_byte() {
    let stage = stage(95, THREE).await;
    leave(&stage, 95, 5, 0).await;
    let free = released("client-gone");
    let paid = charged(1, "0.5");
    assert_eq!(
        stage.settled(5).await,
        [free.clone(), free.clone(), free, paid.clone(), paid]
    );
    // An answer that the upstream does not end is free for such a key too.
    assert!(!stage.get("/serp").await.whole);
    assert_eq!(stage.settled(6).await[5], released("error"));
    let near_end = Some(ClientLeft::NearEnd);
    assert_eq!(
        left(&stage).await,
        [near_end, near_end, near_end, near_end, near_end, None]
    );
}

#[tokio::test]
async fn a_habit_is_known_to_every_gateway_and_after_a_restart() {
    let upstream = upstream(95).await;
    let first = Stage::start(upstream, "100").await.with(upstream, THREE).await;
    leave(&first, 95, 2, 0).await;
    let first_gateway = first.gateway;
    let mut site = first.in_another_process(upstream, THREE).await;
    leave(&site, 95, 1, 2).await;
    site.gateway = first_gateway;
    leave(&site, 95, 1, 3).await;
    let restarted = site.in_another_process(upstream, THREE).await;
    leave(&restarted, 95, 1, 4).await;
    let (free, paid) = (released("client-gone"), charged(1, "0.5"));
    assert_eq!(
        restarted.settled(5).await,
        [free.clone(), free.clone(), free, paid.clone(), paid]
    );
}

#[tokio::test]
async fn a_key_that_leaves_in_the_middle_pays_nothing_however_often() {
    let stage = stage(50, THREE).await;
    leave(&stage, 50, 5, 0).await;
    assert!(stage.settled(5).await.iter().all(|one| *one == released("client-gone")));
    assert_eq!(left(&stage).await, [Some(ClientLeft::Early); 5]);
}

#[tokio::test]
async fn nobody_is_looked_after_unless_it_is_configured() {
    let stage = stage(95, "").await;
    leave(&stage, 95, 6, 0).await;
    assert!(stage.settled(6).await.iter().all(|one| *one == released("client-gone")));
}
