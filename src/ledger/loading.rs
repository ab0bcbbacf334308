//! Commands whose accounts are not in memory, while those are read from the log: a few readings at once, so that an account
//! with a long history keeps only those waiting who came together with whoever asked for it.
//!
//! Promise: what is decided on is true of the log up to where this process believes it to end. Who is in memory is newer than what
//! is read. When others' events have moved that end since a reading began, or an account that this process changed since then was
//! forgotten, what was read is outdated: it is read on from there.
//!
//! Accounts with archived events have readings of their own: a store that is far, or does not answer, keeps nobody waiting whose
//! events are all in Postgres.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use keyledger_events::{AccountId, KeyDigest, Seq};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::account::Account;
use super::cache::{Cache, Era};
use super::command::{SubmitError, Target};
use super::load::{Broken, Loaded, Reach, Why, load};
use super::opener::Opener;
use super::work::Work;
use crate::clock;
use crate::log::{Head, Log, ReadError};

/// Readings at once. Each takes a connection beside the one that appends.
const AT_ONCE_MAX: usize = 3;
/// The commands that come during a reading share the next one, which is cheaper for all. When it takes longer than this, theirs
/// begins beside it.
const LONG: Duration = Duration::from_millis(5);
/// Readings of archived events at once, beside the others.
const FAR_AT_ONCE_MAX: usize = 2;
/// Commands that may wait for archived events. The others' places are not theirs to fill.
const FAR_WAITING_MAX: usize = 500;

/// The readings under way, and the commands that wait for one.
#[derive(Default)]
pub(super) struct Loadings {
    under_way: Vec<Loading>,
    /// Commands that nothing is read for yet.
    unplaced: Vec<Box<dyn Work>>,
    /// Of those, the ones whose accounts have archived events.
    far: Vec<Box<dyn Work>>,
}

/// What some commands need and memory has not, on its way from the log.
struct Loading {
    jobs: Vec<Box<dyn Work>>,
    wanted: Wanted,
    began: Era,
    long_at: Instant,
    /// The log has others' events that this process did not know of when it began.
    overtaken: bool,
    /// It reads on from what was outdated.
    again: bool,
    reach: Reach,
    /// Goes on while the writer waits for something else.
    read: AbortOnDropHandle<Result<Read, ReadError>>,
}

/// A reading that has ended, and the commands that waited for it.
pub(super) struct Loadable {
    pub jobs: Vec<Box<dyn Work>>,
    pub wanted: Wanted,
    pub read: Result<Read, ReadError>,
    /// Whether it read on already: so that it comes to an end, it is not left to itself again.
    pub again: bool,
    began: Era,
    overtaken: bool,
}

pub(super) struct Read {
    /// Where the log stood before the accounts were read, if that was asked for.
    pub head: Option<Head>,
    pub loaded: Loaded,
}

/// What one command needs and memory has not.
#[derive(Debug, Default)]
pub(super) struct Missing {
    head: bool,
    system: bool,
    account: Option<AccountId>,
    digest: Option<KeyDigest>,
    opener: Option<Opener>,
}

/// What has to be read for some commands.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    head: bool,
    system: bool,
    accounts: HashSet<AccountId>,
    digests: HashSet<KeyDigest>,
    openers: HashSet<Opener>,
}

impl Missing {
    /// Without a head, nothing in memory counts.
    pub(super) fn of(job: &dyn Work, cache: &Cache, head_known: bool) -> Missing {
        let broken = cache.broken();
        let is_missing = |account| !cache.contains(account) && !broken.accounts.contains_key(&account);
        let mut missing = Missing {
            head: !head_known,
            // Whatever brings a price needs to know whose book holds.
            system: job.priced_by().is_some() && is_missing(AccountId::SYSTEM),
            opener: opening(job).filter(|opener| !is_known(*opener, cache) && !broken.openers.contains_key(opener)),
            ..Missing::default()
        };
        match job.target() {
            Target::Account(account) | Target::New(account) => {
                missing.account = is_missing(account).then_some(account);
            }
            Target::System => missing.system |= is_missing(AccountId::SYSTEM),
            // Who owns a key is known for accounts in memory only.
            Target::KeyOwner(digest) => {
                let unknown = cache.owner(digest).is_none() && !broken.keys.contains_key(&digest);
                missing.digest = unknown.then_some(digest);
            }
        }
        missing
    }

    /// Whether it is of accounts that cannot be in memory.
    pub(super) fn is_of(&self, broken: &Broken) -> bool {
        let accounts = &broken.accounts;
        (self.system && accounts.contains_key(&AccountId::SYSTEM))
            || self.account.is_some_and(|account| accounts.contains_key(&account))
            || self.digest.is_some_and(|digest| broken.keys.contains_key(&digest))
            || self.opener.is_some_and(|opener| broken.openers.contains_key(&opener))
    }

    pub(super) fn is_nothing(&self) -> bool {
        !self.head && !self.system && self.account.is_none() && self.digest.is_none() && self.opener.is_none()
    }
}

impl Loadable {
    pub(super) fn is_outdated(&self, cache: &Cache) -> bool {
        self.overtaken || cache.forgot_since(self.began)
    }
}

impl Wanted {
    /// What these commands need and memory has not, if there is anything.
    pub(super) fn of(jobs: &[Box<dyn Work>], cache: &Cache, head_known: bool) -> Option<Wanted> {
        let mut wanted = None;
        for job in jobs {
            let missing = Missing::of(job.as_ref(), cache, head_known);
            if !missing.is_nothing() {
                wanted.get_or_insert_with(Wanted::default).add(&missing);
            }
        }
        wanted
    }

    fn add(&mut self, missing: &Missing) {
        self.head |= missing.head;
        self.system |= missing.system;
        self.accounts.extend(missing.account);
        self.digests.extend(missing.digest);
        self.openers.extend(missing.opener);
    }

    /// Whether what is missing will not be missed when this was read.
    pub(super) fn has(&self, missing: &Missing) -> bool {
        (self.head || !missing.head)
            && (self.system || !missing.system)
            && missing.account.is_none_or(|account| self.accounts.contains(&account))
            && missing.digest.is_none_or(|digest| self.digests.contains(&digest))
            && missing.opener.is_none_or(|opener| self.openers.contains(&opener))
    }
}

impl Loadings {
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty() && self.unplaced.is_empty() && self.far.is_empty()
    }

    /// Commands that wait.
    pub(super) fn len(&self) -> usize {
        self.under_way.iter().map(|loading| loading.jobs.len()).sum::<usize>() + self.unplaced.len() + self.far.len()
    }

    /// A command waits for a reading that goes further than the one that was made for it.
    pub(super) fn push_far(&mut self, job: Box<dyn Work>) {
        if self.far_waiting() < FAR_WAITING_MAX {
            self.far.push(job);
        } else {
            job.fail(SubmitError::Busy);
        }
    }

    fn far_waiting(&self) -> usize {
        let of_far = self.under_way.iter().filter(|loading| loading.reach == Reach::Far);
        of_far.map(|loading| loading.jobs.len()).sum::<usize>() + self.far.len()
    }

    /// A command waits for what is read already, or for a reading of its own.
    pub(super) fn push(&mut self, job: Box<dyn Work>, missing: &Missing) {
        let far_is_full = self.far_waiting() >= FAR_WAITING_MAX;
        match self.under_way.iter_mut().find(|loading| loading.wanted.has(missing)) {
            Some(loading) if loading.reach == Reach::Far && far_is_full => job.fail(SubmitError::Busy),
            Some(loading) => loading.jobs.push(job),
            None => self.unplaced.push(job),
        }
    }

    /// From when on another reading may begin, if it may at all while these are under way.
    fn place_at(&self) -> Option<Instant> {
        // Who does not know where the log ends learns it with the first reading.
        let head_unknown = self.under_way.iter().any(|loading| loading.wanted.head);
        let mut near = self.under_way.iter().filter(|loading| loading.reach == Reach::Near);
        if head_unknown || near.clone().count() >= AT_ONCE_MAX {
            return None;
        }
        let last = near.next_back();
        Some(last.map_or_else(Instant::now, |last| last.long_at))
    }

    /// Begins to read what the unplaced commands need, all at once, if there is a place.
    pub(super) fn begin(&mut self, log: &Log, cache: &mut Cache, head_known: bool) {
        if !head_known {
            // Where the log ends is learnt near by.
            self.unplaced.append(&mut self.far);
        }
        if !self.unplaced.is_empty() && self.place_at().is_some_and(|at| at <= Instant::now()) {
            let jobs = std::mem::take(&mut self.unplaced);
            self.read(log, cache, head_known, jobs, Reach::Near);
        }
        let far = self.under_way.iter().filter(|loading| loading.reach == Reach::Far);
        if !self.far.is_empty() && far.count() < FAR_AT_ONCE_MAX {
            let jobs = std::mem::take(&mut self.far);
            self.read(log, cache, head_known, jobs, Reach::Far);
        }
    }

    fn read(&mut self, log: &Log, cache: &mut Cache, head_known: bool, jobs: Vec<Box<dyn Work>>, reach: Reach) {
        let wanted = Wanted::of(&jobs, cache, head_known).unwrap_or_default();
        self.under_way.push(Loading {
            jobs,
            began: cache.next_era(),
            long_at: Instant::now() + LONG,
            overtaken: false,
            again: false,
            reach,
            read: AbortOnDropHandle::new(tokio::spawn(read(log.clone(), wanted.clone(), reach))),
            wanted,
        });
    }

    /// What was read is outdated: it is read on.
    pub(super) fn read_on(
        &mut self,
        log: &Log,
        cache: &mut Cache,
        jobs: Vec<Box<dyn Work>>,
        wanted: Wanted,
        before: Read,
    ) {
        let (log, needed) = (log.clone(), wanted.clone());
        let read = async move {
            let loaded = read_on(&log, needed, Reach::Near, before.loaded).await?;
            let head = before.head;
            Ok(Read { head, loaded })
        };
        self.under_way.push(Loading {
            jobs,
            began: cache.next_era(),
            long_at: Instant::now(),
            overtaken: false,
            again: true,
            reach: Reach::Near,
            read: AbortOnDropHandle::new(tokio::spawn(read)),
            wanted,
        });
    }

    /// The log has others' events that this process did not know of: what is being read may be older than they are.
    pub(super) fn note_others(&mut self) {
        self.under_way.iter_mut().for_each(|loading| loading.overtaken = true);
    }

    /// Gives the commands back that nothing is read for yet.
    pub(super) fn take_unplaced(&mut self) -> Vec<Box<dyn Work>> {
        std::mem::take(&mut self.unplaced)
    }

    /// Gives all commands back, and forgets what was being read for them.
    pub(super) fn take_all(&mut self) -> Vec<Box<dyn Work>> {
        let mut jobs: Vec<_> = self.under_way.drain(..).flat_map(|loading| loading.jobs).collect();
        jobs.append(&mut self.unplaced);
        jobs.append(&mut self.far);
        jobs
    }

    /// Waits for the first reading that ends, or until another one may begin for those who wait: `None`. For ever when there is
    /// neither.
    pub(super) async fn next(&mut self) -> Option<Loadable> {
        let place_at = self.place_at().filter(|_| !self.unplaced.is_empty());
        let ended = std::future::poll_fn(|context| self.poll_next(context));
        match place_at {
            Some(at) => tokio::time::timeout_at(at, ended).await.ok(),
            None => Some(ended.await),
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Loadable> {
        for place in 0..self.under_way.len() {
            let Some(loading) = self.under_way.get_mut(place) else {
                break;
            };
            if let Poll::Ready(read) = Pin::new(&mut loading.read).poll(context) {
                let read = match read {
                    Ok(read) => read,
                    Err(ended) => match ended.try_into_panic() {
                        // As if the writer had read by itself.
                        Ok(panic) => std::panic::resume_unwind(panic),
                        // The runtime ends, and everything with it.
                        Err(_) => return Poll::Pending,
                    },
                };
                let loading = self.under_way.remove(place);
                return Poll::Ready(Loadable {
                    jobs: loading.jobs,
                    wanted: loading.wanted,
                    read,
                    again: loading.again,
                    began: loading.began,
                    overtaken: loading.overtaken,
                });
            }
        }
        Poll::Pending
    }
}

/// The key under which a command opens an account, if it does.
fn opening(job: &dyn Work) -> Option<Opener> {
    match job.target() {
        Target::New(_) => Opener::of(&job.by().command),
        Target::Account(_) | Target::KeyOwner(_) | Target::System => None,
    }
}

/// Whether the account that was opened under an idempotency key is in memory. Whether there is none can only the log say. One
/// that is forgotten within a minute is none already: it may be by the time of the decision.
fn is_known(opener: Opener, cache: &Cache) -> bool {
    cache.opened_by(opener, clock::now().plus_seconds(60)).is_some()
}

async fn read(log: Log, wanted: Wanted, reach: Reach) -> Result<Read, ReadError> {
    let head = if wanted.head { Some(log.head().await?) } else { None };
    let loaded = read_on(&log, wanted, reach, Loaded::default()).await?;
    Ok(Read { head, loaded })
}

/// What was read of this, and what the log has of it since. What was away or broken is not read again.
pub(super) async fn read_on(log: &Log, mut wanted: Wanted, reach: Reach, before: Loaded) -> Result<Loaded, ReadError> {
    let mut away = before.broken.accounts;
    away.retain(|_, why| *why != Why::Archived);
    let mut owners = Vec::new();
    if !wanted.digests.is_empty() {
        let digests: Vec<_> = wanted.digests.into_iter().collect();
        owners = log.owners(&digests).await?;
        wanted.accounts.extend(owners.iter().map(|(_, account)| account));
    }
    let (mut opened, mut away_openers) = (Vec::new(), HashMap::new());
    if !wanted.openers.is_empty() {
        let openers: Vec<&str> = wanted.openers.iter().map(Opener::as_str).collect();
        match log.opened_by(&openers).await {
            Ok(found) => opened = found,
            // Young segments are asked as well. Who opens an account under a key waits until they can be.
            Err(error) if error.is_of_archive() => {
                tracing::error!(%error, "accounts that were opened under idempotency keys cannot be looked for");
                away_openers.extend(wanted.openers.drain().map(|opener| (opener, Why::Away)));
            }
            Err(error) => return Err(error),
        }
        wanted.accounts.extend(&opened);
    }
    wanted.accounts.extend(wanted.system.then_some(AccountId::SYSTEM));
    wanted
        .accounts
        .extend(before.accounts.iter().map(|(account, _)| account.id));
    let accounts = wanted
        .accounts
        .into_iter()
        .filter(|account| !away.contains_key(account));
    let accounts: Vec<AccountId> = accounts.collect();
    let mut loaded = if accounts.is_empty() {
        Loaded::default()
    } else {
        load(log, &accounts, reach, before.accounts).await?
    };
    let broken = &mut loaded.broken;
    broken.accounts.extend(away);
    broken.openers.extend(away_openers);
    let why = |account: &AccountId| broken.accounts.get(account).copied();
    let of_broken = owners.iter().filter_map(|(key, owner)| Some((*key, why(owner)?)));
    broken.keys.extend(of_broken);
    if opened.iter().any(|account| why(account).is_some()) {
        // Which of them it is, is asked one by one: this hardly ever happens.
        for opener in wanted.openers {
            let opened = log.opened_by(&[opener.as_str()]).await?;
            if let Some(why) = opened.iter().find_map(why) {
                broken.openers.insert(opener, why);
            }
        }
    }
    let known = |account: &AccountId| loaded.accounts.iter().any(|(there, _)| there.id == *account);
    // Nothing is true for all yet: to know that is to know it.
    if wanted.system && !known(&AccountId::SYSTEM) && !loaded.broken.accounts.contains_key(&AccountId::SYSTEM) {
        let nothing = Account::nobody(AccountId::SYSTEM);
        loaded.accounts.push((nothing, Seq::START));
    }
    Ok(loaded)
}
