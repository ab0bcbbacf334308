//! Publishing: a bounded window of messages under way, each stating the sequence, and the message, that it must follow.
//!
//! So a message that the stream holds proves those before it, and only some are acknowledged. The sequence alone would not do:
//! where somebody else's message took the place of one that is not acknowledged, the next would fit behind it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_MESSAGE_ID, NATS_EXPECTED_LAST_SEQUENCE, NATS_MESSAGE_ID};
use async_nats::jetstream::context::PublishAckFuture;
use bytes::Bytes;
use keyledger_events::{Position, Shard};
use tokio::sync::watch;
use tokio::time::Instant;

use super::stream::still_at;
use super::{Ended, PAUSE_MIN, RelayStatus};
use crate::bus::Bus;
use crate::log::{Log, Stored};

/// Messages under way that are not known to be in the stream.
pub(super) const UNDER_WAY_MAX: usize = 256;
/// Of so many messages one is acknowledged; the last one always is.
const ACKNOWLEDGED_EVERY: usize = 64;
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
    pause: &mut Duration,
) -> Result<Infallible, Ended> {
    let mut checked_at = Instant::now();
    let mut follows = None;
    loop {
        let mut events = log.read_along(last, READ_AT_ONCE_MAX).await?;
        if events.is_empty() {
            if checked_at.elapsed() >= CHECK_EVERY {
                still_at(log, bus, last).await?;
                taken(tell, last, pause);
                checked_at = Instant::now();
            }
            wait_for_more(committed.as_deref_mut(), last).await;
            continue;
        }
        last = publish_all(bus, log.shard(), &mut events, last, &mut follows).await?;
        metrics::counter!("keyledger_relay_messages_total").increment(u64::try_from(events.len()).unwrap_or(0));
        taken(tell, last, pause);
    }
}

/// The stream stands where it is to stand.
fn taken(tell: &watch::Sender<RelayStatus>, last: Position, pause: &mut Duration) {
    *pause = PAUSE_MIN;
    tell.send_if_modified(|status| {
        let refused = status.refused.take();
        if refused.is_some() {
            tracing::info!(%last, "the bus takes events again");
        }
        let changed = refused.is_some() || status.last != last;
        status.last = last;
        changed
    });
}

/// A message that is acknowledged, and how many of its group there are.
struct Sent {
    position: Position,
    messages: usize,
    acknowledgement: PublishAckFuture,
}

/// What is on its way to the stream.
#[derive(Default)]
struct UnderWay {
    sent: VecDeque<Sent>,
    messages: usize,
}

async fn publish_all(
    bus: &Bus,
    shard: Shard,
    events: &mut [Stored],
    mut last: Position,
    follows: &mut Option<String>,
) -> Result<Position, Ended> {
    let mut under_way = UnderWay::default();
    for group in events.chunks_mut(ACKNOWLEDGED_EVERY) {
        let messages = group.len();
        while under_way.messages + messages > UNDER_WAY_MAX {
            last = under_way.acknowledged().await?.unwrap_or(last);
        }
        let Some((to_acknowledge, others)) = group.split_last_mut() else {
            break;
        };
        for stored in others {
            let message = message(bus, shard, stored, follows)?;
            let sent = bus
                .client()
                .publish_with_headers(message.subject, message.headers, message.body);
            sent.await.map_err(|error| Ended::AskAgain(error.to_string()))?;
        }
        let message = message(bus, shard, to_acknowledge, follows)?;
        let sent = bus
            .jetstream()
            .publish_with_headers(message.subject, message.headers, message.body);
        under_way.messages += messages;
        under_way.sent.push_back(Sent {
            position: to_acknowledge.position,
            messages,
            acknowledgement: sent.await.map_err(|error| Ended::AskAgain(error.to_string()))?,
        });
    }
    while let Some(position) = under_way.acknowledged().await? {
        last = position;
    }
    Ok(last)
}

struct Message {
    subject: String,
    headers: HeaderMap,
    body: Bytes,
}

/// The message of an event, whose bytes it takes. The event itself is not read: a relay that is older than an event's type passes it
/// on like any other. `follows`: the id of the one before, where this session published that; then
/// this one's.
fn message(bus: &Bus, shard: Shard, stored: &mut Stored, follows: &mut Option<String>) -> Result<Message, Ended> {
    let label = stored
        .label()
        .map_err(|error| Ended::Fault(format!("event {} of the log has no label: {error}", stored.position)))?;
    let subject = bus
        .subject(shard, label.subject, label.type_name)
        .ok_or_else(|| Ended::Fault(format!("event {} of the log makes no subject", stored.position)))?;
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, label.id);
    headers.insert(NATS_EXPECTED_LAST_SEQUENCE, (stored.position.0 - 1).to_string());
    if let Some(before) = follows.replace(label.id.to_owned()) {
        headers.insert(NATS_EXPECTED_LAST_MESSAGE_ID, before);
    }
    headers.insert("Content-Type", "application/cloudevents+json");
    Ok(Message {
        subject,
        headers,
        body: std::mem::take(&mut stored.body).into(),
    })
}

impl UnderWay {
    /// Waits for the oldest acknowledgement, and proves that its message stands at its position, and so those before it at
    /// theirs. `None`: nothing is under way.
    async fn acknowledged(&mut self) -> Result<Option<Position>, Ended> {
        let Some(sent) = self.sent.pop_front() else {
            return Ok(None);
        };
        self.messages -= sent.messages;
        let acknowledged = sent
            .acknowledgement
            .await
            .map_err(|error| Ended::AskAgain(error.to_string()))?;
        if acknowledged.sequence != sent.position.0 {
            return Err(Ended::AskAgain(format!(
                "event {} stands at sequence {}",
                sent.position, acknowledged.sequence
            )));
        }
        Ok(Some(sent.position))
    }
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
