//! Sends this process's commands to the leader while there is one elsewhere.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use keyledger_events::Shard;
use tokio::sync::watch;

use super::line::{Line, Silence};
use crate::bus::Bus;
use crate::clock;
use crate::ledger::{Forwarded, Outbox};
use crate::log::Lead;

/// Messages under way at once. The next ones gather commands meanwhile.
const MESSAGES_UNDER_WAY_MAX: usize = 8;
/// How often to look whether the bus is there.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) struct Sender {
    bus: Bus,
    shard: Shard,
    lead: watch::Receiver<Option<Lead>>,
    from: u128,
    numbers: Arc<AtomicU64>,
    /// A lead whose holder did not answer. It counts again when its holder renews it.
    silent: Option<Lead>,
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Answered,
    /// The leader took nothing on: it is another version, or its clock another one.
    NotTaken,
    /// Nobody is there under that name.
    Absent,
    /// Nobody answered.
    Lost,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::NotTaken => "not-taken",
            Outcome::Absent => "absent",
            Outcome::Lost => "lost",
        }
    }
}

impl Sender {
    pub(super) fn new(bus: Bus, shard: Shard, lead: watch::Receiver<Option<Lead>>) -> Sender {
        Sender {
            bus,
            shard,
            lead,
            from: clock::random_id_bits(),
            numbers: Arc::default(),
            silent: None,
        }
    }

    /// Sends until no more commands come.
    pub(super) async fn run(mut self, mut outbox: Outbox) {
        let mut under_way = FuturesUnordered::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            outbox.send_elsewhere(self.leader().is_some());
            tokio::select! {
                Some((lead, outcome)) = under_way.next() => self.note(lead, outcome),
                next = outbox.next(), if under_way.len() < MESSAGES_UNDER_WAY_MAX => match next {
                    None => break,
                    Some((forwarded, commands)) if forwarded.is_empty() || commands.is_empty() => forwarded.decide_here(),
                    Some((forwarded, commands)) => match self.leader() {
                        None => forwarded.decide_here(),
                        Some(lead) => under_way.push(send(self.line(lead), forwarded, commands)),
                    },
                },
                changed = self.lead.changed() => if changed.is_err() { break },
                _ = look.tick() => {}
            }
        }
        while under_way.next().await.is_some() {}
    }

    /// Whom to send commands to: who leads, is not known to be silent, and can be reached.
    fn leader(&self) -> Option<Lead> {
        let lead = self.lead.borrow().clone()?;
        (self.bus.connected() && self.silent.as_ref() != Some(&lead)).then_some(lead)
    }

    fn line(&self, lead: Lead) -> Line {
        Line {
            client: self.bus.client().clone(),
            subject: self.bus.lead_subject(self.shard, lead.leader.process),
            lead,
            from: self.from,
            numbers: Arc::clone(&self.numbers),
        }
    }

    fn note(&mut self, lead: Lead, outcome: Outcome) {
        metrics::counter!("keyledger_forwarded_messages_total", "outcome" => outcome.as_str()).increment(1);
        if outcome != Outcome::Answered && self.silent.as_ref() != Some(&lead) {
            tracing::warn!(
                leader = %lead.leader.process,
                outcome = outcome.as_str(),
                "commands are decided here until the leader shows itself"
            );
            self.silent = Some(lead);
        }
    }
}

/// Carries commands to the leader and the answers to their callers.
async fn send(line: Line, forwarded: Forwarded, commands: Vec<u8>) -> (Lead, Outcome) {
    let outcome = match line.ask(&commands).await {
        Ok(Some(answers)) => {
            forwarded.answered(&answers);
            Outcome::Answered
        }
        Ok(None) => {
            forwarded.decide_here();
            Outcome::NotTaken
        }
        Err(Silence::Absent) => {
            forwarded.decide_here();
            Outcome::Absent
        }
        Err(Silence::Lost) => {
            forwarded.lost();
            Outcome::Lost
        }
    };
    (line.lead, outcome)
}
