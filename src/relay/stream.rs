//! The stream: made when it is not there, and proved to be a copy of the log before anything is added to it.

use async_nats::jetstream::stream::{Config, LastRawMessageErrorKind, StorageType, Stream};
use futures_util::StreamExt as _;
use keyledger_events::Position;

use super::Ended;
use super::publish::UNDER_WAY_MAX;
use crate::bus::Bus;
use crate::log::Log;

const WINDOW: u64 = UNDER_WAY_MAX as u64;
const QUESTIONS_UNDER_WAY_MAX: usize = 32;

/// Where the stream stands, after its last messages were compared with the log.
///
/// `proved` is how far this relay knows the stream to be ours from before, so that only what came since is compared.
pub(super) async fn last_position(log: &Log, bus: &Bus, proved: Position) -> Result<Position, Ended> {
    let stream = open(log, bus).await?;
    let state = stream.cached_info().state.clone();
    let last = Position(state.last_sequence);
    if last == Position::START {
        return Ok(last);
    }
    let name = bus.stream_name(log.shard());
    let head = log.head().await?.position;
    if last > head {
        return Err(Ended::Fault(format!(
            "stream {name} ends at {last}, after the log's end at {head}"
        )));
    }
    match foreign(log, &stream, proved, last).await? {
        None => Ok(last),
        Some(place) => Err(Ended::Fault(format!(
            "message {place} of stream {name} is foreign: it is not the log's event {place}"
        ))),
    }
}

/// The first of the stream's last messages that is not the log's event of that place.
///
/// As many as a window holds: a message of somebody else's takes one sequence of a window under way, the next ones of
/// the window fit behind it, and so the last message alone proves nothing.
async fn foreign(log: &Log, stream: &Stream, proved: Position, last: Position) -> Result<Option<Position>, Ended> {
    // The last one is compared in any case: the stream may be another one than before.
    let before = Position(last.0.saturating_sub(WINDOW).max(proved.0.min(last.0 - 1)));
    let events = log.read(before, u32::try_from(WINDOW).unwrap_or(u32::MAX)).await?;
    let mut proofs = futures_util::stream::iter(events.into_iter().filter(|stored| stored.position <= last))
        .map(async |stored| match stream.get_raw_message(stored.position.0).await {
            Ok(message) => Ok((stored.position, message.payload == stored.body)),
            // Somebody removed it. Readers see a gap and read the log.
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok((stored.position, true)),
            Err(error) => Err(Ended::AskAgain(error.to_string())),
        })
        .buffered(QUESTIONS_UNDER_WAY_MAX);
    while let Some(proof) = proofs.next().await {
        let (place, ours) = proof?;
        if !ours {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

async fn open(log: &Log, bus: &Bus) -> Result<Stream, Ended> {
    let config = Config {
        name: bus.stream_name(log.shard()),
        subjects: vec![bus.subjects(log.shard())],
        storage: StorageType::File,
        // Each message states what it follows, so the server need not remember ids. This is how short it can be told to.
        duplicate_window: std::time::Duration::from_secs(1),
        ..Config::default()
    };
    let asked = bus.jetstream().get_or_create_stream(config).await;
    asked.map_err(|error| Ended::AskAgain(error.to_string()))
}

/// Whether the stream still stands where we left it: a wiped store or a second relay shows itself here, also when there
/// is nothing to publish.
pub(super) async fn still_at(log: &Log, bus: &Bus, last: Position) -> Result<(), Ended> {
    let stream = bus.jetstream().get_stream(bus.stream_name(log.shard())).await;
    let found = stream
        .map_err(|error| Ended::AskAgain(error.to_string()))?
        .cached_info()
        .state
        .last_sequence;
    if found == last.0 {
        Ok(())
    } else {
        Err(Ended::AskAgain(format!("the stream stands at {found}, not at {last}")))
    }
}
