//! Sends this process's commands to the leader while there is one elsewhere.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use keyledger_events::Shard;
use tokio::sync::watch;
use tokio::time::Instant;

use super::line::{Line, Silence};
use crate::bus::Bus;
use crate::clock;
use crate::ledger::{Forwarded, Outbox};
use crate::log::Lead;

/// Messages under way at once. The next ones gather commands meanwhile.
const MESSAGES_UNDER_WAY_MAX: usize = 8;
/// Beside those, messages of which some answers are still to come. What takes long is an account's misfortune, not its neighbours'.
const RESTS_UNDER_WAY_MAX: usize = 512;
/// Longer than the leader takes for what is far away.
const REST_WITHIN: Duration = Duration::from_secs(30);
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

/// A message that was answered, or was not.
struct Sent {
    line: Line,
    outcome: Outcome,
    /// Whose answers are still to come, and the message's number.
    rest: Option<(Forwarded, u64)>,
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
    /// The leader answers, but some commands took it too long.
    Late,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::NotTaken => "not-taken",
            Outcome::Absent => "absent",
            Outcome::Lost => "lost",
            Outcome::Late => "late",
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
        let (mut under_way, mut rests) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            outbox.send_elsewhere(self.leader().is_some());
            tokio::select! {
                Some(Sent { line, outcome, rest }) = under_way.next() => match rest {
                    Some(rest) => rests.push(ask_rest(line, rest)),
                    None => self.note(line.lead, outcome),
                },
                Some((lead, outcome)) = rests.next() => self.note(lead, outcome),
                next = outbox.next(), if under_way.len() < MESSAGES_UNDER_WAY_MAX && rests.len() < RESTS_UNDER_WAY_MAX => match next {
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
        while let Some(Sent { line, rest, .. }) = under_way.next().await {
            rests.extend(rest.map(|rest| ask_rest(line, rest)));
        }
        while rests.next().await.is_some() {}
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
        if !matches!(outcome, Outcome::Answered | Outcome::Late) && self.silent.as_ref() != Some(&lead) {
            tracing::warn!(
                leader = %lead.leader.process,
                outcome = outcome.as_str(),
                "commands are decided here until the leader shows itself"
            );
            self.silent = Some(lead);
        }
    }
}

/// Carries commands to the leader and the answers to their callers. Some may be still to come then.
async fn send(line: Line, forwarded: Forwarded, commands: Vec<u8>) -> Sent {
    let (outcome, rest) = match line.ask(&commands).await {
        Ok(Some(part)) => {
            let rest = forwarded.answered(&part.answers, part.whole);
            (Outcome::Answered, rest.map(|rest| (rest, part.number)))
        }
        Ok(None) => {
            forwarded.decide_here();
            (Outcome::NotTaken, None)
        }
        Err(Silence::Absent) => {
            forwarded.decide_here();
            (Outcome::Absent, None)
        }
        Err(Silence::Lost) => {
            forwarded.lost();
            (Outcome::Lost, None)
        }
    };
    Sent { line, outcome, rest }
}

/// Asks for the answers that were still to come, until all are there. Whoever is gone meanwhile may have decided all the same.
async fn ask_rest(line: Line, (mut rest, number): (Forwarded, u64)) -> (Lead, Outcome) {
    let asked_until = Instant::now() + REST_WITHIN;
    while Instant::now() < asked_until {
        let Ok(Some(part)) = line.ask_rest(number).await else {
            rest.lost();
            return (line.lead, Outcome::Lost);
        };
        match rest.answered(&part.answers, part.whole) {
            None => return (line.lead, Outcome::Answered),
            Some(others) => rest = others,
        }
    }
    rest.lost();
    (line.lead, Outcome::Late)
}
