//! What owners are told of uses that were refused.

use keyledger_events::{DenyReason, Event, KeyDigest, KeyUseDenied};
use serde::{Deserialize, Serialize};

use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;

/// Writes down how often a key was refused for a reason. Within a minute of the last time it changes nothing: a flood must
/// not flood the log, however many processes it comes through.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoteDenied {
    pub digest: KeyDigest,
    pub reason: DenyReason,
    pub count: u64,
}

const APART_SECONDS: u32 = 60;

impl Command for NoteDenied {
    type Reply = ();
    const NAME: &'static str = "note_denied";
    const ALSO_WHEN_CLOSED: bool = true;

    fn target(&self) -> Target {
        Target::KeyOwner(self.digest)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let key = given.account.keys.with_digest(self.digest).ok_or(Refusal::KeyInvalid)?;
        let last = key.denied_at.get(&self.reason);
        if self.count == 0 || last.is_some_and(|last| last.plus_seconds(APART_SECONDS) > given.now) {
            return Ok(vec![]);
        }
        Ok(vec![
            KeyUseDenied {
                key: key.id,
                reason: self.reason,
                count: self.count,
            }
            .into(),
        ])
    }

    fn reply(&self, _account: &Account, _by: &By) -> Option<()> {
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::rules::scenario::*;

    #[test]
    fn a_key_and_reason_have_one_event_a_minute() {
        let mut s = Scenario::with_credits("1");
        let digest = s.account().keys.values().next().unwrap().digest;
        let noted = |reason, count| NoteDenied { digest, reason, count };
        s.when(noted(DenyReason::Scope, 7)).writes(&["KeyUseDenied"]);
        s.when(noted(DenyReason::Scope, 1)).changes_nothing();
        s.when(noted(DenyReason::NoCredits, 1)).writes(&["KeyUseDenied"]);
        s.when(noted(DenyReason::Expired, 0)).changes_nothing();
        s.later(59);
        s.when(noted(DenyReason::Scope, 1)).changes_nothing();
        s.later(1);
        s.when(noted(DenyReason::Scope, 2)).writes(&["KeyUseDenied"]);
        s.when(delete_key()).succeeds();
        s.when(noted(DenyReason::Deleted, 5)).writes(&["KeyUseDenied"]);
        // Also of an account that is closed, whose keys may still be in somebody's programs.
        s.when(close_account()).succeeds();
        s.later(60);
        s.when(noted(DenyReason::Deleted, 3)).writes(&["KeyUseDenied"]);
    }
}
