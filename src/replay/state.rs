//! An account's state: the rows that the views have of it.

use std::collections::BTreeMap;

use keyledger_events::{AccountId, Credits, GrantId, KeyId, PlanId, Position, Recorded, Seq, Timestamp};
use keyledger_projections::{
    AccountRow, BalanceChanges, BalanceRows, Changes as _, FoldError, GrantRow, KeyListChanges, KeyListRows, KeyRow,
    PlanRow, Rows as _,
};
use serde::{Deserialize, Serialize};

/// An account after one of its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct AccountState {
    account: AccountId,
    pub seq: Seq,
    /// Of the last event, as its time.
    pub position: Position,
    pub at: Timestamp,
    balance: BalanceRows,
    keys: KeyListRows,
}

/// An account's sums as they were. `granted` = `available` + `bound` + `later` + `reserved` + `charged` − `refunded` +
/// `expired` + `corrected`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BalanceThen {
    pub available: Credits,
    /// Left of grants that burn on some endpoints only.
    pub bound: Credits,
    /// Of grants that were to take effect later.
    pub later: Credits,
    pub reserved: Credits,
    pub granted: Credits,
    pub charged: Credits,
    pub refunded: Credits,
    pub expired: Credits,
    pub corrected: Credits,
}

/// The state as a mark keeps it: rows in lists, because JSON has no other keys than texts.
#[derive(Clone, Serialize, Deserialize)]
struct Written {
    account: AccountId,
    seq: Seq,
    position: Position,
    at: Timestamp,
    row: Option<AccountRow>,
    grants: Vec<GrantRow>,
    plans: Vec<PlanRow>,
    keys: Vec<KeyRow>,
}

impl From<AccountState> for Written {
    fn from(state: AccountState) -> Written {
        Written {
            account: state.account,
            seq: state.seq,
            position: state.position,
            at: state.at,
            row: state.balance.accounts.into_values().next(),
            grants: state.balance.grants.into_values().collect(),
            plans: state.balance.plans.into_values().collect(),
            keys: state.keys.0.into_values().collect(),
        }
    }
}

impl From<Written> for AccountState {
    fn from(written: Written) -> AccountState {
        let account = written.account;
        let grants: BTreeMap<(AccountId, GrantId), _> = written
            .grants
            .into_iter()
            .map(|row| ((account, row.grant), row))
            .collect();
        let plans: BTreeMap<(AccountId, PlanId), _> = written
            .plans
            .into_iter()
            .map(|row| ((account, row.plan), row))
            .collect();
        let keys: BTreeMap<(AccountId, KeyId), _> =
            written.keys.into_iter().map(|row| ((account, row.key), row)).collect();
        AccountState {
            account,
            seq: written.seq,
            position: written.position,
            at: written.at,
            balance: BalanceRows {
                accounts: written.row.into_iter().map(|row| (account, row)).collect(),
                grants,
                plans,
            },
            keys: KeyListRows(keys),
        }
    }
}

impl AccountState {
    /// Before the first event.
    pub fn nobody(account: AccountId) -> AccountState {
        AccountState {
            account,
            seq: Seq::START,
            position: Position::START,
            at: Timestamp::EPOCH,
            balance: BalanceRows::default(),
            keys: KeyListRows::default(),
        }
    }

    /// Folds the next event.
    pub fn fold(&mut self, recorded: &Recorded) -> Result<(), FoldError> {
        self.fold_all(std::slice::from_ref(recorded))
    }

    /// Folds the next events, in order.
    pub fn fold_all(&mut self, events: &[Recorded]) -> Result<(), FoldError> {
        let (mut balance, mut keys) = (BalanceChanges::default(), KeyListChanges::default());
        for recorded in events {
            let broken = |why| FoldError {
                position: recorded.position,
                why,
            };
            if recorded.account != self.account || recorded.seq != self.seq.next() {
                return Err(broken("it is not the account's next event"));
            }
            balance.fold(recorded)?;
            keys.fold(recorded)?;
            (self.seq, self.position, self.at) = (recorded.seq, recorded.position, recorded.time);
        }
        let broken = |why| FoldError {
            position: self.position,
            why,
        };
        self.balance.apply(balance).map_err(broken)?;
        self.keys.apply(keys).map_err(broken)
    }

    pub fn account(&self) -> AccountId {
        self.account
    }

    /// What it was called and might do. `None` of the system's own history.
    pub fn row(&self) -> Option<&AccountRow> {
        self.balance.accounts.get(&self.account)
    }

    /// Grants, used up ones among them, in the order of their ids.
    pub fn grants(&self) -> impl Iterator<Item = &GrantRow> {
        self.balance.grants.values()
    }

    pub fn plans(&self) -> impl Iterator<Item = &PlanRow> {
        self.balance.plans.values()
    }

    /// Keys, dead ones among them, the oldest first.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &KeyRow> {
        self.keys.0.values()
    }

    pub fn key(&self, key: KeyId) -> Option<&KeyRow> {
        self.keys.0.get(&(self.account, key))
    }

    /// `None` of the system's own history, and where a sum is beyond all bounds.
    pub fn balance(&self) -> Option<BalanceThen> {
        let sums = &self.row()?.sums;
        let aside = |wanted: fn(&GrantRow) -> bool| -> i64 {
            let grants = self.grants().filter(|grant| wanted(grant));
            grants.map(|grant| grant.sums.remaining).sum()
        };
        let later = aside(|grant| !grant.sums.started);
        let bound = aside(|grant| grant.sums.started && grant.endpoints.is_some());
        Some(BalanceThen {
            available: Credits::from_micros(sums.available() - later - bound)?,
            bound: Credits::from_micros(bound)?,
            later: Credits::from_micros(later)?,
            reserved: Credits::from_micros(sums.reserved)?,
            granted: Credits::from_micros(sums.granted)?,
            charged: Credits::from_micros(sums.charged)?,
            refunded: Credits::from_micros(sums.refunded)?,
            expired: Credits::from_micros(sums.expired)?,
            corrected: Credits::from_micros(sums.corrected)?,
        })
    }
}
