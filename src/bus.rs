//! The connection to NATS, and how streams and subjects are named on it.
//!
//! Not here: who publishes, who reads. The bus is only a wire: nothing may depend on it remembering.

use std::time::Duration;

use async_nats::jetstream::{self, context::ContextBuilder};
use async_nats::{Client, ConnectOptions, ServerAddr, connection::State};
use keyledger_events::{Position, Shard};
use uuid::Uuid;

/// A connection that comes back by itself, and the prefix of this installation's streams. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {
    client: Client,
    jetstream: jetstream::Context,
    prefix: String,
    /// The same in lower case.
    subject_prefix: String,
}

/// The bus cannot be used as it was described.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    #[error("the NATS URL cannot be read")]
    Url,
    #[error("a stream prefix is 1 to 32 of A-Z, a-z, 0-9, '_'")]
    Prefix,
    #[error("NATS refuses the connection: {0}")]
    Refused(#[from] async_nats::ConnectError),
}

/// For whoever only wants to see how it stands.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

/// Longer than a healthy server ever takes; after it the question is asked again.
const ANSWER_SECONDS_MAX: u64 = 5;

impl Bus {
    /// Connects in the background: a server that is away is waited for, also at the start.
    pub async fn connect(url: &str, prefix: &str) -> Result<Bus, BusError> {
        let fits = (1..=32).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !fits {
            return Err(BusError::Prefix);
        }
        let address: ServerAddr = url.parse().map_err(|_| BusError::Url)?;
        let options = match (address.username(), address.password()) {
            (Some(user), Some(password)) => {
                ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
            }
            (Some(token), None) => ConnectOptions::with_token(token.to_owned()),
            (None, _) => ConnectOptions::new(),
        };
        let client = options
            .name("keyledger")
            .retry_on_initial_connect()
            .event_callback(async |event| tracing::debug!(%event, "the bus"))
            .connect(address)
            .await?;
        let limit = Duration::from_secs(ANSWER_SECONDS_MAX);
        let jetstream = ContextBuilder::new()
            .timeout(limit)
            .ack_timeout(limit)
            .build(client.clone());
        Ok(Bus {
            client,
            jetstream,
            prefix: prefix.to_owned(),
            subject_prefix: prefix.to_lowercase(),
        })
    }

    /// The same connection under another prefix.
    pub fn with_prefix(&self, prefix: &str) -> Bus {
        Bus {
            prefix: prefix.to_owned(),
            subject_prefix: prefix.to_lowercase(),
            ..self.clone()
        }
    }

    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// `KEYLEDGER_0`.
    pub fn stream_name(&self, shard: Shard) -> String {
        format!("{}_{shard}", self.prefix)
    }

    /// The last position that a shard's stream holds. `None` when the server does not say so within a second.
    pub async fn last_position(&self, shard: Shard) -> Option<Position> {
        if !self.connected() {
            return None;
        }
        let asked = self.jetstream.get_stream(self.stream_name(shard));
        let stream = tokio::time::timeout(LOOK_WITHIN, asked).await.ok()?.ok()?;
        Some(Position(stream.cached_info().state.last_sequence))
    }

    /// `KEYLEDGER_CHECKPOINTS`: signed checkpoints, of all shards.
    pub fn checkpoint_stream(&self) -> String {
        format!("{}_CHECKPOINTS", self.prefix)
    }

    pub fn checkpoint_subjects(&self) -> String {
        format!("{}_checkpoints.*", self.subject_prefix)
    }

    /// `keyledger_checkpoints.0`.
    pub fn checkpoint_subject(&self, shard: Shard) -> String {
        format!("{}_checkpoints.{shard}", self.subject_prefix)
    }

    /// Where commands for a process that leads a shard go: `keyledger_lead.0.v3.3f…`. No subject of a stream. The version is
    /// that of the messages: who writes others finds nobody there, and decides by itself.
    pub fn lead_subject(&self, shard: Shard, process: Uuid) -> String {
        format!("{}_lead.{shard}.v3.{}", self.subject_prefix, process.simple())
    }

    /// Every subject of a shard: `keyledger.0.>`.
    pub fn subjects(&self, shard: Shard) -> String {
        format!("{}.{shard}.>", self.subject_prefix)
    }

    /// `keyledger.0.acct_01J….CreditsReserved`, of an event's subject and type; `None` when they would make another shape.
    pub fn subject(&self, shard: Shard, account: &str, type_name: &str) -> Option<String> {
        let (name, _version) = type_name.strip_prefix("keyledger.")?.rsplit_once(".v")?;
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        (is_word(account) && is_word(name)).then(|| format!("{}.{shard}.{account}.{name}", self.subject_prefix))
    }
}
