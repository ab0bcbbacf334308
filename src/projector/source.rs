//! Where new events come from: this process's own memory when it has just appended the very next one, the bus when it
//! delivers that, the log otherwise.
//!
//! The bus is only a wire, and may be the wire of another database: a stream can outlive the log that it was copied
//! from. So the log is asked whether it holds the last message of what the bus brought; one look-up a batch.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig, OrderedError};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use keyledger_events::{Position, Recorded};
use tokio::sync::watch;
use tokio::time::Instant;

use super::feed::{Shared, shared};
use crate::bus::Bus;
use crate::log::{AtHand, Log, ReadError, Stored};

/// The next events, from wherever they are to be had.
pub(super) struct Source {
    log: Log,
    /// Tells of what this process appends.
    appended: watch::Receiver<Position>,
    /// When it was the last time that it had appended the next ones.
    own_at: Option<Instant>,
    bus: Option<Bus>,
    subscribing: Option<BoxFuture<'static, Option<Ordered>>>,
    messages: Option<Ordered>,
    /// Messages that wait there, and whose events came from elsewhere.
    passed_by: usize,
    /// The bus is tried again from here on; until then only the log is read.
    try_bus_at: Instant,
    looked_at: Option<Instant>,
    /// The bus brought what the log does not hold, and has brought nothing better since.
    distrusted: bool,
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

/// What is read, folded and written together at most.
const EVENTS_AT_ONCE_MAX: u32 = 5_000;
/// How late a projection hears when the bus says nothing.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So many messages are skipped rather than that the bus is subscribed to anew.
const PASSED_BY_MAX: usize = 2_000;
const TRY_BUS_EVERY: Duration = Duration::from_secs(2);
const SUBSCRIBE_WITHIN: Duration = Duration::from_secs(2);

/// Why the wait is over.
enum News {
    /// This process has appended something.
    Appended,
    /// The bus is listened to from now on, or not.
    Subscribed(Option<Box<Ordered>>),
    Message(Box<jetstream::Message>),
    /// The bus stumbled.
    Stumbled(OrderedError),
    BusEnded,
    None,
}

/// What the bus brought, and the bytes of its last message.
#[derive(Default)]
struct Heard {
    events: Vec<Recorded>,
    last: bytes::Bytes,
}

impl Source {
    pub(super) fn new(log: Log, bus: Option<Bus>) -> Source {
        Source {
            appended: log.appended(),
            log,
            own_at: None,
            bus,
            subscribing: None,
            messages: None,
            passed_by: 0,
            try_bus_at: Instant::now(),
            looked_at: None,
            distrusted: false,
        }
    }

    /// Waits for the events right after a position: at least one, in order, without a gap.
    pub(super) async fn next(&mut self, after: Position) -> Result<Vec<Shared>, SourceError> {
        // What was written while this process was away is read at once, whatever the bus has.
        if self.looked_at.is_none() {
            let events = self.look(after).await?;
            if !events.is_empty() {
                return Ok(shared(events));
            }
        }
        loop {
            let events = self.own(after).await?;
            if !events.is_empty() {
                return Ok(events);
            }
            self.begin_to_subscribe(after);
            let events = match self.news().await {
                News::Appended => continue,
                News::Subscribed(messages) => {
                    self.leave_bus();
                    self.messages = messages.map(|messages| *messages);
                    continue;
                }
                News::Message(first) => {
                    let heard = self.delivered(after, *first);
                    self.confirmed(after, heard).await?
                }
                // The consumer comes back by itself after most errors; looking at the log covers the time between.
                News::Stumbled(error) => {
                    tracing::debug!(%error, "the bus stumbled");
                    self.leave_bus();
                    self.look(after).await?
                }
                News::BusEnded => {
                    self.leave_bus();
                    self.look(after).await?
                }
                News::None => self.look(after).await?,
            };
            if !events.is_empty() {
                return Ok(shared(events));
            }
        }
    }

    /// What this process has appended after a position: Postgres need not be asked for what it was sent a moment ago.
    async fn own(&mut self, after: Position) -> Result<Vec<Shared>, SourceError> {
        let end = *self.appended.borrow_and_update();
        let Some(at_hand) = self.log.at_hand_decoded(after, EVENTS_AT_ONCE_MAX) else {
            // There is something, and others have appended before it.
            return if end > after {
                self.look(after).await.map(shared)
            } else {
                Ok(Vec::new())
            };
        };
        self.own_at = Some(Instant::now());
        self.pass_by(at_hand.len());
        opened(&self.log, at_hand).await
    }

    /// Events came from elsewhere than from the bus, which has them too.
    fn pass_by(&mut self, events: usize) {
        if self.messages.is_some() {
            self.passed_by += events;
            if self.passed_by > PASSED_BY_MAX {
                // The consumer would first bring all that is known here already.
                self.leave_bus();
            }
        }
    }

    /// Waits for a sign of something new, or until the log is to be looked at.
    async fn news(&mut self) -> News {
        let look_at = self.looked_at.map_or_else(Instant::now, |looked| looked + LOOK_EVERY);
        let message = async {
            match &mut self.messages {
                Some(messages) => messages.next().await,
                None => std::future::pending().await,
            }
        };
        let subscribed = async {
            match &mut self.subscribing {
                Some(subscribing) => subscribing.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Ok(()) = self.appended.changed() => News::Appended,
            () = tokio::time::sleep_until(look_at) => News::None,
            messages = subscribed => {
                self.subscribing = None;
                News::Subscribed(messages.map(Box::new))
            }
            message = message => match message {
                Some(Ok(message)) => News::Message(Box::new(message)),
                Some(Err(error)) => News::Stumbled(error),
                None => News::BusEnded,
            },
        }
    }

    async fn look(&mut self, after: Position) -> Result<Vec<Recorded>, SourceError> {
        let events = read_page(&self.log, after).await?;
        self.pass_by(events.len());
        // A full page means that there is more: the next call reads on without waiting for the bus.
        self.looked_at = if is_full(events.len()) {
            None
        } else {
            Some(Instant::now())
        };
        Ok(events)
    }

    /// Something that came did not fit: only the log is believed for a while.
    pub(super) fn doubt(&mut self) {
        self.leave_bus();
        self.log.forget_appended();
    }

    /// Stops listening for a while: what the bus brought was of no use.
    fn leave_bus(&mut self) {
        self.messages = None;
        self.passed_by = 0;
        self.try_bus_at = Instant::now() + TRY_BUS_EVERY;
    }

    /// The first message and all that are here already, as far as they follow each other. At anything else it stops,
    /// and the log is read next.
    fn delivered(&mut self, after: Position, first: jetstream::Message) -> Heard {
        let mut heard = Heard::default();
        let mut next = Some(first);
        while let Some(message) = next {
            let expected = heard.events.last().map_or(after, |last| last.position).next();
            match place(&message) {
                Some(place) if place < expected => self.passed_by = self.passed_by.saturating_sub(1),
                Some(place) if place == expected => match Recorded::decode_loosely(&message.payload) {
                    Ok(recorded) if recorded.position == expected && recorded.shard == self.log.shard() => {
                        heard.events.push(recorded);
                        heard.last = message.payload.clone();
                    }
                    Ok(_) | Err(_) => return self.gap(heard),
                },
                Some(_) | None => return self.gap(heard),
            }
            if is_full(heard.events.len()) {
                return heard;
            }
            next = self
                .messages
                .as_mut()
                .and_then(|messages| messages.next().now_or_never())
                .flatten()
                .and_then(Result::ok);
        }
        heard
    }

    /// A message that does not fit stays where it is: listening again at once would only bring it again, and again.
    fn gap(&mut self, so_far: Heard) -> Heard {
        self.leave_bus();
        self.looked_at = None;
        so_far
    }

    /// What the bus brought, if the log holds its last message too; what the log holds instead, if not.
    async fn confirmed(&mut self, after: Position, heard: Heard) -> Result<Vec<Recorded>, SourceError> {
        let Some(last) = heard.events.last() else {
            return Ok(heard.events);
        };
        let stored = self.log.read(Position(last.position.0 - 1), 1).await?;
        if stored
            .first()
            .is_some_and(|stored| stored.position == last.position && stored.body == heard.last)
        {
            self.distrusted = false;
            // Unless there was a gap behind it, which only the log can fill.
            self.looked_at = self.looked_at.map(|_| Instant::now());
            let mut events = heard.events;
            self.log.open(&mut events).await?;
            return Ok(events);
        }
        if !std::mem::replace(&mut self.distrusted, true) {
            tracing::warn!(position = %last.position, "the bus brings what the log does not hold; the log is read instead");
        }
        self.leave_bus();
        self.look(after).await
    }

    /// Subscribes beside everything else, unless this process itself is where the events come from.
    fn begin_to_subscribe(&mut self, after: Position) {
        let Some(bus) = &self.bus else { return };
        let own = self.own_at.is_some_and(|at| at.elapsed() < LOOK_EVERY);
        let listens = self.messages.is_some() || self.subscribing.is_some();
        if own || listens || Instant::now() < self.try_bus_at || !bus.connected() {
            return;
        }
        let (bus, shard) = (bus.clone(), self.log.shard());
        let config = OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: after.next().0,
            },
            ..OrderedConfig::default()
        };
        let subscribing = async move {
            let stream = bus.jetstream().get_stream(bus.stream_name(shard)).await.ok()?;
            stream.create_consumer(config).await.ok()?.messages().await.ok()
        };
        let in_time = async { tokio::time::timeout(SUBSCRIBE_WITHIN, subscribing).await.ok().flatten() };
        self.subscribing = Some(in_time.boxed());
    }
}

/// The next page of the log, as far as it can be read.
pub(super) async fn read_page(log: &Log, after: Position) -> Result<Vec<Recorded>, SourceError> {
    let stored = log.read(after, EVENTS_AT_ONCE_MAX).await?;
    decoded(log, stored).await
}

/// As many of these events, in their order, as can be read.
async fn opened(log: &Log, at_hand: Vec<AtHand>) -> Result<Vec<Shared>, SourceError> {
    let mut places = Vec::with_capacity(at_hand.len());
    let mut to_read = Vec::new();
    for event in at_hand {
        places.push(match event {
            AtHand::Decoded(event) => Some(event),
            AtHand::Stored(stored) => {
                to_read.push(stored);
                None
            }
        });
    }
    let mut read = if to_read.is_empty() {
        Vec::new().into_iter()
    } else {
        decoded(log, to_read).await?.into_iter()
    };
    let events = places
        .into_iter()
        .map_while(|event| event.or_else(|| read.next().map(Arc::new)));
    Ok(events.collect())
}

async fn decoded(log: &Log, stored: Vec<Stored>) -> Result<Vec<Recorded>, SourceError> {
    let mut events = Vec::with_capacity(stored.len());
    for stored in stored {
        match stored.decode() {
            Ok(recorded) => events.push(recorded),
            // What comes before the unreadable one is folded first.
            Err(_) if !events.is_empty() => break,
            Err(error) => {
                return Err(SourceError::Unreadable {
                    position: stored.position,
                    error,
                });
            }
        }
    }
    log.open(&mut events).await?;
    Ok(events)
}

/// Whether there may be more than these.
pub(super) fn is_full(events: usize) -> bool {
    u32::try_from(events).is_ok_and(|events| events >= EVENTS_AT_ONCE_MAX)
}

/// A message's sequence in the stream, which is its event's position.
fn place(message: &jetstream::Message) -> Option<Position> {
    message.info().ok().map(|info| Position(info.stream_sequence))
}
