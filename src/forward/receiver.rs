//! Decides what other processes send, as long as they hold this one for the leader.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::message::{Answers, Commands, read, write};
use super::seal::{Way, open, seal};
use crate::clock;
use crate::ledger::Ledger;
use crate::log::Candidate;

/// Processes that may send in one run of this one. Each start of a process is a new one.
const SENDERS_MAX: usize = 10_000;
/// What is older was kept somewhere, and its callers have long been told that its outcome is unknown. As far may clocks differ.
const AGE_MS_MAX: u64 = 10_000;
const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Receiver {
    ledger: Ledger,
    own: Candidate,
    /// The number of the last message of each sender.
    last: HashMap<u128, u64>,
    /// Whether it was told that somebody sends what is not sealed: a flood of it must not flood the log.
    distrusted: bool,
}

impl Receiver {
    pub(super) fn new(ledger: Ledger, own: Candidate) -> Receiver {
        Receiver {
            ledger,
            own,
            last: HashMap::new(),
            distrusted: false,
        }
    }

    /// Works until told to stop; then answers what came, and ends. Who sends something later learns that nobody is there.
    pub(super) async fn run(mut self, client: Client, subject: String, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match client.subscribe(subject.clone()).await {
                Ok(messages) => self.hear(&client, messages, &stop).await,
                Err(error) => tracing::warn!(%error, "other processes' commands cannot be heard"),
            }
            stop.run_until_cancelled(tokio::time::sleep(SUBSCRIBE_AGAIN)).await;
        }
    }

    async fn hear(&mut self, client: &Client, mut messages: Subscriber, stop: &CancellationToken) {
        let mut deciding = JoinSet::new();
        let mut stopping = false;
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.take(client, message, &mut deciding),
                    None => break,
                },
                Some(_) = deciding.join_next() => {}
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    if messages.drain().await.is_err() {
                        break;
                    }
                }
            }
        }
        while deciding.join_next().await.is_some() {}
        if let Err(error) = client.flush().await {
            tracing::debug!(%error, "the last answers may not have left");
        }
    }

    /// Checks a message in its turn, and decides what is in it beside those that come after.
    fn take(&mut self, client: &Client, message: Message, deciding: &mut JoinSet<()>) {
        let Some(text) = open(&self.own.secret, Way::ToLeader, &message.payload) else {
            // Whoever sent it does not know the secret of this run, and gets no answer.
            metrics::counter!("keyledger_forwarded_messages_distrusted_total").increment(1);
            if !std::mem::replace(&mut self.distrusted, true) {
                tracing::warn!("messages without our seal come where commands come; told once");
            }
            return;
        };
        let (Some(reply_to), Some((line, commands))) = (message.reply.clone(), read::<Commands>(text)) else {
            return;
        };
        let (to, number) = (line.from, line.number);
        let timely = self.is_timely(&line);
        let commands = commands.to_owned();
        let (ledger, client, own) = (self.ledger.clone(), client.clone(), Arc::new(self.own.clone()));
        deciding.spawn(async move {
            let answers = if timely {
                decided(&ledger, &commands).await
            } else {
                None
            };
            let line = Answers {
                to,
                number,
                taken: answers.is_some(),
            };
            let Ok(answer) = write(&line, &answers.unwrap_or_default()) else {
                return;
            };
            let sealed = seal(&own.secret, Way::FromLeader, &answer);
            if let Err(error) = client.publish(reply_to, sealed.into()).await {
                tracing::warn!(%error, "another process does not hear how its commands ended");
            }
        });
    }

    /// Whether the message is neither a repetition nor an old one.
    fn is_timely(&mut self, commands: &Commands) -> bool {
        if clock::now().ms().abs_diff(commands.sent_at_ms) > AGE_MS_MAX {
            return false;
        }
        if self.last.len() >= SENDERS_MAX && !self.last.contains_key(&commands.from) {
            return false;
        }
        let last = self.last.entry(commands.from).or_default();
        let new = commands.number > *last;
        *last = commands.number.max(*last);
        new
    }
}

async fn decided(ledger: &Ledger, commands: &str) -> Option<Vec<u8>> {
    let answers = ledger.decide_for_another(commands).await;
    // Another version may know commands that this one does not: it decides them itself.
    answers
        .inspect_err(|error| tracing::warn!(%error, "another process's commands are not understood"))
        .ok()
}
