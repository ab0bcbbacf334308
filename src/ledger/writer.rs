//! The writer: the one task of this process that appends to its shard.
//!
//! In: waiting commands. Out: one append for all that were waiting, then their answers.
//!
//! Promise: every answer is true of the log at its position. A command is decided against all events before its own:
//! the append succeeds only if nobody else appended meanwhile, and an answer without events is given only after the
//! head was seen where the decision believed it.
//!
//! Round trips: one an append; a load more for accounts that are not in memory; a look at the head for a round that
//! wrote nothing.

use std::collections::HashSet;
use std::time::Duration;

use keyledger_events::{AccountId, Event, KeyId};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::account::Account;
use super::cache::Cache;
use super::command::{Limits, SubmitError, Target};
use super::load::load;
use super::refusal::Refusal;
use super::round::{Round, Verdict};
use super::work::Work;
use crate::clock;
use crate::log::{AppendError, Head, Log, ReadError};

/// Commands decided together: enough to share a commit, few enough that a batch stays well under 100 ms.
const COMMANDS_A_ROUND_MAX: usize = 2_000;
/// How long a round may lose races against other processes before its callers are told to retry.
const ROUND_SECONDS_MAX: u64 = 5;
/// How stale an idle process may be: a key deleted elsewhere stops work under way here within this and a read.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);
/// Events read at once when following.
const FOLLOW_EVENTS_MAX: u32 = 1_000;

pub(super) struct Writer {
    pub log: Log,
    pub limits: Limits,
    pub cache: Cache,
    /// `None` until the log was read: after the start and after an unknown outcome.
    pub head: Option<Head>,
    pub signals: std::sync::Arc<super::signals::KeySignals>,
    pub committed: watch::Sender<keyledger_events::Position>,
    pub snapshots: mpsc::Sender<Account>,
    pub synced_at: Instant,
    pub unreachable: bool,
}

impl Writer {
    /// Works until told to stop; then answers what still waits, and ends.
    pub(super) async fn run(&mut self, queue: &mut mpsc::Receiver<Box<dyn Work>>, stop: &CancellationToken) {
        let mut jobs: Vec<Box<dyn Work>> = Vec::new();
        loop {
            let next_follow = self.synced_at + FOLLOW_EVERY;
            tokio::select! {
                biased;
                received = queue.recv_many(&mut jobs, COMMANDS_A_ROUND_MAX) => {
                    if received == 0 {
                        return;
                    }
                    jobs.retain(|job| !job.abandoned());
                    let waiting = std::mem::take(&mut jobs);
                    self.round(waiting).await;
                }
                () = tokio::time::sleep_until(next_follow) => self.follow().await,
                () = stop.cancelled(), if !queue.is_closed() => queue.close(),
            }
        }
    }

    /// Decides, appends and answers, until it wins the race for the head.
    async fn round(&mut self, mut jobs: Vec<Box<dyn Work>>) {
        let give_up_at = Instant::now() + Duration::from_secs(ROUND_SECONDS_MAX);
        while !jobs.is_empty() {
            if Instant::now() > give_up_at {
                return fail_all(jobs, || SubmitError::Busy);
            }
            let targets: Vec<Target> = jobs.iter().map(|job| job.target()).collect();
            let absent = match self.prepare(&targets).await {
                Ok(absent) => absent,
                Err(error) => {
                    self.note_unreachable(&error);
                    return fail_all(jobs, || SubmitError::Unavailable);
                }
            };
            let Some(head) = self.head else {
                return fail_all(jobs, || SubmitError::Unavailable);
            };
            let round = Round::decide(self, head, jobs, &absent);
            jobs = match self.commit(head, round).await {
                Some(again) => again,
                None => return,
            };
        }
    }

    /// Makes sure that the head is known and every account of these commands is in memory.
    async fn prepare(&mut self, targets: &[Target]) -> Result<Absent, ReadError> {
        if self.head.is_none() {
            let head = self.log.head().await?;
            self.advance(head);
        }
        let mut digests = HashSet::new();
        let mut wanted = HashSet::new();
        for target in targets {
            match *target {
                Target::Account(account) | Target::New(account) => {
                    wanted.insert(account);
                }
                Target::KeyOwner(digest) => match self.cache.owner(digest) {
                    Some(account) => {
                        wanted.insert(account);
                    }
                    None => {
                        digests.insert(digest);
                    }
                },
            }
        }
        if !digests.is_empty() {
            let digests: Vec<_> = digests.into_iter().collect();
            wanted.extend(self.log.owners(&digests).await?.into_iter().map(|(_, account)| account));
        }
        wanted.retain(|account| !self.cache.contains(*account));
        let mut absent = Absent::default();
        if !wanted.is_empty() {
            let wanted: Vec<AccountId> = wanted.into_iter().collect();
            let loaded = load(&self.log, &wanted).await?;
            for (account, snapshot_seq) in loaded.accounts {
                self.cache.insert(account, snapshot_seq);
            }
            absent.broken = loaded.broken;
        }
        Ok(absent)
    }

    /// Appends what the round decided and answers everybody. Gives back the commands that have to be decided again.
    async fn commit(&mut self, head: Head, round: Round) -> Option<Vec<Box<dyn Work>>> {
        if round.batch.is_empty() {
            return self.confirm(head, round).await;
        }
        match self.log.append(&round.batch).await {
            Ok(()) => {
                self.advance(Head {
                    position: round.last_position,
                    recorded_at: round.now,
                });
                self.answered(round);
                None
            }
            Err(AppendError::Behind { .. }) => {
                metrics::counter!("keyledger_append_races_lost_total").increment(1);
                self.forget(&round.touched);
                match self.catch_up().await {
                    Ok(()) => Some(round.into_jobs()),
                    Err(error) => {
                        self.note_unreachable(&error);
                        fail_all(round.into_jobs(), || SubmitError::Unavailable);
                        None
                    }
                }
            }
            Err(AppendError::NotWritten(error)) => {
                self.forget(&round.touched);
                self.note_unreachable(&error);
                fail_all(round.into_jobs(), || SubmitError::Unavailable);
                None
            }
            Err(AppendError::Unknown(error)) => {
                self.cache.clear();
                self.head = None;
                self.note_unreachable(&error);
                for (job, verdict) in round.decided {
                    job.fail(match verdict {
                        Verdict::Written { .. } => SubmitError::OutcomeUnknown,
                        Verdict::AlreadySo | Verdict::Refused(_) | Verdict::Broken => SubmitError::Unavailable,
                    });
                }
                None
            }
        }
    }

    /// For a round that wrote nothing: its answers are true only if nobody has appended since.
    async fn confirm(&mut self, head: Head, round: Round) -> Option<Vec<Box<dyn Work>>> {
        match self.log.head().await {
            Ok(now) if now.position == head.position => {
                self.advance(now);
                self.answered(round);
                None
            }
            Ok(_) => match self.catch_up().await {
                Ok(()) => Some(round.into_jobs()),
                Err(error) => {
                    self.note_unreachable(&error);
                    fail_all(round.into_jobs(), || SubmitError::Unavailable);
                    None
                }
            },
            Err(error) => {
                self.note_unreachable(&error);
                fail_all(round.into_jobs(), || SubmitError::Unavailable);
                None
            }
        }
    }

    fn answered(&mut self, round: Round) {
        for key in &round.ended_keys {
            self.signals.end(*key);
        }
        let shard = self.log.shard();
        metrics::histogram!("keyledger_round_commands").record(u32::try_from(round.decided.len()).unwrap_or(u32::MAX));
        metrics::counter!("keyledger_events_appended_total").increment(u64::try_from(round.batch.len()).unwrap_or(0));
        for (job, verdict) in round.decided {
            let outcome = match &verdict {
                Verdict::Written { .. } => "written",
                Verdict::AlreadySo => "already_so",
                Verdict::Refused(_) => "refused",
                Verdict::Broken => "broken",
            };
            metrics::counter!("keyledger_commands_total", "command" => job.name(), "outcome" => outcome).increment(1);
            match verdict {
                Verdict::Written { position } => job.answer(shard, position, false),
                Verdict::AlreadySo => job.answer(shard, round.last_position, true),
                Verdict::Refused(refusal) => {
                    job.fail(SubmitError::Refused {
                        refusal,
                        shard,
                        position: round.last_position,
                    });
                }
                Verdict::Broken => job.fail(SubmitError::Broken),
            }
        }
        for account in &round.touched {
            if let Some(copy) = self.cache.settle_entry(*account) {
                // A full queue only means that this snapshot comes later.
                let _ = self.snapshots.try_send(copy);
            }
        }
        self.cache.shrink();
        metrics::gauge!("keyledger_accounts_in_memory").set(u32::try_from(self.cache.len()).unwrap_or(u32::MAX));
    }

    /// Looks whether others have appended, and reads what they wrote.
    async fn follow(&mut self) {
        self.synced_at = Instant::now();
        let followed = match self.head {
            None => self.log.head().await.map(|head| self.advance(head)),
            Some(head) => match self.log.head().await {
                Ok(now) if now.position == head.position => {
                    self.reachable_again();
                    Ok(())
                }
                Ok(_) => self.catch_up().await,
                Err(error) => Err(error),
            },
        };
        if let Err(error) = followed {
            self.note_unreachable(&error);
        }
    }

    /// Reads the events that others appended after our head, page by page, into the accounts in memory.
    async fn catch_up(&mut self) -> Result<(), ReadError> {
        loop {
            let Some(head) = self.head else {
                let head = self.log.head().await?;
                self.advance(head);
                return Ok(());
            };
            let page = self.log.read(head.position, FOLLOW_EVENTS_MAX).await?;
            let Some(last) = page.last() else { return Ok(()) };
            let mut now = Head {
                position: last.position,
                recorded_at: head.recorded_at,
            };
            for stored in &page {
                let Ok(recorded) = stored.decode() else {
                    tracing::error!(position = %stored.position, "an event cannot be read");
                    return Err(ReadError::Corrupt {
                        what: "an event that cannot be read",
                    });
                };
                now.recorded_at = now.recorded_at.max(recorded.time);
                if let Err(inconsistent) = self.cache.follow(&recorded) {
                    tracing::error!(%inconsistent, "an account's history cannot be folded");
                }
                if let Event::KeyDeleted(deleted) = &recorded.event {
                    self.signals.end(deleted.key);
                }
            }
            let whole = u32::try_from(page.len()).is_ok_and(|read| read < FOLLOW_EVENTS_MAX);
            self.advance(now);
            if whole {
                return Ok(());
            }
        }
    }

    fn advance(&mut self, head: Head) {
        self.head = Some(head);
        self.synced_at = Instant::now();
        self.committed.send_replace(head.position);
        self.reachable_again();
    }

    fn forget(&mut self, touched: &HashSet<AccountId>) {
        for account in touched {
            self.cache.drop_account(*account);
        }
    }

    fn note_unreachable(&mut self, error: &dyn std::error::Error) {
        if !std::mem::replace(&mut self.unreachable, true) {
            tracing::warn!(%error, "the log cannot be reached; commands are answered 503 until it can");
        }
    }

    fn reachable_again(&mut self) {
        if std::mem::replace(&mut self.unreachable, false) {
            tracing::info!("the log can be reached again");
        }
    }

    /// The time of the next event: the clock, but never before the last event.
    pub(super) fn now(&self, head: Head) -> keyledger_events::Timestamp {
        clock::now().max(head.recorded_at)
    }
}

/// Accounts of a round that are not in memory after loading, because something is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Absent {
    pub broken: HashSet<AccountId>,
}

fn fail_all(jobs: Vec<Box<dyn Work>>, error: impl Fn() -> SubmitError) {
    for job in jobs {
        job.fail(error());
    }
}

/// What a command without an account is refused with.
pub(super) fn nobody_there(target: Target) -> Refusal {
    match target {
        Target::Account(account) | Target::New(account) => Refusal::UnknownAccount { account },
        Target::KeyOwner(_) => Refusal::KeyInvalid,
    }
}

/// The key that an event ends, if it does.
pub(super) fn ended_key(event: &Event) -> Option<KeyId> {
    if let Event::KeyDeleted(deleted) = event {
        Some(deleted.key)
    } else {
        None
    }
}
