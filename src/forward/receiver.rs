//! Decides what other processes send, as long as they hold this one for the leader.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::message::{Answers, Commands, read, write};
use super::seal::{Way, open, seal};
use crate::clock;
use crate::ledger::{Deciding, Ledger, Patience};
use crate::log::Candidate;

/// Processes that may send in one run of this one. Each start of a process is a new one.
const SENDERS_MAX: usize = 10_000;
/// What is older was kept somewhere, and its callers have long been told that its outcome is unknown. As far may clocks differ.
const AGE_MS_MAX: u64 = 10_000;
const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(1);
/// A round takes some milliseconds. Whoever is answered by then does not wait for those whose accounts have to be read, and neither
/// does the next message of the sender.
const AT_FIRST: Patience = Patience {
    all: Duration::from_millis(100),
    any: Duration::from_millis(100),
};
/// For those. The sender hears something before it takes this process for gone.
const FOR_THE_REST: Patience = Patience {
    all: Duration::from_millis(50),
    any: Duration::from_secs(5),
};
/// At the end, nobody is told to ask again.
const UNTIL_WHOLE: Patience = Patience {
    all: Duration::from_secs(9),
    any: Duration::from_secs(9),
};
/// So long answers are kept for a sender that does not ask for them.
const RESTS_FOR: Duration = Duration::from_secs(60);
const RESTS_AT_END: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) struct Receiver {
    ledger: Ledger,
    own: Arc<Candidate>,
    last: HashMap<u128, Last>,
    resting: Arc<Resting>,
    /// Whether it was told that somebody sends what is not sealed: a flood of it must not flood the log.
    distrusted: bool,
}

impl Receiver {
    pub(super) fn new(ledger: Ledger, own: Candidate) -> Receiver {
        Receiver {
            ledger,
            own: Arc::new(own),
            last: HashMap::new(),
            resting: Arc::default(),
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
        let (mut stopping, mut drains_at) = (false, None);
        loop {
            let drains = async {
                match drains_at {
                    Some(at) => {
                        while !self.resting.is_empty() && Instant::now() < at {
                            tokio::time::sleep(LOOK_EVERY).await;
                        }
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.take(client, message, &mut deciding, stop),
                    None => break,
                },
                Some(_) = deciding.join_next() => {}
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    // Who was told that there is more asks for it at once.
                    drains_at = Some(Instant::now() + RESTS_AT_END);
                }
                () = drains => {
                    drains_at = None;
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
    fn take(&mut self, client: &Client, message: Message, deciding: &mut JoinSet<()>, stop: &CancellationToken) {
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
        let timely = match self.heed(&line) {
            // Its sender waits for the answer to the first one, and would take this for it.
            Heed::Repeated => return,
            Heed::Untimely => false,
            Heed::Timely => true,
        };
        let asked = timely.then(|| self.asked(&line, commands)).flatten();
        let (client, own, resting) = (client.clone(), Arc::clone(&self.own), Arc::clone(&self.resting));
        let patience = if line.rest_of.is_some() { FOR_THE_REST } else { AT_FIRST };
        let stop = stop.clone();
        deciding.spawn(async move {
            let (to, number) = (line.from, line.number);
            let mut answer = Answers {
                to,
                number,
                taken: asked.is_some(),
                whole: true,
            };
            let mut answers = Vec::new();
            if let Some(mut asked) = asked {
                let part = stop.run_until_cancelled(asked.part(patience)).await;
                (answers, answer.whole) = match part {
                    Some(part) => part,
                    None => asked.part(UNTIL_WHOLE).await,
                };
                if !answer.whole {
                    // There before the sender hears that there is more.
                    resting.keep((to, line.rest_of.unwrap_or(number)), asked);
                }
            }
            let Ok(answer) = write(&answer, &answers) else {
                return;
            };
            let sealed = seal(&own.secret, Way::FromLeader, &answer);
            if let Err(error) = client.publish(reply_to, sealed.into()).await {
                tracing::warn!(%error, "another process does not hear how its commands ended");
            }
        });
    }

    /// What a message asks about: its own commands, or what is still to come of an earlier one's.
    fn asked(&self, line: &Commands, commands: &str) -> Option<Deciding> {
        match line.rest_of {
            Some(number) => self.resting.take((line.from, number)),
            // Another version may know commands that this one does not: it decides them itself.
            None => self
                .ledger
                .decide_for_another(commands)
                .inspect_err(|error| tracing::warn!(%error, "another process's commands are not understood"))
                .ok(),
        }
    }

    /// Whether the message is neither a repetition nor an old one.
    fn heed(&mut self, commands: &Commands) -> Heed {
        let now = clock::now().ms();
        if self.last.len() >= SENDERS_MAX {
            // What those sent is old by now, whoever sends it again.
            self.last
                .retain(|_, last| last.sent_at_ms.saturating_add(AGE_MS_MAX) >= now);
        }
        if self.last.len() >= SENDERS_MAX && !self.last.contains_key(&commands.from) {
            return Heed::Untimely;
        }
        let last = self.last.entry(commands.from).or_default();
        if !last.is_new(commands.number) {
            return Heed::Repeated;
        }
        last.sent_at_ms = last.sent_at_ms.max(commands.sent_at_ms);
        match now.abs_diff(commands.sent_at_ms) > AGE_MS_MAX {
            true => Heed::Untimely,
            false => Heed::Timely,
        }
    }
}

/// The last messages of a sender.
#[derive(Default)]
struct Last {
    /// The highest.
    number: u64,
    /// Which of it and the 63 before it were heard, from the lowest bit on: one may overtake another.
    heard: u64,
    /// By the sender's clock, the latest of all.
    sent_at_ms: u64,
}

impl Last {
    /// Notes a number, and tells whether it was not heard before. One that is long past counts as heard.
    fn is_new(&mut self, number: u64) -> bool {
        let shifted = |bits: u64, by: u64| u32::try_from(by).ok().and_then(|by| bits.checked_shl(by)).unwrap_or(0);
        if number > self.number {
            self.heard = shifted(self.heard, number - self.number) | 1;
            self.number = number;
            return true;
        }
        let bit = shifted(1, self.number - number);
        let new = bit != 0 && self.heard & bit == 0;
        self.heard |= bit;
        new
    }
}

/// What is to become of a message.
enum Heed {
    Timely,
    /// It was kept somewhere for long, or clocks differ.
    Untimely,
    Repeated,
}

/// Commands of which some answers are still to come, by sender and number of the message.
#[derive(Default)]
struct Resting(Mutex<HashMap<(u128, u64), (Deciding, Instant)>>);

impl Resting {
    fn there(&self) -> MutexGuard<'_, HashMap<(u128, u64), (Deciding, Instant)>> {
        // Each change under the lock is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, message: (u128, u64), deciding: Deciding) {
        let mut there = self.there();
        // Of senders that are gone.
        there.retain(|_, (_, since)| since.elapsed() < RESTS_FOR);
        there.insert(message, (deciding, Instant::now()));
    }

    fn take(&self, message: (u128, u64)) -> Option<Deciding> {
        self.there().remove(&message).map(|(deciding, _)| deciding)
    }

    fn is_empty(&self) -> bool {
        self.there().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_new_once_and_may_be_overtaken() {
        let mut last = Last::default();
        for (number, new) in [
            (1, true),
            (1, false),
            (3, true),
            (2, true),
            (2, false),
            (3, false),
            (70, true),
            (7, true),
            // Long past.
            (6, false),
            (7, false),
            (1_000, true),
            (70, false),
            (937, true),
            (936, false),
            (937, false),
            (u64::MAX, true),
            (1_000, false),
        ] {
            assert_eq!(last.is_new(number), new, "{number}");
        }
    }
}
