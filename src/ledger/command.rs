//! What a command is: whom it is about, what it decides, what its caller is told.

use keyledger_events::{AccountId, Actor, CommandId, Event, KeyDigest, Position, Shard, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::refusal::Refusal;

/// Whose history a command is decided against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// An account that there is.
    Account(AccountId),
    /// An account that there is not yet.
    New(AccountId),
    /// The account that owns the key with this digest.
    KeyOwner(KeyDigest),
    /// What is true for every account, whether anything is yet.
    System,
}

/// Who sends a command, and under which name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct By {
    pub actor: Actor,
    pub command: CommandId,
}

/// Bounds that the rules keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub open_reservations_per_key_max: u32,
    pub open_reservations_per_account_max: u32,
    /// Keys of an account that are not deleted.
    pub keys_per_account_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            open_reservations_per_key_max: 1_000,
            open_reservations_per_account_max: 10_000,
            keys_per_account_max: 1_000,
        }
    }
}

/// All that a decider may know beside the command.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    pub account: &'a Account,
    pub by: &'a By,
    pub now: Timestamp,
    pub limits: &'a Limits,
}

/// A request that may be refused.
pub trait Command: Serialize + DeserializeOwned + Send + 'static {
    /// What the caller is told when it was not refused.
    type Reply: Serialize + DeserializeOwned + Send + 'static;

    /// Names the command in metrics: `reserve`.
    const NAME: &'static str;

    /// Whether it is decided in a closed account too: what settles is, and says by itself what is over.
    const ALSO_WHEN_CLOSED: bool = false;

    fn target(&self) -> Target;

    /// Decides. Same account, command and time: same answer. `Ok(vec![])` means "already so".
    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal>;

    /// Decides, unless the same came before under its idempotency key: then it is so already, whatever happened since.
    fn ask(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        if given.account.remembered.made_by(&given.by.command)?.is_some() {
            return Ok(vec![]);
        }
        if given.account.closed_at.is_some() && !Self::ALSO_WHEN_CLOSED {
            return Err(Refusal::AccountClosed);
        }
        self.decide(given)
    }

    /// The version of the price book that it brings a price of, where it does. Refused when another book holds.
    fn priced_by(&self) -> Option<u64> {
        None
    }

    /// Tells the caller what is so now, from the account as it stands after the events.
    fn reply(&self, account: &Account, by: &By) -> Option<Self::Reply>;

    /// The key that somebody showed, where one was: that it was refused is counted.
    fn shown_key(&self) -> Option<KeyDigest> {
        None
    }

    /// Who the events are by: the sender, unless the command itself shows somebody else.
    fn actor(&self, _account: &Account, by: &By) -> Actor {
        by.actor
    }
}

/// A command's answer, and the position at which it is true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer<R> {
    pub shard: Shard,
    pub position: Position,
    /// It was so before: the command was a repetition, and nothing new is in the log.
    pub replayed: bool,
    pub reply: R,
}

impl SubmitError {
    /// What time it is for whoever refused a reservation's id because it is from another one.
    pub fn time_told(&self) -> Option<Timestamp> {
        let SubmitError::Refused { refusal, .. } = self else {
            return None;
        };
        if let Refusal::ReservationIdNotTimely { now, .. } = refusal {
            Some(*now)
        } else {
            None
        }
    }
}

/// Why a command has no answer.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum SubmitError {
    /// The rules said no. Nothing was written for this command.
    #[error("{refusal}")]
    Refused {
        refusal: Refusal,
        shard: Shard,
        position: Position,
    },
    /// Too many commands are waiting. Nothing was written; retry after a second.
    #[error("too many commands are waiting")]
    Busy,
    /// The log cannot be reached. Nothing was written; the same request may be sent again.
    #[error("the log cannot be reached")]
    Unavailable,
    /// The answer was lost: the command may be in the log. Retry with the same id, which is safe.
    #[error("the outcome is unknown")]
    OutcomeUnknown,
    /// The history of this account cannot be folded. Nothing was written; an operator has to look.
    #[error("the account's history cannot be read")]
    Broken,
}

impl SubmitError {
    /// Whether asking again may bring another answer. An account that this process cannot read, a newer one perhaps can.
    pub fn may_change(&self) -> bool {
        match self {
            SubmitError::Busy | SubmitError::Unavailable | SubmitError::OutcomeUnknown | SubmitError::Broken => true,
            SubmitError::Refused { .. } => false,
        }
    }
}
