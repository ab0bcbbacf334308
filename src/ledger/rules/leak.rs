//! The end of a key whose text was found where everybody can read it. Whoever finds it knows the text and not whose it is.

use keyledger_events::{DeleteReason, Event, KeyDeleted, KeyDigest};
use serde::{Deserialize, Serialize};

use super::keys::{KeyFacts, facts};
use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;

/// Deletes the key with this text. One that is deleted already stays as it is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteLeaked {
    pub digest: KeyDigest,
}

/// A leaked key as whoever found it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakFacts {
    pub key: KeyFacts,
    /// This very request deleted it, now or when it came before.
    pub by_this: bool,
}

impl Command for DeleteLeaked {
    type Reply = LeakFacts;
    const NAME: &'static str = "delete_leaked";
    const ALSO_WHEN_CLOSED: bool = true;

    fn target(&self) -> Target {
        Target::KeyOwner(self.digest)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let key = given.account.keys.with_digest(self.digest).ok_or(Refusal::KeyInvalid)?;
        if key.deleted.is_some() {
            return Ok(vec![]);
        }
        Ok(vec![
            KeyDeleted {
                key: key.id,
                reason: DeleteReason::Leaked,
            }
            .into(),
        ])
    }

    fn reply(&self, account: &Account, by: &By) -> Option<LeakFacts> {
        Some(LeakFacts {
            key: facts(account, account.keys.with_digest(self.digest)?.id)?,
            by_this: account.remembered.made_by(&by.command).ok()?.is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::rules::scenario::*;

    #[test]
    fn a_leaked_key_is_deleted_once_and_the_first_reason_stays() {
        let mut s = Scenario::with_credits("1");
        let leaked = |s: &Scenario, nth: usize| DeleteLeaked {
            digest: s.account().keys.values().nth(nth).unwrap().digest,
        };
        let first = leaked(&s, 0);
        s.when(first).writes(&["KeyDeleted"]);
        s.when(first).changes_nothing();
        s.when(reserve(R1, "0.5")).refused(Refusal::KeyDeleted);
        s.when(create_key(2)).succeeds();
        let second = leaked(&s, 1);
        s.when(rotate_of(2, 3, 0)).succeeds();
        s.when(second).changes_nothing();
        let reasons: Vec<_> = s
            .account()
            .keys
            .values()
            .map(|key| key.deleted.map(|(_, why)| why))
            .collect();
        assert_eq!(reasons, [Some(DeleteReason::Leaked), Some(DeleteReason::Rotated), None]);
        // Closing has deleted them all: whoever finds one is told so.
        s.when(close_account()).succeeds();
        s.when(first).changes_nothing();
    }
}
