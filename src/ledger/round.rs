//! One round of the writer: all waiting commands decided one after the other, in memory, into one batch.

use std::collections::HashSet;

use keyledger_events::{AccountId, Actor, CommandId, Event, EventId, KeyId, Position, Recorded, Seq, Timestamp};

use super::account::{Account, Inconsistent};
use super::command::Target;
use super::refusal::Refusal;
use super::rules;
use super::work::Work;
use super::writer::{Absent, Writer, ended_key, nobody_there};
use crate::clock;
use crate::log::{Batch, Head};

/// What was decided, before it is known whether it can be appended.
pub(super) struct Round {
    pub decided: Vec<(Box<dyn Work>, Verdict)>,
    pub batch: Batch,
    pub touched: HashSet<AccountId>,
    pub ended_keys: Vec<KeyId>,
    pub now: Timestamp,
    /// Where the log stands when the batch is in it.
    pub last_position: Position,
}

pub(super) enum Verdict {
    /// Its events end at this position.
    Written {
        position: Position,
    },
    AlreadySo,
    Refused(Refusal),
    /// The account's history cannot be folded.
    Broken,
}

impl Round {
    /// Decides every command against the accounts in memory, which take the events at once: the next command of the
    /// round sees them. If the batch is not appended, the touched accounts must be forgotten.
    pub(super) fn decide(writer: &mut Writer, head: Head, jobs: Vec<Box<dyn Work>>, absent: &Absent) -> Round {
        let mut round = Round {
            decided: Vec::with_capacity(jobs.len()),
            batch: Batch::default(),
            touched: HashSet::new(),
            ended_keys: Vec::new(),
            now: writer.now(head),
            last_position: head.position,
        };
        for mut job in jobs {
            let verdict = round.decide_one(writer, job.as_mut(), absent);
            round.decided.push((job, verdict));
        }
        round
    }

    fn decide_one(&mut self, writer: &mut Writer, job: &mut dyn Work, absent: &Absent) -> Verdict {
        let target = job.target();
        let id = match target {
            Target::Account(account) | Target::New(account) => account,
            Target::KeyOwner(digest) => match writer.cache.owner(digest) {
                Some(account) => account,
                None => return Verdict::Refused(Refusal::KeyInvalid),
            },
        };
        if absent.broken.contains(&id) {
            return Verdict::Broken;
        }
        if !writer.cache.contains(id) {
            match target {
                Target::New(_) => writer.cache.insert(Account::nobody(id), Seq::START),
                Target::Account(_) | Target::KeyOwner(_) => return Verdict::Refused(nobody_there(target)),
            }
        }
        match self.decide_on(writer, id, job) {
            Ok(verdict) => verdict,
            Err(inconsistent) => {
                tracing::error!(%inconsistent, command = job.name(), "a decided event cannot be folded");
                Verdict::Broken
            }
        }
    }

    fn decide_on(&mut self, writer: &mut Writer, id: AccountId, job: &mut dyn Work) -> Result<Verdict, Inconsistent> {
        let now = self.now;
        let limits = writer.limits;
        let Some(account) = writer.cache.get(id) else {
            return Ok(Verdict::Broken);
        };
        let due = rules::due(account, now);
        if !due.is_empty() {
            let by_time = CommandId::parse("due").ok_or_else(|| broken(account, "no command id"))?;
            self.write(writer, id, due, Actor::System, &by_time)?;
        }
        let Some(account) = writer.cache.get(id) else {
            return Ok(Verdict::Broken);
        };
        let verdict = match job.decide(account, now, &limits) {
            Err(refusal) => {
                // An account that was not there and was not opened has no place in memory.
                if account.opened.is_none() {
                    writer.cache.drop_account(id);
                }
                return Ok(Verdict::Refused(refusal));
            }
            Ok(events) if events.is_empty() => Verdict::AlreadySo,
            Ok(events) => {
                let actor = job.actor(account);
                let command = job.by().command.clone();
                self.write(writer, id, events, actor, &command)?;
                Verdict::Written {
                    position: self.last_position,
                }
            }
        };
        if let Some(account) = writer.cache.get(id) {
            job.note_reply(account);
        }
        Ok(verdict)
    }

    /// Gives events their places, folds them, and adds them to the batch: all of them, or none.
    fn write(
        &mut self,
        writer: &mut Writer,
        id: AccountId,
        events: Vec<Event>,
        actor: Actor,
        command: &CommandId,
    ) -> Result<(), Inconsistent> {
        let Some(mut seq) = writer.cache.get(id).map(|account| account.seq) else {
            return Ok(());
        };
        let mut position = self.last_position;
        let mut placed = Vec::with_capacity(events.len());
        for event in events {
            (seq, position) = (seq.next(), position.next());
            let recorded = Recorded {
                id: EventId::from_parts(self.now.ms(), clock::random_id_bits()),
                shard: writer.log.shard(),
                position,
                account: id,
                seq,
                time: self.now,
                actor,
                command: command.clone(),
                event,
            };
            writer.cache.evolve(&recorded)?;
            placed.push(recorded);
        }
        for recorded in &placed {
            self.batch.push(recorded);
            self.ended_keys.extend(ended_key(&recorded.event));
        }
        self.touched.insert(id);
        self.last_position = position;
        Ok(())
    }

    /// The commands alone, to be decided again.
    pub(super) fn into_jobs(self) -> Vec<Box<dyn Work>> {
        self.decided.into_iter().map(|(job, _)| job).collect()
    }
}

fn broken(account: &Account, why: &'static str) -> Inconsistent {
    Inconsistent {
        account: account.id,
        position: account.position,
        why,
    }
}
