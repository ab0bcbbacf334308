//! Commands whose accounts are not in memory, while those are read from the log.

use std::collections::HashSet;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use keyledger_events::{AccountId, KeyDigest, Seq};

use super::account::Account;
use super::cache::Cache;
use super::command::Target;
use super::load::{Loaded, load};
use super::opener::Opener;
use super::work::Work;
use crate::clock;
use crate::log::{Head, Log, ReadError};

/// Completes when the accounts are read.
pub(super) struct Loading {
    pub jobs: Vec<Box<dyn Work>>,
    read: BoxFuture<'static, Result<Read, ReadError>>,
}

pub(super) struct Read {
    /// Where the log stood before the accounts were read, if that was asked for.
    pub head: Option<Head>,
    pub loaded: Loaded,
}

/// What has to be read for some commands.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub head: bool,
    system: bool,
    accounts: HashSet<AccountId>,
    digests: HashSet<KeyDigest>,
    openers: HashSet<Opener>,
}

impl Wanted {
    /// Adds what a command needs and memory has not. Says whether that is anything.
    pub(super) fn add(&mut self, target: Target, cache: &Cache) -> bool {
        match target {
            Target::Account(account) | Target::New(account) => {
                let absent = !cache.contains(account);
                if absent {
                    self.accounts.insert(account);
                }
                absent
            }
            Target::System => {
                let absent = !cache.contains(AccountId::SYSTEM);
                self.system |= absent;
                absent
            }
            // Who owns a key is known for accounts in memory only.
            Target::KeyOwner(digest) => {
                let absent = cache.owner(digest).is_none();
                if absent {
                    self.digests.insert(digest);
                }
                absent
            }
        }
    }
}

impl Wanted {
    /// Adds the account that was opened under an idempotency key, if one was. Whether there is none can only the log say.
    /// One that is forgotten within a minute is none already: it may be by the time of the decision.
    pub(super) fn add_opener(&mut self, opener: Opener, cache: &Cache) -> bool {
        let absent = cache.opened_by(opener, clock::now().plus_seconds(60)).is_none();
        if absent {
            self.openers.insert(opener);
        }
        absent
    }
}

impl Loading {
    pub(super) fn start(log: Log, jobs: Vec<Box<dyn Work>>, wanted: Wanted) -> Loading {
        Loading {
            jobs,
            read: async move { read(&log, wanted).await }.boxed(),
        }
    }
}

/// Waits for what was read; the commands stay inside.
impl Future for Loading {
    type Output = Result<Read, ReadError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.read.poll_unpin(context)
    }
}

pub(super) async fn read(log: &Log, mut wanted: Wanted) -> Result<Read, ReadError> {
    let head = if wanted.head { Some(log.head().await?) } else { None };
    if !wanted.digests.is_empty() {
        let digests: Vec<_> = wanted.digests.into_iter().collect();
        let owners = log.owners(&digests).await?;
        wanted.accounts.extend(owners.into_iter().map(|(_, account)| account));
    }
    if !wanted.openers.is_empty() {
        let openers: Vec<&str> = wanted.openers.iter().map(Opener::as_str).collect();
        wanted.accounts.extend(log.opened_by(&openers).await?);
    }
    wanted.accounts.extend(wanted.system.then_some(AccountId::SYSTEM));
    let accounts: Vec<AccountId> = wanted.accounts.into_iter().collect();
    let mut loaded = if accounts.is_empty() {
        Loaded::default()
    } else {
        load(log, &accounts).await?
    };
    let known = |account: &AccountId| loaded.accounts.iter().any(|(there, _)| there.id == *account);
    // Nothing is true for all yet: to know that is to know it.
    if wanted.system && !known(&AccountId::SYSTEM) && !loaded.broken.contains(&AccountId::SYSTEM) {
        let nothing = Account::nobody(AccountId::SYSTEM);
        loaded.accounts.push((nothing, Seq::START));
    }
    Ok(Read { head, loaded })
}
