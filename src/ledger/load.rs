//! Loading accounts into memory: a snapshot where there is one, and the later events, many accounts in one query.

use std::collections::{HashMap, HashSet};

use keyledger_events::{AccountId, Seq};

use super::account::{Account, STATE_FORMAT};
use crate::log::{AccountHistory, DataKeyFound, Log, ReadError, opened};

/// What loading found.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// Accounts with a history, and how far each one's snapshot reached.
    pub accounts: Vec<(Account, Seq)>,
    /// Accounts whose events cannot follow each other.
    pub broken: HashSet<AccountId>,
    /// Data keys of those that have one.
    pub keys: HashMap<AccountId, DataKeyFound>,
    /// Accounts whose data key was made while they were read.
    late: HashSet<AccountId>,
}

/// Loads these accounts; one without a history is in neither list. Of those that were loaded `before`, only what came since.
pub(super) async fn load(log: &Log, wanted: &[AccountId], before: Vec<(Account, Seq)>) -> Result<Loaded, ReadError> {
    let mut loaded = load_from(log, wanted, true, before).await?;
    if !loaded.late.is_empty() {
        let late = std::mem::take(&mut loaded.late);
        loaded.accounts.retain(|(account, _)| !late.contains(&account.id));
        let late: Vec<AccountId> = late.into_iter().collect();
        let again = load_from(log, &late, true, Vec::new()).await?;
        loaded.accounts.extend(again.accounts);
        loaded.broken.extend(again.broken);
        loaded.keys.extend(again.keys);
    }
    if !loaded.broken.is_empty() {
        // A bad snapshot is no reason to keep a customer out: the events alone decide.
        let again: Vec<AccountId> = loaded.broken.drain().collect();
        let whole = load_from(log, &again, false, Vec::new()).await?;
        loaded.accounts.extend(whole.accounts);
        loaded.broken = whole.broken;
        loaded.keys.extend(whole.keys);
    }
    Ok(loaded)
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
    let mut broken = HashSet::new();
    log.read_accounts(&histories, |stored| {
        let mut recorded = match stored.decode() {
            Ok(recorded) => recorded,
            Err(error) => {
                tracing::error!(position = %stored.position, %error, "an event cannot be read");
                return Err(ReadError::Corrupt {
                    what: "an event that cannot be read",
                });
            }
        };
        if broken.contains(&recorded.account) {
            return Ok(());
        }
        let key = keys.get(&recorded.account);
        if recorded.sealed.is_some() && key.is_none() {
            late.insert(recorded.account);
        }
        opened(&mut recorded, key)?;
        let (account, _) = states
            .entry(recorded.account)
            .or_insert_with(|| (Account::nobody(recorded.account), Seq::START));
        if let Err(inconsistent) = account.evolve(&recorded) {
            tracing::error!(%inconsistent, "an account's history cannot be folded");
            broken.insert(recorded.account);
        }
        Ok(())
    })
    .await?;
    let accounts = states
        .into_values()
        .filter(|(account, _)| !broken.contains(&account.id))
        .collect();
    Ok(Loaded {
        accounts,
        broken,
        keys,
        late,
    })
}
