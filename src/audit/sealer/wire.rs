//! Checkpoints on the bus: a stream of their own, which remembers the newest thousand of each shard.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream;

use crate::bus::Bus;
use keyledger_events::Shard;

const REMEMBERED: i64 = 1_000;
const ANSWER_MAX: Duration = Duration::from_secs(2);

fn stream_config(bus: &Bus) -> stream::Config {
    stream::Config {
        name: bus.checkpoint_stream(),
        subjects: vec![bus.checkpoint_subjects()],
        max_messages_per_subject: REMEMBERED,
        storage: stream::StorageType::File,
        ..stream::Config::default()
    }
}

/// Publishes a signed note. `false` where the bus is away: the next one says more anyway.
pub(super) async fn publish(bus: &Bus, shard: Shard, size: u64, note: &str) -> bool {
    if !bus.connected() {
        return false;
    }
    let subject = bus.checkpoint_subject(shard);
    let sent = async {
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", "text/plain; charset=utf-8");
        headers.insert("Nats-Msg-Id", format!("{shard}:{size}").as_str());
        let bytes = bytes::Bytes::from(note.to_owned());
        let ack = bus
            .jetstream()
            .publish_with_headers(subject, headers, bytes)
            .await
            .ok()?;
        ack.await.ok()
    };
    matches!(tokio::time::timeout(ANSWER_MAX, sent).await, Ok(Some(_)))
}

/// Makes the stream where it is not there.
pub(super) async fn prepare(bus: &Bus) -> bool {
    if !bus.connected() {
        return false;
    }
    let made = bus.jetstream().get_or_create_stream(stream_config(bus));
    matches!(tokio::time::timeout(ANSWER_MAX, made).await, Ok(Ok(_)))
}

/// The newest note of a shard that the bus remembers; `None` where it has none, or cannot be asked.
pub async fn last_published(bus: &Bus, shard: Shard) -> Option<String> {
    let subject = bus.checkpoint_subject(shard);
    let asked = async {
        let stream = bus.jetstream().get_stream(bus.checkpoint_stream()).await.ok()?;
        stream.get_last_raw_message_by_subject(&subject).await.ok()
    };
    let message = tokio::time::timeout(ANSWER_MAX, asked).await.ok()??;
    String::from_utf8(message.payload.to_vec()).ok()
}
