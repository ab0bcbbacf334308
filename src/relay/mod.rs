//! The relay: copies the log into JetStream, in order, and does nothing else.
//!
//! In: events after the JetStream stream's last sequence. Out: one message per event.
//!
//! Promise: message sequence == log position. Each publish states the sequence it must follow, so a crash, a retry
//! or a second relay can lose a race but cannot reorder or repeat.
//!
//! Not here: rules, filtering, reading what an event says, a checkpoint of our own (JetStream's last sequence is it).

mod publish;
mod stream;

use std::time::Duration;

use keyledger_events::Position;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::log::{Log, ReadError};

/// What a relay needs.
#[derive(Debug)]
pub struct RelayOptions {
    pub log: Log,
    pub bus: Bus,
    /// Tells of commits of this process, so that they are relayed at once and not at the next look.
    pub committed: Option<watch::Receiver<Position>>,
}

/// How the relay stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelayStatus {
    /// The last position that the stream holds, as far as is known.
    pub last: Position,
    /// What in the stream is not ours or not in our log. Nothing is published until it is cured.
    pub fault: Option<String>,
    /// Why nothing gets into the stream, though it is tried again and again: the server is away, or its store is full.
    pub refused: Option<String>,
}

impl RelayStatus {
    /// Why events do not get into the stream, if they do not.
    pub fn wrong(self) -> Option<String> {
        self.fault.or(self.refused)
    }
}

/// A running relay. It ends with the token that it was started with.
#[derive(Debug, Clone)]
pub struct RelayHandle {
    bus: Bus,
    status: watch::Receiver<RelayStatus>,
}

impl RelayHandle {
    pub fn status(&self) -> RelayStatus {
        self.status.borrow().clone()
    }

    /// Whether the server is there at this moment.
    pub fn connected(&self) -> bool {
        self.bus.connected()
    }
}

/// The relay's own name for its parts.
#[derive(Debug)]
pub struct Relay;

/// Why a session with the stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// The stream and the log do not belong together. Only a person can say which is wrong.
    #[error("{0}")]
    Fault(String),
    /// Somebody else published, or the server was away: ask the stream again where it stands.
    #[error("{0}")]
    AskAgain(String),
    #[error(transparent)]
    Log(#[from] ReadError),
}

const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(5);
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Relay {
    /// Starts relaying, for ever: through restarts of NATS and Postgres, and through the loss of the stream.
    pub fn start(options: RelayOptions, stop: CancellationToken) -> RelayHandle {
        let (tell, status) = watch::channel(RelayStatus::default());
        let handle = RelayHandle {
            bus: options.bus.clone(),
            status,
        };
        tokio::spawn(async move {
            let RelayOptions {
                log,
                bus,
                mut committed,
            } = options;
            let mut pause = PAUSE_MIN;
            let mut proved = Position::START;
            loop {
                let session = session(&log, &bus, committed.as_mut(), &tell, &mut proved, &mut pause);
                let Some(ended) = stop.run_until_cancelled(session).await else {
                    return;
                };
                let wait = note(&ended, &tell, &mut pause);
                if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                    return;
                }
            }
        });
        handle
    }
}

/// One session: find out where the stream stands, then publish what follows until something goes wrong.
async fn session(
    log: &Log,
    bus: &Bus,
    committed: Option<&mut watch::Receiver<Position>>,
    tell: &watch::Sender<RelayStatus>,
    proved: &mut Position,
    pause: &mut Duration,
) -> Ended {
    let last = match stream::last_position(log, bus, *proved).await {
        Ok(last) => last,
        Err(ended) => {
            // After a fault the next stream is looked at afresh.
            *proved = Position::START;
            return ended;
        }
    };
    *proved = last;
    tell.send_if_modified(|status| {
        let changed = (status.last, &status.fault) != (last, &None);
        (status.last, status.fault) = (last, None);
        changed
    });
    match publish::publish_from(log, bus, last, committed, tell, pause).await {
        Ok(never) => match never {},
        Err(ended) => ended,
    }
}

/// Says once what went wrong, and how long to wait before the next session.
fn note(ended: &Ended, tell: &watch::Sender<RelayStatus>, pause: &mut Duration) -> Duration {
    match ended {
        Ended::Fault(fault) => {
            let new = tell.send_if_modified(|status| {
                let new = status.fault.as_ref() != Some(fault);
                status.fault = Some(fault.clone());
                new
            });
            if new {
                tracing::error!(%fault, "the stream is not a copy of the log; nothing is published until it is");
            }
            PAUSE_AFTER_FAULT
        }
        Ended::AskAgain(why) => {
            tracing::debug!(%why, "asking the stream again where it stands");
            if *pause >= PAUSE_MAX {
                tell_refused(why, tell);
            }
            double(pause)
        }
        Ended::Log(error) => {
            tracing::debug!(%error, "the relay waits for the log");
            double(pause)
        }
    }
}

/// Says once that nothing gets into the stream.
fn tell_refused(why: &str, tell: &watch::Sender<RelayStatus>) {
    let new = tell.send_if_modified(|status| {
        let new = status.refused.is_none();
        status.refused = Some(why.to_owned());
        new
    });
    if new {
        tracing::warn!(%why, "the bus takes nothing; views go on from the log");
    }
}

fn double(pause: &mut Duration) -> Duration {
    let now = *pause;
    *pause = (now * 2).min(PAUSE_MAX);
    now
}
