//! The line to a leader: a question and an answer, sealed both ways; what takes long is asked for once more.

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

/// Answers to commands.
pub(super) struct Part {
    /// Of the message that they answer.
    pub number: u64,
    /// A line each; an empty one is still to come.
    pub answers: String,
    /// None is still to come.
    pub whole: bool,
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
    /// Sends commands and waits for answers, as long as the leader shows signs of life. `None`: it did nothing.
    pub(super) async fn ask(&self, commands: &[u8]) -> Result<Option<Part>, Silence> {
        self.ask_for(None, commands).await
    }

    /// Asks for answers that were still to come to the commands of the message with this number. `None`: it knows of none.
    pub(super) async fn ask_rest(&self, of: u64) -> Result<Option<Part>, Silence> {
        self.ask_for(Some(of), b"[]").await
    }

    async fn ask_for(&self, rest_of: Option<u64>, commands: &[u8]) -> Result<Option<Part>, Silence> {
        tokio::select! {
            answer = self.exchange(rest_of, commands, ANSWER_WITHIN) => answer,
            () = self.dead() => Err(Silence::Lost),
        }
    }

    /// Completes when the leader is not there any more, or stands still.
    async fn dead(&self) {
        loop {
            tokio::time::sleep(PATIENCE).await;
            if self.exchange(None, b"[]", SIGN_OF_LIFE_WITHIN).await.is_err() {
                return;
            }
        }
    }

    async fn exchange(&self, rest_of: Option<u64>, commands: &[u8], within: Duration) -> Result<Option<Part>, Silence> {
        // Numbers leave in their order: nothing is waited for between here and the sending.
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let line = Commands {
            from: self.from,
            number,
            sent_at_ms: clock::now().ms(),
            rest_of,
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
        Ok(line.taken.then(|| Part {
            number,
            answers: answers.to_owned(),
            whole: line.whole,
        }))
    }
}
