//! Where a projection's events come from: the bus when it delivers the very next one, the log otherwise.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use futures_util::{FutureExt as _, StreamExt as _};
use keyledger_events::{Position, Recorded};
use tokio::time::Instant;

use crate::bus::Bus;
use crate::log::{Log, ReadError};

/// The next events, from wherever they are to be had.
pub(super) struct Source {
    log: Log,
    bus: Option<Bus>,
    messages: Option<Ordered>,
    /// The bus is tried again from here on; until then only the log is read.
    try_bus_at: Instant,
    looked_at: Option<Instant>,
}

/// Why there are no next events.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The log's own event cannot be read: nothing else can come after it.
    #[error("event {position} cannot be read: {error}")]
    Unreadable {
        position: Position,
        error: keyledger_events::DecodeError,
    },
}

const EVENTS_AT_ONCE_MAX: usize = 1_000;
/// How late a projection hears when the bus says nothing.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const TRY_BUS_EVERY: Duration = Duration::from_secs(2);
const SUBSCRIBE_WITHIN: Duration = Duration::from_secs(2);

impl Source {
    pub(super) fn new(log: Log, bus: Option<Bus>) -> Source {
        Source {
            log,
            bus,
            messages: None,
            try_bus_at: Instant::now(),
            looked_at: None,
        }
    }

    /// Waits for the events right after a position: at least one, in order, without a gap.
    pub(super) async fn next(&mut self, after: Position) -> Result<Vec<Recorded>, SourceError> {
        // What was written while this process was away is read at once, whatever the bus has.
        if self.looked_at.is_none() {
            let events = self.look(after).await?;
            if !events.is_empty() {
                return Ok(events);
            }
        }
        loop {
            self.subscribe(after).await;
            let look_at = self.looked_at.map_or_else(Instant::now, |looked| looked + LOOK_EVERY);
            let heard = match &mut self.messages {
                Some(messages) => tokio::time::timeout_at(look_at, messages.next()).await.ok(),
                None => {
                    tokio::time::sleep_until(look_at).await;
                    None
                }
            };
            let events = match heard {
                Some(Some(Ok(first))) => self.delivered(after, first),
                // The consumer comes back by itself after most errors; looking at the log covers the time between.
                Some(Some(Err(error))) => {
                    tracing::debug!(%error, "the bus stumbled");
                    self.leave_bus();
                    self.look(after).await?
                }
                Some(None) => {
                    self.leave_bus();
                    self.look(after).await?
                }
                None => self.look(after).await?,
            };
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    /// Reads the log itself, as after a batch that did not fit.
    pub(super) async fn look(&mut self, after: Position) -> Result<Vec<Recorded>, SourceError> {
        let limit = u32::try_from(EVENTS_AT_ONCE_MAX).unwrap_or(u32::MAX);
        let stored = self.log.read(after, limit).await?;
        self.looked_at = Some(Instant::now());
        // A full page means that there is more: the next call reads on without waiting for the bus.
        if stored.len() == EVENTS_AT_ONCE_MAX {
            self.looked_at = None;
        }
        let mut events = Vec::with_capacity(stored.len());
        for stored in stored {
            match stored.decode() {
                Ok(recorded) => events.push(recorded),
                // What comes before the unreadable one is folded first.
                Err(_) if !events.is_empty() => return Ok(events),
                Err(error) => {
                    return Err(SourceError::Unreadable {
                        position: stored.position,
                        error,
                    });
                }
            }
        }
        Ok(events)
    }

    /// Stops listening for a while: what the bus brought was of no use.
    pub(super) fn leave_bus(&mut self) {
        self.messages = None;
        self.try_bus_at = Instant::now() + TRY_BUS_EVERY;
    }

    /// The first message and all that are here already, as far as they follow each other. Anything else is not believed:
    /// the log is read instead.
    fn delivered(&mut self, after: Position, first: jetstream::Message) -> Vec<Recorded> {
        let mut events: Vec<Recorded> = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            let expected = events.last().map_or(after, |last| last.position).next();
            match place(&message) {
                Some(place) if place < expected => {}
                Some(place) if place == expected => match Recorded::decode_loosely(&message.payload) {
                    Ok(recorded) if recorded.position == expected => events.push(recorded),
                    Ok(_) | Err(_) => return self.gap(events),
                },
                Some(_) | None => return self.gap(events),
            }
            if events.len() >= EVENTS_AT_ONCE_MAX {
                return events;
            }
            next = self
                .messages
                .as_mut()
                .and_then(|messages| messages.next().now_or_never())
                .flatten()
                .and_then(Result::ok);
        }
        events
    }

    fn gap(&mut self, so_far: Vec<Recorded>) -> Vec<Recorded> {
        self.messages = None;
        self.looked_at = None;
        so_far
    }

    async fn subscribe(&mut self, after: Position) {
        let Some(bus) = &self.bus else { return };
        if self.messages.is_some() || Instant::now() < self.try_bus_at || !bus.connected() {
            return;
        }
        let shard = self.log.shard();
        let config = OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: after.next().0,
            },
            ..OrderedConfig::default()
        };
        let subscribing = async {
            let stream = bus.jetstream().get_stream(bus.stream_name(shard)).await.ok()?;
            stream.create_consumer(config).await.ok()?.messages().await.ok()
        };
        match tokio::time::timeout(SUBSCRIBE_WITHIN, subscribing).await {
            Ok(Some(messages)) => self.messages = Some(messages),
            Ok(None) | Err(_) => self.leave_bus(),
        }
    }
}

/// A message's sequence in the stream, which is its event's position.
fn place(message: &jetstream::Message) -> Option<Position> {
    message.info().ok().map(|info| Position(info.stream_sequence))
}
