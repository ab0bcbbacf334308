//! Publishing: a bounded window of messages under way, each stating the sequence that it must follow.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SEQUENCE, NATS_MESSAGE_ID};
use async_nats::jetstream::context::PublishAckFuture;
use keyledger_events::{Position, Shard};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::stream::still_at;
use super::{Ended, RelayStatus};
use crate::bus::Bus;
use crate::log::{Log, Stored};

/// Messages under way before the first of them is acknowledged.
pub(super) const UNDER_WAY_MAX: usize = 256;
const READ_AT_ONCE_MAX: u32 = 1_000;
/// Commits of other processes are noticed this late.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A stream that was wiped while nothing happened is noticed this late.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Publishes what follows `last`, and what follows that, until something goes wrong.
pub(super) async fn publish_from(
    log: &Log,
    bus: &Bus,
    mut last: Position,
    mut committed: Option<&mut watch::Receiver<Position>>,
    tell: &watch::Sender<RelayStatus>,
) -> Result<Infallible, Ended> {
    let mut checked_at = Instant::now();
    loop {
        let events = log.read_along(last, READ_AT_ONCE_MAX).await?;
        if events.is_empty() {
            if checked_at.elapsed() >= CHECK_EVERY {
                still_at(log, bus, last).await?;
                checked_at = Instant::now();
            }
            wait_for_more(committed.as_deref_mut(), last).await;
            continue;
        }
        last = publish_all(bus, log.shard(), &events, last).await?;
        metrics::counter!("keyledger_relay_messages_total").increment(u64::try_from(events.len()).unwrap_or(0));
        tell.send_modify(|status| status.last = last);
    }
}

async fn publish_all(bus: &Bus, shard: Shard, events: &[Stored], mut last: Position) -> Result<Position, Ended> {
    let mut under_way: VecDeque<(Position, PublishAckFuture)> = VecDeque::with_capacity(UNDER_WAY_MAX);
    for stored in events {
        if under_way.len() == UNDER_WAY_MAX {
            acknowledged(&mut under_way, &mut last).await?;
        }
        let sent = publish_one(bus, shard, stored).await?;
        under_way.push_back((stored.position, sent));
    }
    while !under_way.is_empty() {
        acknowledged(&mut under_way, &mut last).await?;
    }
    Ok(last)
}

/// What a message's subject and id are made of. The event itself is not read: a relay that is older than an event's
/// type passes it on like any other.
#[derive(Deserialize)]
struct Label<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    type_name: &'a str,
    subject: &'a str,
}

async fn publish_one(bus: &Bus, shard: Shard, stored: &Stored) -> Result<PublishAckFuture, Ended> {
    let label: Label<'_> = serde_json::from_slice(&stored.body)
        .map_err(|error| Ended::Fault(format!("event {} of the log has no label: {error}", stored.position)))?;
    let subject = bus
        .subject(shard, label.subject, label.type_name)
        .ok_or_else(|| Ended::Fault(format!("event {} of the log makes no subject", stored.position)))?;
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, label.id);
    headers.insert(NATS_EXPECTED_LAST_SEQUENCE, (stored.position.0 - 1).to_string());
    headers.insert("Content-Type", "application/cloudevents+json");
    let sent = bus
        .jetstream()
        .publish_with_headers(subject, headers, stored.body.clone().into())
        .await;
    sent.map_err(|error| Ended::AskAgain(error.to_string()))
}

/// Waits for the oldest message's acknowledgement and proves that it stands at its position.
async fn acknowledged(
    under_way: &mut VecDeque<(Position, PublishAckFuture)>,
    last: &mut Position,
) -> Result<(), Ended> {
    let Some((position, sent)) = under_way.pop_front() else {
        return Ok(());
    };
    let acknowledged = sent.await.map_err(|error| Ended::AskAgain(error.to_string()))?;
    if acknowledged.sequence != position.0 {
        return Err(Ended::AskAgain(format!(
            "event {position} stands at sequence {}",
            acknowledged.sequence
        )));
    }
    *last = position;
    Ok(())
}

async fn wait_for_more(committed: Option<&mut watch::Receiver<Position>>, last: Position) {
    let looked = tokio::time::sleep(LOOK_EVERY);
    match committed {
        None => looked.await,
        Some(committed) => {
            tokio::select! {
                () = looked => {}
                () = told_of(committed, last) => {}
            }
        }
    }
}

/// Completes when this process has committed more. When its writer is gone, only looking is left.
async fn told_of(committed: &mut watch::Receiver<Position>, last: Position) {
    if committed.wait_for(|position| *position > last).await.is_err() {
        std::future::pending::<()>().await;
    }
}
