//! The line to a leader: one question, one answer, sealed both ways.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::Client;
use async_nats::client::{Request, RequestErrorKind};

use super::message::{Answers, Commands, read, write};
use super::seal::{Way, open, seal};
use crate::clock;
use crate::log::Lead;

/// A process that leads, as this one reaches it.
pub(super) struct Line {
    pub client: Client,
    pub subject: String,
    pub lead: Lead,
    /// This run, for whoever receives.
    pub from: u128,
    /// The number of the last message.
    pub numbers: Arc<AtomicU64>,
}

/// Why there is no answer.
pub(super) enum Silence {
    /// The question reached nobody.
    Absent,
    /// It may have reached the leader.
    Lost,
}

/// A leader that is there answers within some milliseconds, and says so when it waits for Postgres.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// So long an answer may take before the leader is asked whether it is there at all.
const PATIENCE: Duration = Duration::from_millis(500);
/// And so long this answer.
const SIGN_OF_LIFE_WITHIN: Duration = Duration::from_secs(1);

impl Line {
    /// Sends commands and waits for their answers, as long as the leader shows signs of life. `None`: it did nothing.
    pub(super) async fn ask(&self, commands: &[u8]) -> Result<Option<String>, Silence> {
        tokio::select! {
            answer = self.exchange(commands, ANSWER_WITHIN) => answer,
            () = self.dead() => Err(Silence::Lost),
        }
    }

    /// Completes when the leader is not there any more, or stands still.
    async fn dead(&self) {
        loop {
            tokio::time::sleep(PATIENCE).await;
            if self.exchange(b"[]", SIGN_OF_LIFE_WITHIN).await.is_err() {
                return;
            }
        }
    }

    async fn exchange(&self, commands: &[u8], within: Duration) -> Result<Option<String>, Silence> {
        // Numbers leave in their order: nothing is waited for between here and the sending.
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let line = Commands {
            from: self.from,
            number,
            sent_at_ms: clock::now().ms(),
        };
        let message = write(&line, commands).map_err(|_| Silence::Absent)?;
        let secret = &self.lead.leader.secret;
        let request = Request::new()
            .payload(seal(secret, Way::ToLeader, &message).into())
            .timeout(Some(within));
        let answer = self.client.send_request(self.subject.clone(), request).await;
        let answer = answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders
            | RequestErrorKind::InvalidSubject
            | RequestErrorKind::MaxPayloadExceeded => Silence::Absent,
            RequestErrorKind::TimedOut | RequestErrorKind::Other => Silence::Lost,
        })?;
        let (line, answers) = open(secret, Way::FromLeader, &answer.payload)
            .and_then(read::<Answers>)
            .filter(|(line, _)| (line.to, line.number) == (self.from, number))
            .ok_or(Silence::Lost)?;
        Ok(line.taken.then(|| answers.to_owned()))
    }
}
