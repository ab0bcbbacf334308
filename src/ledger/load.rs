//! Loading accounts into memory: a snapshot where there is one, and the later events, many accounts in one query.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use keyledger_events::{AccountId, KeyDigest, Seq};

use super::account::{Account, STATE_FORMAT};
use super::opener::Opener;
use crate::log::{AccountHistory, DataKeyFound, Log, ReadError, Stored, opened};

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

/// Why an account cannot be in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// One of its events cannot be read, or cannot follow the one before it.
    Broken,
    /// Its archived events or its data key cannot be had at the moment.
    Away,
    /// It has archived events, which this reading did not go for.
    Archived,
}

/// How far a reading goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// To Postgres, which is near.
    Near,
    /// To wherever segments of the archive are.
    Far,
}

/// Accounts that cannot be in memory.
#[derive(Debug, Default)]
pub(super) struct Broken {
    pub accounts: HashMap<AccountId, Why>,
    /// Of their keys, those that were asked for. They are not unknown keys.
    pub keys: HashMap<KeyDigest, Why>,
    /// Under which they were opened, of those that were asked for. Nothing is opened under them again.
    pub openers: HashMap<Opener, Why>,
}

impl Broken {
    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Takes those out that were not gone for.
    pub(super) fn take_archived(&mut self) -> Broken {
        fn archived<K: Eq + Hash>(from: &mut HashMap<K, Why>) -> HashMap<K, Why> {
            from.extract_if(|_, why| *why == Why::Archived).collect()
        }
        Broken {
            accounts: archived(&mut self.accounts),
            keys: archived(&mut self.keys),
            openers: archived(&mut self.openers),
        }
    }

    pub(super) fn extend(&mut self, more: Broken) {
        self.accounts.extend(more.accounts);
        self.keys.extend(more.keys);
        self.openers.extend(more.openers);
    }
}

/// Loads these accounts; one without a history is in neither list. Of those that were loaded `before`, only what came since.
pub(super) async fn load(
    log: &Log,
    wanted: &[AccountId],
    reach: Reach,
    before: Vec<(Account, Seq)>,
) -> Result<Loaded, ReadError> {
    let mut loaded = load_with_keys(log, wanted, (reach, true), before).await?;
    let broken = loaded.broken.accounts.extract_if(|_, why| *why == Why::Broken);
    let again: Vec<AccountId> = broken.map(|(account, _)| account).collect();
    if !again.is_empty() {
        // A bad snapshot is no reason to keep a customer out: the events alone decide.
        loaded.extend(load_with_keys(log, &again, (reach, false), Vec::new()).await?);
    }
    Ok(loaded)
}

/// The same, without a second look at what is broken: an account whose data key was made while it was read is read again.
async fn load_with_keys(
    log: &Log,
    wanted: &[AccountId],
    how: (Reach, bool),
    before: Vec<(Account, Seq)>,
) -> Result<Loaded, ReadError> {
    let mut loaded = load_from(log, wanted, how, before).await?;
    if !loaded.late.is_empty() {
        let late = std::mem::take(&mut loaded.late);
        loaded.accounts.retain(|(account, _)| !late.contains(&account.id));
        loaded.broken.accounts.retain(|account, _| !late.contains(account));
        let late: Vec<AccountId> = late.into_iter().collect();
        loaded.extend(load_from(log, &late, how, Vec::new()).await?);
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
    (reach, with_snapshots): (Reach, bool),
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
    let unusable = keys.iter().filter(|(_, key)| matches!(key, DataKeyFound::Unusable));
    broken
        .accounts
        .extend(unusable.map(|(account, _)| (*account, Why::Away)));
    let mut each = |id, stored: Stored| {
        if broken.accounts.contains_key(&id) {
            return Ok(());
        }
        let mut recorded = match stored.decode() {
            Ok(recorded) => recorded,
            Err(error) => {
                tracing::error!(account = %id, position = %stored.position, %error, "an event cannot be read");
                broken.accounts.insert(id, Why::Broken);
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
            broken.accounts.insert(id, Why::Broken);
        }
        Ok(())
    };
    let archived = log.read_accounts(&histories, &mut each).await?;
    // Most commands need the platform's own: whoever waits for them waits for them wherever they are.
    let (far, archived): (Vec<_>, Vec<_>) = archived
        .into_iter()
        .partition(|history| reach == Reach::Far || history.account == AccountId::SYSTEM);
    for (account, error) in log.read_archived_accounts(far, &mut each).await? {
        tracing::error!(%account, %error, "an account's archived events cannot be read");
        broken.accounts.insert(account, Why::Away);
    }
    let archived = archived.into_iter().map(|history| (history.account, Why::Archived));
    broken.accounts.extend(archived);
    let accounts = states
        .into_values()
        .filter(|(account, _)| !broken.accounts.contains_key(&account.id))
        .collect();
    Ok(Loaded {
        accounts,
        broken,
        keys,
        late,
    })
}
