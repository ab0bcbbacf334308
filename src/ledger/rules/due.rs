//! What time itself settles: holds that nobody closed, grants whose end has come, keys whose successor has taken over.

use keyledger_events::{AccountId, Credits, DeleteReason, Event, GrantStarted, KeyDeleted, ReleaseCause, Timestamp};
use serde::{Deserialize, Serialize};

use super::plans::renewals;
use super::settle::{give_back, lapse, minus};
use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;

/// Decides what is due next by now: again and again until there is nothing, each time with what came before folded. Comes
/// before every command on an account, so no rule ever meets a thing whose time is over.
///
/// Holds first, so that what they return is there; then periods of plans that begin, since what is left of the one before
/// may roll over; then grants that take effect; then those that are over; then keys whose successor has taken over.
pub fn due(account: &Account, now: Timestamp) -> Vec<Event> {
    let stages = [holds_over, renewals, grants_starting, grants_over, keys_stopped];
    let mut events = stages.iter().map(|stage| stage(account, now));
    events.find(|events| !events.is_empty()).unwrap_or_default()
}

fn holds_over(account: &Account, now: Timestamp) -> Vec<Event> {
    let mut owed = account.owed;
    account
        .deadlines
        .over(now)
        .filter_map(|reservation| Some((reservation, account.open.get(&reservation)?)))
        .flat_map(|(reservation, hold)| give_back(account, reservation, hold, ReleaseCause::Expired, &mut owed, now))
        .collect()
}

/// What they repay of what is owed, the first of them comes to first.
fn grants_starting(account: &Account, now: Timestamp) -> Vec<Event> {
    let mut owed = account.owed;
    let starting = account
        .grants
        .iter()
        .filter(|grant| grant.starts_at.is_some_and(|start| start <= now));
    starting
        .map(|grant| {
            let repays = if grant.endpoints.is_none() {
                owed.min(grant.remaining)
            } else {
                Credits::ZERO
            };
            owed = minus(owed, repays);
            let (grant, amount) = (grant.id, grant.amount);
            GrantStarted { grant, amount, repays }.into()
        })
        .collect()
}

fn grants_over(account: &Account, now: Timestamp) -> Vec<Event> {
    let mut owed = account.owed;
    let over = account
        .grants
        .iter()
        .filter(|grant| grant.expired(now) && !grant.remaining.is_zero());
    over.map(|grant| lapse(grant.id, grant.remaining, grant.is_for_all(), &mut owed).into())
        .collect()
}

fn keys_stopped(account: &Account, now: Timestamp) -> Vec<Event> {
    let stopped = account.stopping.iter().take_while(|(end, _)| *end <= now);
    let deleted = stopped.map(|(_, key)| KeyDeleted {
        key: *key,
        reason: DeleteReason::Rotated,
    });
    deleted.map(Event::from).collect()
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
