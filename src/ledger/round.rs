//! One round of the writer: all waiting commands decided one after the other, in memory, into one batch.

use std::collections::HashSet;

use keyledger_events::{AccountId, Actor, CommandId, Event, EventId, KeyId, Position, Recorded, Seq, Shard, Timestamp};
use rustc_hash::FxBuildHasher;

use super::account::{Account, Inconsistent};
use super::cache::Cache;
use super::command::{Limits, Target};
use super::load::Why;
use super::opener::Opener;
use super::refusal::Refusal;
use super::rules;
use super::work::Work;
use crate::clock;
use crate::log::{Batch, BatchSize, DataKeyFound, Head, Log};
use crate::personal::{self, DataKey, FreshKey, Locked};

/// What was decided, before it is known whether it can be appended.
pub(super) struct Round {
    /// Where the log stands without this round.
    pub base: Head,
    /// Where the log stands when the batch is in it.
    pub tail: Head,
    pub decided: Vec<(Box<dyn Work>, Verdict)>,
    pub batch: Batch,
    pub touched: HashSet<AccountId, FxBuildHasher>,
    /// Accounts that went from memory in the middle of this: an event that was decided for them could not be folded. They exist.
    dropped: HashSet<AccountId, FxBuildHasher>,
    pub ended_keys: Vec<KeyId>,
    shard: Shard,
    /// Somebody in this process will want the events too.
    read_along: bool,
    now: Timestamp,
}

pub(super) enum Verdict {
    /// Its events end at this position.
    Written {
        position: Position,
    },
    AlreadySo,
    Refused(Refusal),
    /// The account cannot be in memory.
    Unreadable(Why),
}

/// Where decisions are made: the accounts in memory and the bounds.
struct Desk<'a> {
    cache: &'a mut Cache,
    limits: &'a Limits,
}

impl Round {
    /// A round without commands yet, which will be about as large as another one was.
    pub(super) fn after(base: Head, log: &Log, like: &BatchSize) -> Round {
        Round {
            base,
            tail: base,
            decided: Vec::new(),
            batch: Batch::with_room_of(like),
            touched: HashSet::default(),
            dropped: HashSet::default(),
            ended_keys: Vec::new(),
            shard: log.shard(),
            read_along: log.is_read_along(),
            now: base.recorded_at,
        }
    }

    /// Decides every command against the accounts in memory, which take the events at once: the next command sees
    /// them. If the batch is not appended, the touched accounts must be forgotten.
    pub(super) fn decide(&mut self, cache: &mut Cache, limits: &Limits, jobs: Vec<Box<dyn Work>>) {
        // The clock, but never before the last event.
        self.now = clock::now().max(self.now);
        // Whichever book holds is asked for by most commands: it stays in memory before any account.
        cache.get(AccountId::SYSTEM);
        let mut desk = Desk { cache, limits };
        self.decided.reserve(jobs.len());
        for mut job in jobs {
            let verdict = self.decide_one(&mut desk, job.as_mut());
            self.decided.push((job, verdict));
        }
    }

    fn decide_one(&mut self, desk: &mut Desk<'_>, job: &mut dyn Work) -> Verdict {
        let target = job.target();
        let id = match target {
            Target::Account(account) => account,
            Target::New(account) => match opened_before(desk.cache, &job.by().command, self.now) {
                Some(before) => before,
                None => match opened_broken(desk.cache, &job.by().command) {
                    Some(why) => return Verdict::Unreadable(why),
                    None => account,
                },
            },
            Target::KeyOwner(digest) => match desk.cache.owner(digest) {
                Some(account) => account,
                None => match desk.cache.broken().keys.get(&digest) {
                    Some(why) => return Verdict::Unreadable(*why),
                    // It may be the key of one of those.
                    None if !self.dropped.is_empty() => return Verdict::Unreadable(Why::Away),
                    None => return Verdict::Refused(Refusal::KeyInvalid),
                },
            },
            Target::System => AccountId::SYSTEM,
        };
        if !desk.cache.contains(id) {
            if let Some(why) = desk.cache.broken().accounts.get(&id) {
                return Verdict::Unreadable(*why);
            }
            if self.dropped.contains(&id) {
                return Verdict::Unreadable(Why::Away);
            }
            match target {
                Target::New(_) => desk.cache.insert(Account::nobody(id), Seq::START),
                Target::Account(_) | Target::KeyOwner(_) => return Verdict::Refused(nobody_there(target)),
                Target::System => return Verdict::Unreadable(Why::Broken),
            }
        }
        if id == AccountId::SYSTEM && target != Target::System {
            return Verdict::Refused(nobody_there(target));
        }
        match self.decide_on(desk, id, job) {
            Ok(verdict) => verdict,
            Err(inconsistent) => {
                tracing::error!(%inconsistent, command = job.name(), "a decided event cannot be folded");
                self.dropped.insert(id);
                Verdict::Unreadable(Why::Broken)
            }
        }
    }

    fn decide_on(&mut self, desk: &mut Desk<'_>, id: AccountId, job: &mut dyn Work) -> Result<Verdict, Inconsistent> {
        let now = self.now;
        loop {
            let Some(account) = desk.cache.get(id) else {
                return Ok(Verdict::Unreadable(Why::Broken));
            };
            let due = rules::due(account, now);
            if due.is_empty() {
                break;
            }
            self.write_by_time(desk, id, due)?;
        }
        self.tell_of_crossings(desk, id)?;
        let Some(account) = desk.cache.peek(id) else {
            return Ok(Verdict::Unreadable(Why::Broken));
        };
        let decided = match (job.decide(account, now, desk.limits), job.priced_by()) {
            (decided, Some(version)) if hangs_on_prices(&decided) => {
                let Some(system) = desk.cache.peek(AccountId::SYSTEM) else {
                    let why = desk.cache.broken().accounts.get(&AccountId::SYSTEM);
                    return Ok(Verdict::Unreadable(why.copied().unwrap_or(Why::Broken)));
                };
                let holds = system.schedule.in_force(now);
                if holds == version {
                    decided
                } else {
                    Err(Refusal::OtherPricesHold { version: holds })
                }
            }
            (decided, _) => decided,
        };
        let verdict = match decided {
            Err(refusal) => {
                // An account that was not there and was not opened has no place in memory.
                if account.opened.is_none() && id != AccountId::SYSTEM {
                    desk.cache.drop_account(id);
                }
                return Ok(Verdict::Refused(refusal));
            }
            Ok(events) if events.is_empty() => Verdict::AlreadySo,
            Ok(events) => {
                let actor = job.actor(account);
                let command = job.by().command.clone();
                self.write(desk, id, events, actor, &command)?;
                Verdict::Written {
                    position: self.tail.position,
                }
            }
        };
        if let Some(account) = desk.cache.get(id) {
            job.note_reply(account);
        }
        self.tell_of_crossings(desk, id)?;
        Ok(verdict)
    }

    /// Says of a balance that came down that it is low.
    fn tell_of_crossings(&mut self, desk: &mut Desk<'_>, id: AccountId) -> Result<(), Inconsistent> {
        let crossed = desk.cache.get(id).map(rules::crossings).unwrap_or_default();
        if crossed.is_empty() {
            return Ok(());
        }
        self.write_by_time(desk, id, crossed)
    }

    /// What nobody asked for.
    fn write_by_time(&mut self, desk: &mut Desk<'_>, id: AccountId, events: Vec<Event>) -> Result<(), Inconsistent> {
        let command = CommandId::parse("due").ok_or(Inconsistent {
            account: id,
            position: self.tail.position,
            why: "no command id",
        })?;
        self.write(desk, id, events, Actor::System, &command)
    }

    /// Gives events their places, folds them, and adds them to the batch: all of them, or none.
    fn write(
        &mut self,
        desk: &mut Desk<'_>,
        id: AccountId,
        events: Vec<Event>,
        actor: Actor,
        command: &CommandId,
    ) -> Result<(), Inconsistent> {
        let Some(mut seq) = desk.cache.get(id).map(|account| account.seq) else {
            return Ok(());
        };
        let mut position = self.tail.position;
        let mut placed = Vec::with_capacity(events.len());
        for event in events {
            (seq, position) = (seq.next(), position.next());
            let recorded = Recorded {
                id: EventId::from_parts(self.now.ms(), clock::random_id_bits()),
                shard: self.shard,
                position,
                account: id,
                seq,
                time: self.now,
                actor,
                command: command.clone(),
                sealed: None,
                event,
            };
            let leads_key = desk.cache.evolve(&recorded)?;
            placed.push((recorded, leads_key));
        }
        for (recorded, _) in &mut placed {
            self.seal(desk, recorded)?;
        }
        for (recorded, leads_key) in &placed {
            self.ended_keys.extend(ended_key(&recorded.event));
            self.batch.push(recorded, *leads_key);
        }
        if self.read_along {
            placed.into_iter().for_each(|(recorded, _)| self.batch.keep(recorded));
        }
        self.touched.insert(id);
        self.tail = Head {
            position,
            recorded_at: self.now,
        };
        Ok(())
    }

    /// Makes of an event what is written: what it says of people is sealed with the account's data key.
    fn seal(&mut self, desk: &mut Desk<'_>, recorded: &mut Recorded) -> Result<(), Inconsistent> {
        let (account, position) = (recorded.account, recorded.position);
        // The platform's own people are no customers.
        if account == AccountId::SYSTEM {
            return Ok(());
        }
        personal::seal(recorded, || self.data_key(desk, account)).map_err(|error| {
            tracing::error!(%account, %error, "an event cannot be sealed");
            desk.cache.drop_account(account);
            Inconsistent {
                account,
                position,
                why: "what it says of people cannot be sealed",
            }
        })
    }

    /// The account's data key; the first time it is made, to be written with this round. After an erasure nobody keeps it.
    fn data_key(&mut self, desk: &mut Desk<'_>, account: AccountId) -> Result<DataKey, Locked> {
        let erased = desk
            .cache
            .peek(account)
            .is_some_and(|account| account.erased_at.is_some());
        match desk.cache.data_key(account) {
            Some(DataKeyFound::There(key)) => Ok(key),
            None if !erased => {
                let FreshKey { key, stored } = DataKey::fresh(account)?;
                self.batch.push_data_key(account, &stored);
                desk.cache.know_key(account, DataKeyFound::There(key.clone()));
                Ok(key)
            }
            // Its account is not in memory.
            Some(DataKeyFound::Unusable) => Err(Locked::NoKey),
            Some(DataKeyFound::Erased) | None => DataKey::fresh(account).map(|fresh| fresh.key),
        }
    }

    /// The commands alone, to be decided again.
    pub(super) fn into_jobs(self) -> Vec<Box<dyn Work>> {
        self.decided.into_iter().map(|(job, _)| job).collect()
    }
}

/// The account that was opened under the same idempotency key, for as long as it remembers that.
fn opened_before(cache: &Cache, command: &CommandId, now: Timestamp) -> Option<AccountId> {
    let account = cache.opened_by(Opener::of(command)?, now)?;
    let forgotten = matches!(account.remembered.made_by(command), Ok(None));
    (!forgotten).then_some(account.id)
}

/// Whether the account that was opened under this command's key is one that cannot be in memory.
fn opened_broken(cache: &Cache, command: &CommandId) -> Option<Why> {
    cache.broken().openers.get(&Opener::of(command)?).copied()
}

/// What a command without an account is refused with.
fn nobody_there(target: Target) -> Refusal {
    match target {
        Target::Account(account) | Target::New(account) => Refusal::UnknownAccount { account },
        Target::KeyOwner(_) => Refusal::KeyInvalid,
        Target::System => Refusal::UnknownAccount {
            account: AccountId::SYSTEM,
        },
    }
}

/// Whether a decision would be another one with another price: anything new, and a refusal for want of credits. What was
/// held before under the same id stays as it is.
fn hangs_on_prices(decided: &Result<Vec<Event>, Refusal>) -> bool {
    match decided {
        Ok(events) => !events.is_empty(),
        Err(refusal) => matches!(
            refusal,
            Refusal::InsufficientCredits { .. } | Refusal::KeySpendingLimit { .. } | Refusal::OutOfRange { .. }
        ),
    }
}

/// The key that an event ends, if it does.
fn ended_key(event: &Event) -> Option<KeyId> {
    if let Event::KeyDeleted(deleted) = event {
        Some(deleted.key)
    } else {
        None
    }
}
