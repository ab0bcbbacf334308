//! Replay step by step: what each event changed.

use std::collections::BTreeMap;

use keyledger_events::{Credits, GrantId, KeyId, Recorded};
use keyledger_projections::{AccountRow, FoldError, GrantChange, KeyRow};
use serde::Serialize;

use super::{AccountState, BalanceThen};

/// An event, and what it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub recorded: Recorded,
    pub changes: Vec<Change>,
    pub after: Option<BalanceThen>,
}

/// One thing that is another one since. As text, amounts in credits; `None`: it was, or is, not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `available`, `key_01….name`, `grant_01….remaining`.
    pub what: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// A part of a row: what it is called, and how it is read.
type Part<R, T> = (&'static str, fn(&R) -> T);

/// What an event could change, before it does.
struct Before {
    balance: Option<BalanceThen>,
    row: Option<AccountRow>,
    key: Option<KeyRow>,
    grants: BTreeMap<GrantId, GrantChange>,
}

/// Folds the next event into a state, and says what it changed.
pub fn changes(state: &mut AccountState, recorded: Recorded) -> Result<Step, FoldError> {
    let key = recorded.event.key();
    let before = Before::of(state, key);
    state.fold(&recorded)?;
    let mut told = Told(Vec::new());
    let after = state.balance();
    told.balances(before.balance, after);
    told.account(before.row.as_ref(), state.row());
    if let Some(id) = key {
        told.key(id, before.key.as_ref(), state.key(id));
    }
    for grant in state.grants() {
        told.grant(grant.grant, before.grants.get(&grant.grant), &grant.sums);
    }
    Ok(Step {
        recorded,
        changes: told.0,
        after,
    })
}

impl Before {
    fn of(state: &AccountState, key: Option<KeyId>) -> Before {
        Before {
            balance: state.balance(),
            row: state.row().cloned(),
            key: key.and_then(|key| state.key(key)).cloned(),
            grants: state.grants().map(|grant| (grant.grant, grant.sums)).collect(),
        }
    }
}

struct Told(Vec<Change>);

impl Told {
    fn one(&mut self, what: &str, before: Option<String>, after: Option<String>) {
        if before != after {
            self.0.push(Change {
                what: what.to_owned(),
                before,
                after,
            });
        }
    }

    fn balances(&mut self, before: Option<BalanceThen>, after: Option<BalanceThen>) {
        let parts: [Part<BalanceThen, Credits>; 9] = [
            ("available", |balance| balance.available),
            ("bound", |balance| balance.bound),
            ("later", |balance| balance.later),
            ("reserved", |balance| balance.reserved),
            ("granted", |balance| balance.granted),
            ("charged", |balance| balance.charged),
            ("refunded", |balance| balance.refunded),
            ("expired", |balance| balance.expired),
            ("corrected", |balance| balance.corrected),
        ];
        for (what, of) in parts {
            let told = |balance: &Option<BalanceThen>| balance.as_ref().map(|balance| of(balance).to_string());
            // An account that begins has nothing yet.
            let zero = before.is_none().then(|| Credits::ZERO.to_string());
            self.one(what, told(&before).or(zero), told(&after));
        }
    }

    fn account(&mut self, before: Option<&AccountRow>, after: Option<&AccountRow>) {
        let parts: [Part<AccountRow, Option<String>>; 4] = [
            ("name", |row| Some(row.name.to_string())),
            ("external_ref", |row| row.external_ref.clone()),
            ("credit_limit", |row| {
                Credits::from_micros(row.credit_limit).map(|limit| limit.to_string())
            }),
            ("closed_at", |row| row.closed_at.map(|at| at.to_string())),
        ];
        for (what, of) in parts {
            self.one(what, before.and_then(of), after.and_then(of));
        }
    }

    fn key(&mut self, id: KeyId, before: Option<&KeyRow>, after: Option<&KeyRow>) {
        let parts: [Part<KeyRow, Option<String>>; 7] = [
            ("name", |row| Some(row.name.to_string())),
            ("deleted", |row| {
                row.deleted.map(|(_, reason)| reason.as_str().to_owned())
            }),
            ("successor", |row| {
                row.rotated.map(|(successor, _)| successor.to_string())
            }),
            ("stops_at", |row| row.rotated.map(|(_, end)| end.to_string())),
            ("spending_limit", |row| {
                row.spending_limit
                    .map(|limit| format!("{} a {}", limit.amount, limit.per.as_str()))
            }),
            ("uses", |row| Some(row.uses.to_string())),
            ("denied", |row| row.denied.map(|denied| denied.count.to_string())),
        ];
        for (what, of) in parts {
            self.one(&format!("{id}.{what}"), before.and_then(of), after.and_then(of));
        }
    }

    fn grant(&mut self, id: GrantId, before: Option<&GrantChange>, after: &GrantChange) {
        if before == Some(after) {
            return;
        }
        let parts: [Part<GrantChange, i64>; 3] = [
            ("remaining", |sums| sums.remaining),
            ("held", |sums| sums.held),
            ("expired", |sums| sums.expired),
        ];
        for (what, of) in parts {
            let told = |sums: &GrantChange| Credits::from_micros(of(sums)).map(|amount| amount.to_string());
            self.one(&format!("{id}.{what}"), before.and_then(told), told(after));
        }
    }
}
