//! Loading accounts into memory: a snapshot where there is one, and the later events, many accounts in one query.

use std::collections::{HashMap, HashSet};

use keyledger_events::{AccountId, KeyDigest, Seq};

use super::account::{Account, STATE_FORMAT};
use super::opener::Opener;
use crate::log::{AccountHistory, DataKeyFound, Log, ReadError, opened};

/// What loading found.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// Accounts with a history, and how far each one's snapshot reached.
    pub accounts: Vec<(Account, Seq)>,
    pub broken: Broken,
    /// Data keys of those that have one.
    pub keys: HashMap<AccountId, DataKeyFound>,
    /// Accounts whose data key was made while they were read.
    late: HashSet<AccountId>,
}

/// Accounts that cannot be in memory: one of their events cannot be read, or cannot follow the one before it.
#[derive(Debug, Default)]
pub(super) struct Broken {
    pub accounts: HashSet<AccountId>,
    /// Of their keys, those that were asked for. They are not unknown keys.
    pub keys: HashSet<KeyDigest>,
    /// Under which they were opened, of those that were asked for. Nothing is opened under them again.
    pub openers: HashSet<Opener>,
}

impl Broken {
    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    pub(super) fn extend(&mut self, more: Broken) {
        self.accounts.extend(more.accounts);
        self.keys.extend(more.keys);
        self.openers.extend(more.openers);
    }
}

/// Loads these accounts; one without a history is in neither list. Of those that were loaded `before`, only what came since.
pub(super) async fn load(log: &Log, wanted: &[AccountId], before: Vec<(Account, Seq)>) -> Result<Loaded, ReadError> {
    let mut loaded = load_with_keys(log, wanted, true, before).await?;
    if !loaded.broken.is_empty() {
        // A bad snapshot is no reason to keep a customer out: the events alone decide.
        let again: Vec<AccountId> = loaded.broken.accounts.drain().collect();
        loaded.extend(load_with_keys(log, &again, false, Vec::new()).await?);
    }
    Ok(loaded)
}

/// The same, without a second look at what is broken: an account whose data key was made while it was read is read again.
async fn load_with_keys(
    log: &Log,
    wanted: &[AccountId],
    with_snapshots: bool,
    before: Vec<(Account, Seq)>,
) -> Result<Loaded, ReadError> {
    let mut loaded = load_from(log, wanted, with_snapshots, before).await?;
    if !loaded.late.is_empty() {
        let late = std::mem::take(&mut loaded.late);
        loaded.accounts.retain(|(account, _)| !late.contains(&account.id));
        loaded.broken.accounts.retain(|account| !late.contains(account));
        let late: Vec<AccountId> = late.into_iter().collect();
        loaded.extend(load_from(log, &late, with_snapshots, Vec::new()).await?);
    }
    Ok(loaded)
}

impl Loaded {
    fn extend(&mut self, more: Loaded) {
        self.accounts.extend(more.accounts);
        self.broken.extend(more.broken);
        self.keys.extend(more.keys);
    }
}

async fn load_from(
    log: &Log,
    wanted: &[AccountId],
    with_snapshots: bool,
    before: Vec<(Account, Seq)>,
) -> Result<Loaded, ReadError> {
    let (snapshots, keys) = log.shortcuts(wanted, with_snapshots.then_some(STATE_FORMAT)).await?;
    let mut late = HashSet::new();
    let mut states: HashMap<AccountId, (Account, Seq)> = HashMap::new();
    for snapshot in snapshots {
        match serde_json::from_slice::<Account>(&snapshot.state) {
            Ok(account) if account.id == snapshot.account && account.seq == snapshot.seq => {
                states.insert(account.id, (account, snapshot.seq));
            }
            Ok(_) | Err(_) => {
                tracing::warn!(account = %snapshot.account, "a snapshot cannot be read; reading the events")
            }
        }
    }
    states.extend(
        before
            .into_iter()
            .map(|(account, snapshot)| (account.id, (account, snapshot))),
    );
    let histories: Vec<AccountHistory> = wanted
        .iter()
        .map(|id| AccountHistory {
            account: *id,
            after: states.get(id).map_or(Seq::START, |(account, _)| account.seq),
        })
        .collect();
    let mut broken = Broken::default();
    log.read_accounts(&histories, |id, stored| {
        if broken.accounts.contains(&id) {
            return Ok(());
        }
        let mut recorded = match stored.decode() {
            Ok(recorded) => recorded,
            Err(error) => {
                tracing::error!(account = %id, position = %stored.position, %error, "an event cannot be read");
                broken.accounts.insert(id);
                return Ok(());
            }
        };
        let key = keys.get(&id);
        if recorded.sealed.is_some() && key.is_none() {
            late.insert(id);
        }
        opened(&mut recorded, key)?;
        let (account, _) = states.entry(id).or_insert_with(|| (Account::nobody(id), Seq::START));
        if let Err(inconsistent) = account.evolve(&recorded) {
            tracing::error!(%inconsistent, "an account's history cannot be folded");
            broken.accounts.insert(id);
        }
        Ok(())
    })
    .await?;
    let accounts = states
        .into_values()
        .filter(|(account, _)| !broken.accounts.contains(&account.id))
        .collect();
    Ok(Loaded {
        accounts,
        broken,
        keys,
        late,
    })
}
