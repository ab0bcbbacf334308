//! The writer: the one task of this process that appends to its shard.
//!
//! In: waiting commands. Out: one append for all that were waiting, then their answers.
//!
//! Promise: every answer is true of the log at its position. A command is decided against all events before its own:
//! the append succeeds only if nobody else appended meanwhile, and an answer without events is given only after the
//! head was seen where the decision believed it.
//!
//! One round is on its way to the log while the next is decided on top of it, in memory. The next is sent when the log
//! has the one before; when it has not, both are decided again. Before a small one is sent, the tasks that are ready run once,
//! so that callers who were just answered share a round.
//!
//! A writer that lost a race takes turns with the others for a while: it waits in line for the head, reads what they
//! wrote, decides, appends and lets go. So none of several busy processes starves.
//!
//! Who asks for an account in memory does not wait for the log to be read for others, unless 2,000 commands wait for that.
//!
//! While another process has the lead, this one has no accounts in memory for long, and reads of what is appended only
//! whose keys ended.
//!
//! Round trips: one an append; a reading more for accounts that are not in memory, two where others appended meanwhile; a look at
//! the head for a round that wrote nothing; three more, and a read, for a turn.

mod following;

use std::sync::Arc;
use std::time::Duration;

use keyledger_events::AccountId;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::account::Account;
use super::answers::{answer_all, fail_all};
use super::cache::Cache;
use super::command::{Limits, SubmitError};
use super::flight::{Disproof, Flight};
use super::forwarded::Elsewhere;
use super::load::{Loaded, Reach};
use super::loading::{Loadable, Loadings, Missing, Read, Wanted, read_on};
use super::round::{Round, Verdict};
use super::work::{Work, take_waiting};
use crate::log::{BatchSize, Head, Log, ReadError};

/// Commands decided together: enough to share a commit, few enough that a batch stays well under 100 ms.
const COMMANDS_A_ROUND_MAX: usize = 2_000;
/// A round of fewer commands costs its statement more than its events.
const SMALL_ROUND: usize = 64;
/// How long rounds may lose races against other processes before their callers are told to retry.
const LOSING_SECONDS_MAX: u64 = 5;
/// How long a writer takes turns after it met another one.
const TURNS_FOR: Duration = Duration::from_millis(250);

pub(super) struct Writer {
    log: Log,
    limits: Limits,
    cache: Cache,
    signals: Arc<super::signals::KeySignals>,
    elsewhere: Arc<Elsewhere>,
    committed: watch::Sender<keyledger_events::Position>,
    snapshots: mpsc::Sender<Account>,
    /// Where the log is known to end. `None` until it was read: after the start and after an unknown outcome.
    head: Option<Head>,
    /// Up to where it was heard which keys ended. `None` before the log was first read.
    heard: Option<Head>,
    /// When to look whether others have appended.
    look_at: Instant,
    unreachable: bool,
    /// Since when races have been lost without one won.
    losing_since: Option<Instant>,
    /// Until when to take turns.
    turns_until: Option<Instant>,
    /// Commands that nothing was done for yet.
    waiting: Vec<Box<dyn Work>>,
    /// Commands whose accounts are being read.
    loadings: Loadings,
    /// What is decided and not sent.
    next: Option<Round>,
    /// Commands of the round that was sent last.
    sent_last: usize,
    size_last: BatchSize,
    /// What is sent and not known to be in the log.
    flight: Option<Flight>,
}

/// What the writer's loop wakes up for.
enum Step {
    Landed(Result<Head, Disproof>),
    Loaded(Box<Loadable>),
    /// Another reading may begin.
    Place,
    Received,
    /// No command will come any more.
    Ended,
    Idle,
    Stop,
}

impl Writer {
    pub(super) fn new(
        log: Log,
        options: &super::LedgerOptions,
        signals: Arc<super::signals::KeySignals>,
        elsewhere: Arc<Elsewhere>,
        committed: watch::Sender<keyledger_events::Position>,
        snapshots: mpsc::Sender<Account>,
    ) -> Writer {
        Writer {
            log,
            limits: options.limits,
            cache: Cache::new(options.account_bytes_max),
            signals,
            elsewhere,
            committed,
            snapshots,
            head: None,
            heard: None,
            look_at: Instant::now(),
            unreachable: false,
            losing_since: None,
            turns_until: None,
            waiting: Vec::new(),
            loadings: Loadings::default(),
            next: None,
            sent_last: 0,
            size_last: BatchSize::default(),
            flight: None,
        }
    }

    /// Works until told to stop; then answers what still waits, and ends.
    pub(super) async fn run(&mut self, queue: &mut mpsc::Receiver<Box<dyn Work>>, stop: &CancellationToken) {
        let mut ended = false;
        loop {
            if self.next_is_small() {
                self.let_more_in(queue).await;
            }
            self.send();
            if ended && self.is_idle() && self.loadings.is_empty() {
                return;
            }
            let step = self.step(queue, ended, stop).await;
            self.cache.doubt_broken(Instant::now());
            match step {
                Step::Landed(proof) => self.landed(proof).await,
                Step::Loaded(loadable) => self.loaded(*loadable).await,
                Step::Received => self.take_on().await,
                Step::Place => self.begin_reading(),
                Step::Ended => ended = true,
                Step::Idle => self.follow().await,
                Step::Stop => queue.close(),
            }
        }
    }

    async fn step(&mut self, queue: &mut mpsc::Receiver<Box<dyn Work>>, ended: bool, stop: &CancellationToken) -> Step {
        let idle = self.is_idle();
        let room = self.room();
        // Who takes turns decides nothing before its turn.
        let waits_for_turn = self.takes_turns() && self.flight.is_some();
        let open = !ended && room > 0 && !waits_for_turn;
        tokio::select! {
            biased;
            proof = when_there(&mut self.flight) => Step::Landed(proof),
            loadable = self.loadings.next(), if !waits_for_turn => loadable.map_or(Step::Place, |there| Step::Loaded(Box::new(there))),
            received = queue.recv_many(&mut self.waiting, room), if open => match received {
                0 => Step::Ended,
                _ => Step::Received,
            },
            () = tokio::time::sleep_until(self.look_at), if idle => Step::Idle,
            () = stop.cancelled(), if !queue.is_closed() => Step::Stop,
        }
    }

    fn is_idle(&self) -> bool {
        // A reading that is to say where the log ends says it.
        self.flight.is_none() && self.next.is_none() && (self.head.is_some() || self.loadings.is_empty())
    }

    /// Decides the waiting commands whose accounts are in memory; has the others' accounts read.
    async fn take_on(&mut self) {
        let here = self.sort_waiting();
        self.decide(here).await;
        self.begin_reading();
    }

    fn begin_reading(&mut self) {
        self.loadings.begin(&self.log, &mut self.cache, self.head.is_some());
    }

    /// Gives those of the waiting commands whose accounts are in memory; the others wait for a reading.
    fn sort_waiting(&mut self) -> Vec<Box<dyn Work>> {
        let mut here = Vec::with_capacity(self.waiting.len());
        for job in self.waiting.drain(..).filter(|job| !job.abandoned()) {
            let missing = Missing::of(job.as_ref(), &self.cache, self.head.is_some());
            if missing.is_nothing() {
                here.push(job);
            } else {
                self.loadings.push(job, &missing);
            }
        }
        here
    }

    async fn loaded(&mut self, loadable: Loadable) {
        let outdated = loadable.is_outdated(&self.cache);
        let Loadable {
            jobs,
            wanted,
            read,
            again,
            ..
        } = loadable;
        // What nothing is read for yet may be here by now, or have a place.
        self.waiting.extend(self.loadings.take_unplaced());
        let known = match read {
            Ok(read) if outdated && !again => {
                self.loadings.read_on(&self.log, &mut self.cache, jobs, wanted, read);
                return self.take_on().await;
            }
            Ok(read) if outdated => read_on(&self.log, wanted.clone(), Reach::Near, read.loaded).await,
            Ok(Read {
                head: Some(head),
                loaded,
            }) => self.resume(head).await.map(|()| loaded),
            Ok(Read { head: None, loaded }) => Ok(loaded),
            Err(error) => Err(error),
        };
        let mut loaded = match known {
            Ok(loaded) => loaded,
            Err(error) => {
                self.note_unreachable(&error);
                fail_all(jobs, || SubmitError::Unavailable);
                return self.take_on().await;
            }
        };
        let archived = loaded.broken.take_archived();
        self.keep(loaded);
        let mut here = Vec::with_capacity(jobs.len());
        for job in jobs.into_iter().filter(|job| !job.abandoned()) {
            let missing = Missing::of(job.as_ref(), &self.cache, self.head.is_some());
            if missing.is_of(&archived) {
                self.loadings.push_far(job);
            } else if wanted.has(&missing) {
                here.push(job);
            } else {
                // What was in memory when the command came has gone since.
                self.waiting.push(job);
            }
        }
        here.append(&mut self.sort_waiting());
        self.decide(here).await;
        self.shrink();
        self.begin_reading();
    }

    /// Decides commands on top of all that was decided before.
    async fn decide(&mut self, jobs: Vec<Box<dyn Work>>) {
        if jobs.is_empty() {
            return;
        }
        if self.takes_turns() {
            let found = match self.take_turn().await {
                Ok(false) => Ok(()),
                // What they need and was not there, or has gone since, is looked for once more.
                Ok(true) => {
                    let wanted = Wanted::of(&jobs, &self.cache, true);
                    self.find(wanted).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = found {
                self.log.leave_turn().await;
                self.note_unreachable(&error);
                return fail_all(jobs, || SubmitError::Unavailable);
            }
        }
        let Some(head) = self.head else {
            return fail_all(jobs, || SubmitError::Unavailable);
        };
        let base = self.flight.as_ref().map_or(head, |flight| flight.round.tail);
        self.next
            .get_or_insert_with(|| Round::after(base, &self.log, &self.size_last))
            .decide(&mut self.cache, &self.limits, jobs);
    }

    fn takes_turns(&self) -> bool {
        self.turns_until.is_some_and(|end| Instant::now() < end)
    }

    /// Holds the head, and reads what others wrote before, if they wrote anything.
    async fn take_turn(&mut self) -> Result<bool, ReadError> {
        let head = self.log.take_turn().await?;
        let moved = self.head.is_none_or(|known| known.position != head.position);
        if moved {
            self.turns_until = Some(Instant::now() + TURNS_FOR);
            self.catch_up().await?;
        }
        Ok(moved)
    }

    /// Reads accounts while the head is held.
    async fn find(&mut self, wanted: Option<Wanted>) -> Result<(), ReadError> {
        if let Some(wanted) = wanted {
            let found = read_on(&self.log, wanted, Reach::Near, Loaded::default()).await?;
            self.keep(found);
        }
        Ok(())
    }

    /// Keeps accounts that were read in memory. One that is here already may be ahead of the log by what is on its way there.
    fn keep(&mut self, mut loaded: Loaded) {
        self.cache.note_broken(loaded.broken, Instant::now());
        for (account, snapshot_seq) in loaded.accounts {
            let id = account.id;
            if self.cache.contains(id) {
                continue;
            }
            self.cache.insert(account, snapshot_seq);
            if let Some(key) = loaded.keys.remove(&id) {
                self.cache.know_key(id, key);
            }
        }
    }

    /// Whether what would be sent now is little, and less than the round before: most of those that were just answered ask
    /// again. Who holds the head for a turn lets nobody wait.
    fn next_is_small(&self) -> bool {
        let decided = self.decided();
        self.flight.is_none() && !self.takes_turns() && decided > 0 && decided < self.sent_last.min(SMALL_ROUND)
    }

    /// Commands that are decided and not sent.
    fn decided(&self) -> usize {
        self.next.as_ref().map_or(0, |round| round.decided.len())
    }

    /// Commands that may be taken on.
    fn room(&self) -> usize {
        COMMANDS_A_ROUND_MAX.saturating_sub(self.decided() + self.loadings.len())
    }

    /// Lets the tasks run that are ready now, and decides what they send.
    async fn let_more_in(&mut self, queue: &mut mpsc::Receiver<Box<dyn Work>>) {
        tokio::task::yield_now().await;
        let room = self.room();
        take_waiting(queue, &mut self.waiting, room);
        self.take_on().await;
    }

    /// Sends what is decided, unless the round before is still on its way.
    fn send(&mut self) {
        if self.flight.is_some() {
            return;
        }
        let Some(round) = self.next.take() else { return };
        self.sent_last = round.decided.len();
        self.size_last = round.batch.size();
        metrics::histogram!("keyledger_round_commands").record(u32::try_from(round.decided.len()).unwrap_or(u32::MAX));
        // The copies are made before the next round changes the accounts.
        let snapshots = round
            .touched
            .iter()
            .filter_map(|account| self.cache.settle_entry(*account))
            .collect();
        self.flight = Some(Flight::start(self.log.clone(), round, snapshots));
    }

    async fn landed(&mut self, proof: Result<Head, Disproof>) {
        let Some(Flight { round, snapshots, .. }) = self.flight.take() else {
            return;
        };
        match proof {
            Ok(head) => {
                self.losing_since = None;
                if !self.loadings.is_empty() {
                    round
                        .touched
                        .iter()
                        .for_each(|account| self.cache.note_appended(*account));
                }
                self.advance(head);
                // The log need not wait while callers are told.
                if !self.next_is_small() {
                    self.send();
                }
                self.answer(round);
                for copy in snapshots {
                    // A full queue only means that this snapshot comes later.
                    let _ = self.snapshots.try_send(copy);
                }
                self.shrink();
            }
            Err(Disproof::Behind) => {
                metrics::counter!("keyledger_append_races_lost_total").increment(1);
                let jobs = self.take_back(round);
                let since = *self.losing_since.get_or_insert_with(Instant::now);
                if since.elapsed() > Duration::from_secs(LOSING_SECONDS_MAX) {
                    self.losing_since = None;
                    fail_all(jobs, || SubmitError::Busy);
                    return self.take_on().await;
                }
                // The turn reads what the others wrote.
                self.turns_until = Some(Instant::now() + TURNS_FOR);
                self.again(jobs).await;
            }
            Err(Disproof::NotWritten(error)) => {
                self.note_unreachable(error.as_ref());
                fail_all(self.take_back(round), || SubmitError::Unavailable);
                self.take_on().await;
            }
            Err(Disproof::Unknown(error)) => {
                self.note_unreachable(error.as_ref());
                let rest = self.take_back(Round::after(round.base, &self.log, &BatchSize::default()));
                self.waiting.extend(self.loadings.take_all());
                self.cache.clear();
                self.head = None;
                for (job, verdict) in round.decided {
                    job.fail(match verdict {
                        Verdict::Written { .. } => SubmitError::OutcomeUnknown,
                        Verdict::AlreadySo | Verdict::Refused(_) | Verdict::Unreadable(_) => SubmitError::Unavailable,
                    });
                }
                self.again(rest).await;
            }
        }
    }

    /// Forgets what a round that is not in the log, and the one on top of it, made of their accounts. Gives back their
    /// commands.
    fn take_back(&mut self, round: Round) -> Vec<Box<dyn Work>> {
        let mut jobs = Vec::new();
        for round in std::iter::once(round).chain(self.next.take()) {
            for account in &round.touched {
                self.cache.drop_account(*account);
            }
            jobs.extend(round.into_jobs());
        }
        jobs
    }

    /// Has commands decided again, before those that came later.
    async fn again(&mut self, mut jobs: Vec<Box<dyn Work>>) {
        jobs.append(&mut self.waiting);
        self.waiting = jobs;
        self.take_on().await;
    }

    fn answer(&mut self, round: Round) {
        for key in &round.ended_keys {
            self.signals.end(*key);
        }
        if round.touched.contains(&AccountId::SYSTEM) {
            self.signals.prices_published();
        }
        metrics::counter!("keyledger_events_appended_total").increment(round.tail.position.0 - round.base.position.0);
        answer_all(round, self.log.shard());
    }

    /// Makes room in memory, but not of accounts that are ahead of the log.
    fn shrink(&mut self) {
        let flown = self.flight.as_ref().map(|flight| &flight.round.touched);
        let decided = self.next.as_ref().map(|round| &round.touched);
        self.cache.shrink(|account| {
            let ahead = flown
                .into_iter()
                .chain(decided)
                .any(|touched| touched.contains(account));
            // Most commands need the book that holds.
            ahead || *account == AccountId::SYSTEM
        });
        metrics::gauge!("keyledger_accounts_in_memory").set(u32::try_from(self.cache.len()).unwrap_or(u32::MAX));
    }
}

/// Completes with what there is; never when there is nothing.
async fn when_there<F: Future + Unpin>(there: &mut Option<F>) -> F::Output {
    match there {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
