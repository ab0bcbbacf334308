//! Keys whose clients keep hanging up just before the end of a body.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::raw::{Stub, connect};
use super::stage::{Stage, charged, released};

const THREE: &str = "free_riders = { hang_ups_max = 3, hang_up_window_seconds = 60 }";

/// In front of an upstream that announces 100 bytes, sends so many, and waits.
async fn stage(bytes: usize, more: &str) -> Stage {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "x".repeat(bytes));
    let upstream = Stub::falling_silent_after(&answer).await.address;
    Stage::start(upstream, "100").await.with(upstream, more).await
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
}

#[tokio::test]
async fn a_key_that_leaves_in_the_middle_pays_nothing_however_often() {
    let stage = stage(50, THREE).await;
    leave(&stage, 50, 5, 0).await;
    assert!(stage.settled(5).await.iter().all(|one| *one == released("client-gone")));
}

#[tokio::test]
async fn nobody_is_looked_after_unless_it_is_configured() {
    let stage = stage(95, "").await;
    leave(&stage, 95, 6, 0).await;
    assert!(stage.settled(6).await.iter().all(|one| *one == released("client-gone")));
}
