//! The stream: made when it is not there, and proved to be a copy of the log before anything is added to it.

use async_nats::jetstream::stream::{Config, StorageType, Stream};
use keyledger_events::Position;

use super::Ended;
use crate::bus::Bus;
use crate::log::Log;

/// Where the stream stands, after its last message was compared with the log.
pub(super) async fn last_position(log: &Log, bus: &Bus) -> Result<Position, Ended> {
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
    // Whoever emptied a stream left its sequence: there is nothing to compare, and the next message still fits.
    if state.messages == 0 {
        return Ok(last);
    }
    let message = stream
        .get_raw_message(last.0)
        .await
        .map_err(|error| Ended::AskAgain(error.to_string()))?;
    let stored = log.read(Position(last.0 - 1), 1).await?;
    if stored
        .first()
        .is_some_and(|stored| stored.position == last && stored.body == message.payload)
    {
        Ok(last)
    } else {
        Err(Ended::Fault(format!(
            "message {last} of stream {name} is foreign: it is not the log's event {last}"
        )))
    }
}

async fn open(log: &Log, bus: &Bus) -> Result<Stream, Ended> {
    let config = Config {
        name: bus.stream_name(log.shard()),
        subjects: vec![bus.subjects(log.shard())],
        storage: StorageType::File,
        duplicate_window: std::time::Duration::from_secs(120),
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
