//! The key list: what the settings page shows of every key.

use std::collections::{BTreeMap, BTreeSet};

use keyledger_events::{
    AccountId, Actor, CallRate, DeleteReason, Environment, Event, KeyCreated, KeyId, KeyName, Recorded, Scopes,
    SpendingLimit, Timestamp,
};

use serde::{Deserialize, Serialize};

use crate::{Changes, FoldError, Rows, add};

/// A key as its customer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    pub account: AccountId,
    pub key: KeyId,
    pub name: KeyName,
    pub preview: String,
    pub environment: Environment,
    pub created_at: Timestamp,
    pub created_by: Actor,
    pub expires_at: Option<Timestamp>,
    pub deleted: Option<(Timestamp, DeleteReason)>,
    pub replaces: Option<KeyId>,
    /// Who takes its place, and when it stops.
    pub rotated: Option<(KeyId, Timestamp)>,
    /// The endpoints that the key is for. `None`: all of them.
    pub scopes: Option<Scopes>,
    /// How often the key may call. `None`: as often as any.
    pub rate_limit: Option<CallRate>,
    /// What the key may spend. `None`: all there is.
    pub spending_limit: Option<SpendingLimit>,
    /// When the key was last let through to fetch data.
    pub last_used_at: Option<Timestamp>,
    pub uses: i64,
    pub denied: Option<Denied>,
}

/// Uses that were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// The last day, UTC, on which one was written down, and how many on it.
    pub day: Timestamp,
    pub count: i64,
}

/// A later day begins anew; time does not run backwards in a shard.
fn denied(before: Option<Denied>, more: Option<Denied>) -> Result<Option<Denied>, &'static str> {
    match (before, more) {
        (Some(before), Some(more)) if before.day == more.day => {
            let count = before
                .count
                .checked_add(more.count)
                .ok_or("a count leaves its bounds")?;
            Ok(Some(Denied { count, ..more }))
        }
        (before, more) => Ok(more.or(before)),
    }
}

/// What changes in a key's row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyChange {
    pub name: Option<KeyName>,
    pub deleted: Option<(Timestamp, DeleteReason)>,
    pub rotated: Option<(KeyId, Timestamp)>,
    pub last_used_at: Option<Timestamp>,
    pub uses: i64,
    pub denied: Option<Denied>,
    /// What it may spend from now on, where that changed.
    pub spending_limit: Option<Option<SpendingLimit>>,
}

/// New rows, and changes to rows that were there before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyListChanges {
    pub created: BTreeMap<(AccountId, KeyId), KeyRow>,
    pub changed: BTreeMap<(AccountId, KeyId), KeyChange>,
    /// Accounts whose keys have lost their names.
    pub erased: BTreeSet<AccountId>,
}

impl KeyListChanges {
    /// Takes all names of an account's keys away. Nothing names one afterwards: the account is closed.
    fn erase(&mut self, account: AccountId) {
        for ((_, _), row) in self.created.iter_mut().filter(|((of, _), _)| *of == account) {
            row.name = KeyName::erased();
        }
        for ((_, _), change) in self.changed.iter_mut().filter(|((of, _), _)| *of == account) {
            change.name = None;
        }
        self.erased.insert(account);
    }

    fn change(&mut self, account: AccountId, key: KeyId, change: KeyChange, at: &Recorded) -> Result<(), FoldError> {
        if let Some(row) = self.created.get_mut(&(account, key)) {
            return merge_into_row(row, change).map_err(|why| FoldError {
                position: at.position,
                why,
            });
        }
        let before = self.changed.entry((account, key)).or_default();
        before.name = change.name.or(before.name.take());
        before.deleted = before.deleted.or(change.deleted);
        before.rotated = before.rotated.or(change.rotated);
        before.last_used_at = before.last_used_at.max(change.last_used_at);
        before.spending_limit = change.spending_limit.or(before.spending_limit);
        before.denied = denied(before.denied, change.denied).map_err(|why| FoldError {
            position: at.position,
            why,
        })?;
        add(&mut before.uses, change.uses, at.position)
    }
}

fn merge_into_row(row: &mut KeyRow, change: KeyChange) -> Result<(), &'static str> {
    if let Some(name) = change.name {
        row.name = name;
    }
    row.deleted = row.deleted.or(change.deleted);
    row.rotated = row.rotated.or(change.rotated);
    row.last_used_at = row.last_used_at.max(change.last_used_at);
    row.spending_limit = change.spending_limit.unwrap_or(row.spending_limit);
    row.denied = denied(row.denied, change.denied)?;
    row.uses = row.uses.checked_add(change.uses).ok_or("a count leaves its bounds")?;
    Ok(())
}

fn row(account: AccountId, created: &KeyCreated, recorded: &Recorded) -> KeyRow {
    KeyRow {
        account,
        key: created.key,
        name: created.name.clone(),
        preview: created.preview.clone(),
        environment: created.environment,
        created_at: recorded.time,
        created_by: recorded.actor,
        expires_at: created.expires_at,
        deleted: None,
        replaces: created.replaces,
        rotated: None,
        scopes: created.scopes.clone(),
        rate_limit: created.rate_limit,
        spending_limit: created.spending_limit,
        last_used_at: None,
        uses: 0,
        denied: None,
    }
}

impl Changes for KeyListChanges {
    fn fold(&mut self, recorded: &Recorded) -> Result<(), FoldError> {
        let (account, at) = (recorded.account, recorded.time);
        match &recorded.event {
            Event::KeyCreated(e) => match self.created.insert((account, e.key), row(account, e, recorded)) {
                None => Ok(()),
                Some(_) => Err(FoldError {
                    position: recorded.position,
                    why: "the key is there already",
                }),
            },
            Event::PersonalDataErased(_) => {
                self.erase(account);
                Ok(())
            }
            Event::KeyRenamed(e) => self.change(
                account,
                e.key,
                KeyChange {
                    name: Some(e.name.clone()),
                    ..KeyChange::default()
                },
                recorded,
            ),
            Event::KeyDeleted(e) => {
                let change = KeyChange {
                    deleted: Some((at, e.reason)),
                    ..KeyChange::default()
                };
                self.change(account, e.key, change, recorded)
            }
            Event::KeyRotated(e) => {
                let change = KeyChange {
                    rotated: Some((e.successor, e.stops_at)),
                    ..KeyChange::default()
                };
                self.change(account, e.key, change, recorded)
            }
            Event::KeyUsed(e) => {
                let change = KeyChange {
                    last_used_at: Some(at),
                    uses: 1,
                    ..KeyChange::default()
                };
                self.change(account, e.key, change, recorded)
            }
            Event::KeySpendingLimited(e) => {
                let change = KeyChange {
                    spending_limit: Some(e.limit),
                    ..KeyChange::default()
                };
                self.change(account, e.key, change, recorded)
            }
            Event::KeyUseDenied(e) => {
                let count = i64::try_from(e.count).map_err(|_| FoldError {
                    position: recorded.position,
                    why: "a count leaves its bounds",
                })?;
                let denied = Denied {
                    day: at.start_of_day(),
                    count,
                };
                let change = KeyChange {
                    denied: Some(denied),
                    ..KeyChange::default()
                };
                self.change(account, e.key, change, recorded)
            }
            Event::AccountOpened(_)
            | Event::TokenCreated(_)
            | Event::TokenRevoked(_)
            | Event::PortalSessionInvited(_)
            | Event::OperatorSessionInvited(_)
            | Event::PricesPublished(_)
            | Event::ThresholdsSet(_)
            | Event::ThresholdReached(_)
            | Event::PlanStarted(_)
            | Event::PlanEnded(_)
            | Event::GrantStarted(_)
            | Event::CreditsCorrected(_)
            | Event::AccountClosed(_)
            | Event::AccountRenamed(_)
            | Event::ExternalRefChanged(_)
            | Event::CreditLimitChanged(_)
            | Event::CreditsGranted(_)
            | Event::CreditsExpired(_)
            | Event::CreditsReserved(_)
            | Event::CreditsCharged(_)
            | Event::CreditsReleased(_)
            | Event::CreditsRefunded(_) => Ok(()),
        }
    }

    fn rows(&self) -> usize {
        self.created.len() + self.changed.len() + self.erased.len()
    }
}

/// Every key, by account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyListRows(pub BTreeMap<(AccountId, KeyId), KeyRow>);

impl Rows for KeyListRows {
    type Changes = KeyListChanges;

    fn apply(&mut self, changes: KeyListChanges) -> Result<(), &'static str> {
        for (id, row) in changes.created {
            if self.0.insert(id, row).is_some() {
                return Err("the key is there already");
            }
        }
        for (id, change) in changes.changed {
            merge_into_row(self.0.get_mut(&id).ok_or("there is no such key")?, change)?;
        }
        for ((account, _), row) in &mut self.0 {
            if changes.erased.contains(account) {
                row.name = KeyName::erased();
            }
        }
        Ok(())
    }
}
