//! The rules and the one pen: commands in, events decided and appended, answers out.
//!
//! In: commands. Out: an answer with the position at which it is true, after the events are in the log.
//!
//! Promise: a command that was answered is in the log exactly once; one that was not is there whole or not at all.
//!
//! Not here: HTTP, the bus, the views.

mod account;
mod command;
mod refusal;
mod remembered;
mod rules;
mod signals;

use std::sync::Arc;

use keyledger_events::{Position, Shard};
use tokio::sync::{mpsc, watch};

pub use account::{Account, Grant, Hold, Inconsistent, Key, Opened, Outcome, STATE_FORMAT, Settled, Totals};
pub use command::{Answer, By, Command, Limits, SubmitError, Target};
pub use refusal::Refusal;
pub use remembered::idempotent_command_id;
pub use rules::{
    AccountFacts, Charge, ChargeAtOnce, ChargeReservation, CreateKey, DeleteKey, GrantCredits, GrantFacts, Held,
    KeyFacts, OpenAccount, Payer, Price, Release, ReleaseReservation, RenameKey, ReserveCredits, SettleDue, Usage,
};
pub use signals::{KeySignals, Working};

/// The way in for commands: hands each to the writer of its shard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    shard: Shard,
    signals: Arc<KeySignals>,
    committed: watch::Receiver<Position>,
}

impl Ledger {
    /// Sends a command and waits for its answer. Dropping the future loses the answer, not the command.
    pub async fn submit<C: Command>(&self, _command: C, _by: By) -> Result<Answer<C::Reply>, SubmitError> {
        Err(SubmitError::Busy)
    }

    /// Who has to know at once when a key is deleted asks here.
    pub fn key_signals(&self) -> &Arc<KeySignals> {
        &self.signals
    }

    /// The last position that this process appended or read, for those who pass events on.
    pub fn committed(&self) -> watch::Receiver<Position> {
        self.committed.clone()
    }

    pub fn shard(&self) -> Shard {
        self.shard
    }
}
