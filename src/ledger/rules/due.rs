//! What time itself settles: holds that nobody closed, grants whose end has come, keys whose successor has taken over.

use keyledger_events::{AccountId, CreditsExpired, DeleteReason, Event, KeyDeleted, ReleaseCause, Timestamp};
use serde::{Deserialize, Serialize};

use super::settle::give_back;
use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;

/// Decides what is due by now. Comes before every command on an account, so no rule ever meets a thing whose time is over.
pub fn due(account: &Account, now: Timestamp) -> Vec<Event> {
    let mut events: Vec<Event> = account
        .deadlines
        .iter()
        .take_while(|(end, _)| *end <= now)
        .filter_map(|(_, reservation)| Some((*reservation, account.open.get(reservation)?)))
        .flat_map(|(reservation, hold)| give_back(account, reservation, hold, ReleaseCause::Expired, now))
        .collect();
    let over = account
        .grants
        .iter()
        .filter(|grant| grant.expired(now) && !grant.remaining.is_zero());
    events.extend(over.map(|grant| {
        Event::from(CreditsExpired {
            grant: grant.id,
            amount: grant.remaining,
        })
    }));
    let stopped = account.stopping.iter().take_while(|(end, _)| *end <= now);
    events.extend(stopped.map(|(_, key)| {
        Event::from(KeyDeleted {
            key: *key,
            reason: DeleteReason::Rotated,
        })
    }));
    events
}

/// Settles what is due, and does nothing else: the sweeper's command for accounts that nobody uses.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettleDue {
    pub account: AccountId,
}

impl Command for SettleDue {
    type Reply = ();
    const NAME: &'static str = "settle_due";
    const ALSO_WHEN_CLOSED: bool = true;

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, _given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        Ok(vec![])
    }

    fn reply(&self, _account: &Account, _by: &By) -> Option<()> {
        Some(())
    }
}
