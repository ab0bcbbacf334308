//! Commands whose accounts are not in memory, while those are read from the log: a few readings at once, so that an account
//! with a long history keeps only those waiting who came together with whoever asked for it.
//!
//! Promise: what is decided on is true of the log up to where this process believes it to end. Who is in memory is newer than what
//! is read. When others' events have moved that end since a reading began, or an account that this process changed since then was
//! forgotten, what was read is outdated: it is read on from there.

use std::collections::HashSet;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use keyledger_events::{AccountId, KeyDigest, Seq};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::account::Account;
use super::cache::{Cache, Era};
use super::command::Target;
use super::load::{Loaded, load};
use super::opener::Opener;
use super::work::Work;
use crate::clock;
use crate::log::{Head, Log, ReadError};

/// Readings at once. Each takes a connection beside the one that appends.
const AT_ONCE_MAX: usize = 3;
/// The commands that come during a reading share the next one, which is cheaper for all. When it takes longer than this, theirs
/// begins beside it.
const LONG: Duration = Duration::from_millis(5);

/// The readings under way, and the commands that wait for one.
#[derive(Default)]
pub(super) struct Loadings {
    under_way: Vec<Loading>,
    /// Commands that nothing is read for yet.
    unplaced: Vec<Box<dyn Work>>,
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
        let is_missing = |account| !cache.contains(account) && !broken.accounts.contains(&account);
        let mut missing = Missing {
            head: !head_known,
            // Whatever brings a price needs to know whose book holds.
            system: job.priced_by().is_some() && is_missing(AccountId::SYSTEM),
            opener: opening(job).filter(|opener| !is_known(*opener, cache) && !broken.openers.contains(opener)),
            ..Missing::default()
        };
        match job.target() {
            Target::Account(account) | Target::New(account) => {
                missing.account = is_missing(account).then_some(account);
            }
            Target::System => missing.system |= is_missing(AccountId::SYSTEM),
            // Who owns a key is known for accounts in memory only.
            Target::KeyOwner(digest) => {
                let unknown = cache.owner(digest).is_none() && !broken.keys.contains(&digest);
                missing.digest = unknown.then_some(digest);
            }
        }
        missing
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
        self.under_way.is_empty() && self.unplaced.is_empty()
    }

    /// Commands that wait.
    pub(super) fn len(&self) -> usize {
        self.under_way.iter().map(|loading| loading.jobs.len()).sum::<usize>() + self.unplaced.len()
    }

    /// A command waits for what is read already, or for a reading of its own.
    pub(super) fn push(&mut self, job: Box<dyn Work>, missing: &Missing) {
        match self.under_way.iter_mut().find(|loading| loading.wanted.has(missing)) {
            Some(loading) => loading.jobs.push(job),
            None => self.unplaced.push(job),
        }
    }

    /// From when on another reading may begin, if it may at all while these are under way.
    fn place_at(&self) -> Option<Instant> {
        // Who does not know where the log ends learns it with the first reading.
        let head_unknown = self.under_way.iter().any(|loading| loading.wanted.head);
        if self.under_way.len() >= AT_ONCE_MAX || head_unknown {
            return None;
        }
        let last = self.under_way.last();
        Some(last.map_or_else(Instant::now, |last| last.long_at))
    }

    /// Begins to read what the unplaced commands need, all at once, if there is a place.
    pub(super) fn begin(&mut self, log: &Log, cache: &mut Cache, head_known: bool) {
        if self.unplaced.is_empty() || self.place_at().is_none_or(|at| at > Instant::now()) {
            return;
        }
        let jobs = std::mem::take(&mut self.unplaced);
        let wanted = Wanted::of(&jobs, cache, head_known).unwrap_or_default();
        self.under_way.push(Loading {
            jobs,
            began: cache.next_era(),
            long_at: Instant::now() + LONG,
            overtaken: false,
            again: false,
            read: AbortOnDropHandle::new(tokio::spawn(read(log.clone(), wanted.clone()))),
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
            let loaded = read_on(&log, needed, before.loaded).await?;
            let head = before.head;
            Ok(Read { head, loaded })
        };
        self.under_way.push(Loading {
            jobs,
            began: cache.next_era(),
            long_at: Instant::now(),
            overtaken: false,
            again: true,
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

async fn read(log: Log, wanted: Wanted) -> Result<Read, ReadError> {
    let head = if wanted.head { Some(log.head().await?) } else { None };
    let loaded = read_on(&log, wanted, Loaded::default()).await?;
    Ok(Read { head, loaded })
}

/// What was read of this, and what the log has of it since.
pub(super) async fn read_on(log: &Log, mut wanted: Wanted, before: Loaded) -> Result<Loaded, ReadError> {
    let mut owners = Vec::new();
    if !wanted.digests.is_empty() {
        let digests: Vec<_> = wanted.digests.into_iter().collect();
        owners = log.owners(&digests).await?;
        wanted.accounts.extend(owners.iter().map(|(_, account)| account));
    }
    let mut opened = Vec::new();
    if !wanted.openers.is_empty() {
        let openers: Vec<&str> = wanted.openers.iter().map(Opener::as_str).collect();
        opened = log.opened_by(&openers).await?;
        wanted.accounts.extend(&opened);
    }
    wanted.accounts.extend(wanted.system.then_some(AccountId::SYSTEM));
    wanted
        .accounts
        .extend(before.accounts.iter().map(|(account, _)| account.id));
    let accounts: Vec<AccountId> = wanted.accounts.into_iter().collect();
    let mut loaded = if accounts.is_empty() {
        Loaded::default()
    } else {
        load(log, &accounts, before.accounts).await?
    };
    let broken = &mut loaded.broken;
    let of_broken = owners.iter().filter(|(_, owner)| broken.accounts.contains(owner));
    broken.keys.extend(of_broken.map(|(key, _)| *key));
    if opened.iter().any(|account| broken.accounts.contains(account)) {
        // Which of them it is, is asked one by one: this hardly ever happens.
        for opener in wanted.openers {
            let opened = log.opened_by(&[opener.as_str()]).await?;
            if opened.iter().any(|account| broken.accounts.contains(account)) {
                broken.openers.insert(opener);
            }
        }
    }
    let known = |account: &AccountId| loaded.accounts.iter().any(|(there, _)| there.id == *account);
    // Nothing is true for all yet: to know that is to know it.
    if wanted.system && !known(&AccountId::SYSTEM) && !loaded.broken.accounts.contains(&AccountId::SYSTEM) {
        let nothing = Account::nobody(AccountId::SYSTEM);
        loaded.accounts.push((nothing, Seq::START));
    }
    Ok(loaded)
}
