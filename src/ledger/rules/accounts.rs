//! Opening an account.

use keyledger_events::{AccountId, AccountName, AccountOpened, Credits, Event, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;
use crate::ledger::remembered::Made;

/// Opens an account under an id of the caller's making.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAccount {
    pub account: AccountId,
    pub name: AccountName,
    pub external_ref: Option<String>,
    /// How far available may go below zero.
    pub credit_limit: Credits,
}

/// An account as its opener is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountFacts {
    pub account: AccountId,
    pub name: AccountName,
    pub external_ref: Option<String>,
    pub credit_limit: Credits,
    pub opened_at: Timestamp,
    pub closed_at: Option<Timestamp>,
}

impl Command for OpenAccount {
    type Reply = AccountFacts;
    const NAME: &'static str = "open_account";

    fn target(&self) -> Target {
        Target::New(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        if given.account.opened.is_some() {
            return Err(Refusal::AccountExists { account: self.account });
        }
        if self.credit_limit.is_negative() {
            return Err(Refusal::OutOfRange {
                field: "credit_limit".into(),
            });
        }
        Ok(vec![
            AccountOpened {
                name: self.name.clone(),
                external_ref: self.external_ref.clone(),
                credit_limit: self.credit_limit,
            }
            .into(),
        ])
    }

    fn reply(&self, account: &Account, by: &By) -> Option<AccountFacts> {
        facts(account, by)
    }
}

impl AccountFacts {
    /// An account as it is now.
    pub(in crate::ledger) fn of(account: &Account) -> Option<AccountFacts> {
        let opened = account.opened.as_ref()?;
        Some(AccountFacts {
            account: account.id,
            name: opened.name.clone(),
            external_ref: opened.external_ref.clone(),
            credit_limit: opened.credit_limit,
            opened_at: opened.at,
            closed_at: account.closed_at,
        })
    }
}

/// The account as a command left it, now or when it came before.
pub(super) fn facts(account: &Account, by: &By) -> Option<AccountFacts> {
    match account.remembered.made_by(&by.command) {
        Ok(Some(Made::Account(facts))) => Some(facts.as_ref().clone()),
        Ok(None) => AccountFacts::of(account),
        Ok(Some(_)) | Err(_) => None,
    }
}
