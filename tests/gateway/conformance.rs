//! The settle table of the gateway, case by case: every final status, and every way in which a body can end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use keyledger_events::Event;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

use super::raw::{self, connect};
use super::scripted::{End, HALF, target, upstream};
use super::stage::{Settled, Stage, charged, released};
use crate::harness::until;

/// More at once, and waiting for its turn would make a case late.
const AT_ONCE: usize = 150;
const STATUSES: std::ops::RangeInclusive<u16> = 200..=599;

/// What the log has to say.
fn expected(status: u16, end: End) -> Settled {
    match (status, end) {
        (200 | 203 | 206, End::Whole | End::WholeChunked) => charged(1, "0.5"),
        (200 | 203 | 206, End::Short | End::ShortChunked | End::Reset | End::Stalled) => released("error"),
        (200 | 203 | 206, End::ClientGone) => released("client-gone"),
        // These are worth nothing by their head alone, whatever becomes of the body.
        (202, _) => released("queued"),
        (_, _) => released("error"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conformance_every_status_and_every_end_of_a_body_settles_as_the_table_says() {
    let stage = Arc::new(Stage::start(upstream().await, "100000").await);
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = Vec::new();
    let mut cases = HashMap::new();
    for status in STATUSES {
        for end in End::ALL {
            let name = format!("{status}-{end:?}");
            let request = stage.request("GET", &target(status, end), &format!("X-Request-Id: {name}\r\n"));
            cases.insert(name, expected(status, end));
            let (place, gateway) = (Arc::clone(&room).acquire_owned().await.unwrap(), stage.gateway);
            running.push(tokio::spawn(async move {
                run(gateway, &request, status, end).await;
                drop(place);
            }));
        }
    }
    for case in running {
        case.await.unwrap();
    }
    until("every case has settled", async || {
        stage.events().await.iter().filter(|event| is_settlement(event)).count() >= cases.len()
    })
    .await;
    let log = stage.events().await;
    let told = told(&log);
    assert_eq!(told.len(), cases.len());
    let wrong: Vec<_> = cases
        .iter()
        .filter(|(name, expected)| told[*name] != vec![(*expected).clone()])
        .collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:?}", wrong.len(), cases.len());
}

/// Asks, and leaves in the middle where that is the case.
async fn run(gateway: SocketAddr, request: &str, status: u16, end: End) {
    if end != End::ClientGone || matches!(status, 204 | 304) {
        let answer = raw::send(gateway, request).await;
        let breaks = matches!(end, End::Short | End::ShortChunked | End::Reset | End::Stalled);
        let cut = breaks && answer.status == 0;
        assert!(
            cut || answer.status == status || answer.status == 502,
            "{}",
            answer.status
        );
        return;
    }
    let mut socket = connect(gateway).await;
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&seen).ends_with(HALF) {
        let length = socket.read(&mut piece).await.unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..length]);
    }
}

fn is_settlement(event: &Event) -> bool {
    matches!(event, Event::CreditsCharged(_) | Event::CreditsReleased(_))
}

/// All that the log says of each request, by the request's own id. What a settlement gives and takes is what was held.
fn told(log: &[Event]) -> HashMap<String, Vec<Settled>> {
    let mut names = HashMap::new();
    let mut held = HashMap::new();
    let mut told: HashMap<String, Vec<Settled>> = HashMap::new();
    for event in log {
        if let Event::CreditsReserved(reserved) = event {
            assert!(held.insert(reserved.reservation, reserved.amount).is_none());
        } else if let Event::KeyUsed(used) = event {
            names.insert(used.reservation, used.request.clone().unwrap());
        } else if let Event::CreditsCharged(e) = event {
            assert_eq!(e.charged.plus(e.returned), Some(held[&e.reservation]));
            let said = charged(e.quantity, &e.charged.to_string());
            told.entry(names[&e.reservation].clone()).or_default().push(said);
        } else if let Event::CreditsReleased(e) = event {
            assert_eq!(e.returned, held[&e.reservation]);
            told.entry(names[&e.reservation].clone())
                .or_default()
                .push(released(e.cause.as_str()));
        }
    }
    told
}
