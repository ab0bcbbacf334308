//! Erasing what is known of people in an account.

use keyledger_events::{AccountId, Event, PersonalDataErased, Position, Reason, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;

/// Says that what was known of people in a closed account is gone. Asked first whether it may be, and then, when the data key
/// is destroyed, to say so: what is said to be gone is gone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasePersonalData {
    pub account: AccountId,
    pub reason: Option<Reason>,
    /// The data key is destroyed.
    pub destroyed: bool,
}

/// What is so now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureFacts {
    pub account: AccountId,
    /// When the log said so. `None`: not yet.
    pub erased_at: Option<Timestamp>,
    /// The account's last event.
    pub position: Position,
}

impl Command for ErasePersonalData {
    type Reply = ErasureFacts;
    const NAME: &'static str = "erase_personal_data";
    const ALSO_WHEN_CLOSED: bool = true;

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let account = given.account;
        if account.closed_at.is_none() {
            return Err(Refusal::AccountOpen);
        }
        if account.erased_at.is_some() || !self.destroyed {
            return Ok(vec![]);
        }
        let erased = PersonalDataErased {
            reason: self.reason.clone(),
        };
        Ok(vec![erased.into()])
    }

    fn reply(&self, account: &Account, _: &By) -> Option<ErasureFacts> {
        Some(ErasureFacts {
            account: account.id,
            erased_at: account.erased_at,
            position: account.position,
        })
    }
}
