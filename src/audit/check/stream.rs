//! The stream on the bus, against the log: message n is event n, byte for byte.

use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use futures_util::StreamExt as _;
use keyledger_events::Position;

use super::{CheckError, Checked};
use crate::bus::Bus;
use crate::log::Log;

const PAGE: u64 = 1_000;
const ANSWER_MAX: Duration = Duration::from_secs(5);

fn away(error: impl std::fmt::Display) -> CheckError {
    CheckError::Bus(error.to_string())
}

async fn in_time<T>(asked: impl Future<Output = T>) -> Result<T, CheckError> {
    tokio::time::timeout(ANSWER_MAX, asked)
        .await
        .map_err(|_| away("no answer in time"))
}

/// Compares what the stream remembers with the log, and says how many messages that were.
pub async fn check_stream(log: &Log, bus: &Bus, checked: &mut Checked) -> Result<u64, CheckError> {
    let asked = bus.jetstream().get_stream(bus.stream_name(log.shard()));
    let mut stream = in_time(asked).await?.map_err(away)?;
    let state = &stream.cached_info().state;
    let (first, last) = (state.first_sequence.max(1), state.last_sequence);
    let is_empty = state.messages == 0;
    let head = log.head().await?.position.0;
    if last > head {
        checked.find(
            None,
            format!("the stream has {last} messages, and the log ends at {head}"),
        );
    }
    if last < first || is_empty {
        return Ok(0);
    }
    let config = OrderedConfig {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: first },
        ..OrderedConfig::default()
    };
    let consumer = in_time(stream.create_consumer(config)).await?.map_err(away)?;
    let mut messages = in_time(consumer.messages()).await?.map_err(away)?;
    let (mut next, mut compared) = (first, 0);
    // A message that is further on than the event it was to be compared with.
    let mut ahead = None;
    'pages: while next <= last.min(head) {
        let limit = u32::try_from(PAGE.min(last - next + 1)).unwrap_or(1);
        let page = log.read(Position(next - 1), limit).await?;
        if page.is_empty() {
            break;
        }
        for event in page {
            let message = match ahead.take() {
                Some(message) => message,
                None => {
                    let message = in_time(messages.next()).await?;
                    message.ok_or_else(|| away("it stopped sending"))?.map_err(away)?
                }
            };
            let sequence = message.info().map_err(away)?.stream_sequence;
            if sequence != event.position.0 {
                // A stream that is bounded, by age or size, may have forgotten it since its beginning was asked for.
                let state = &in_time(stream.info()).await?.map_err(away)?.state;
                if sequence < event.position.0 || state.first_sequence <= event.position.0 {
                    checked.find(None, format!("the stream has no message {}", event.position));
                    return Ok(compared);
                }
                next = sequence;
                ahead = Some(message);
                continue 'pages;
            }
            if message.payload.as_ref() != event.body {
                let what = format!("message {sequence} of the stream is not event {sequence} of the log");
                checked.find(None, what);
            }
            next = event.position.0 + 1;
            compared += 1;
        }
    }
    Ok(compared)
}
