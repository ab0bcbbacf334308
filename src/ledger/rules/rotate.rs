//! A successor for a key, which lives on for a while so that nobody has to change all programs at one moment.

use keyledger_events::{
    AccountId, DeleteReason, Environment, Event, KeyCreated, KeyDeleted, KeyDigest, KeyId, KeyRotated,
};
use serde::{Deserialize, Serialize};

use super::keys::{KeyFacts, facts, key_of, made, room_for_another};
use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;

/// Makes a key with another one's name, environment and limits, and gives that one an end. The successor has none of its
/// own unless said.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    pub account: AccountId,
    pub key: KeyId,
    pub successor: KeyId,
    /// The successor's text, if the key is a live one, and if it is a test one.
    pub live: NewText,
    pub test: NewText,
    /// How long the old key goes on working: from 0 s to 30 days.
    pub overlap_seconds: u32,
}

/// What the ledger knows of a new key's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewText {
    pub preview: String,
    pub digest: KeyDigest,
}

/// Nobody needs longer to change a key everywhere.
pub const OVERLAP_SECONDS_MAX: u32 = 30 * 86_400;

impl Command for RotateKey {
    type Reply = KeyFacts;
    const NAME: &'static str = "rotate_key";

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let old = key_of(given.account, self.key)?;
        if self.overlap_seconds > OVERLAP_SECONDS_MAX {
            return Err(Refusal::OutOfRange {
                field: "overlap_seconds".into(),
            });
        }
        if old.deleted.is_some() {
            return Err(Refusal::KeyGone { key: self.key });
        }
        if old.expired(given.now) {
            return Err(Refusal::KeyOver { key: self.key });
        }
        if let Some(rotated) = old.rotated {
            return Err(Refusal::KeyRotated {
                key: self.key,
                successor: rotated.successor,
            });
        }
        let at_once = self.overlap_seconds == 0;
        if !at_once {
            room_for_another(&given)?;
        }
        let text = match old.environment {
            Environment::Live => &self.live,
            Environment::Test => &self.test,
        };
        let successor = KeyCreated {
            key: self.successor,
            name: old.name.clone(),
            preview: text.preview.clone(),
            digest: text.digest,
            environment: old.environment,
            expires_at: None,
            replaces: Some(self.key),
            scopes: old.limits.scopes.clone(),
            rate_limit: old.limits.rate,
            spending_limit: old.limits.spending,
        };
        let rotated = KeyRotated {
            key: self.key,
            successor: self.successor,
            stops_at: given.now.plus_seconds(self.overlap_seconds),
        };
        let stopped = at_once.then(|| {
            Event::from(KeyDeleted {
                key: self.key,
                reason: DeleteReason::Rotated,
            })
        });
        Ok([successor.into(), rotated.into()].into_iter().chain(stopped).collect())
    }

    fn reply(&self, account: &Account, by: &By) -> Option<KeyFacts> {
        facts(account, made(account, by, self.successor)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::account::KeyLimits;
    use crate::ledger::rules::scenario::*;

    #[test]
    fn both_keys_work_until_the_old_one_stops_and_then_only_the_new_one() {
        let mut s = Scenario::with_credits("10");
        s.when(rotate(2, 60)).writes(&["KeyCreated", "KeyRotated"]);
        s.when(reserve(R1, "0.5")).succeeds();
        s.when(reserve_with(2, R2, "0.5")).succeeds();
        s.later(59);
        s.when(settle_due()).changes_nothing();
        s.later(1);
        // Whoever comes first finds it deleted, without anybody sweeping.
        s.when(reserve(R3, "0.5")).refused(Refusal::KeyDeleted);
        let old = s.account().keys.get(&key_id()).unwrap();
        assert_eq!(old.deleted, Some((s.now, DeleteReason::Rotated)));
        s.when(reserve_with(2, R3, "0.5")).succeeds();
        // What was under way may still be settled.
        s.when(charge_all(R1)).succeeds();
    }

    #[test]
    fn without_an_overlap_the_old_key_stops_at_once() {
        let mut s = Scenario::with_credits("10");
        s.limits.keys_per_account_max = 1;
        s.when(rotate(2, 0)).writes(&["KeyCreated", "KeyRotated", "KeyDeleted"]);
        s.when(reserve(R1, "0.5")).refused(Refusal::KeyDeleted);
        s.when(reserve_with(2, R1, "0.5")).succeeds();
        s.when(settle_due()).changes_nothing();
    }

    #[test]
    fn the_successor_is_called_and_limited_as_the_key_that_it_replaces() {
        let mut s = Scenario::with_credits("10");
        s.when(create_key(2).scoped(&["serp"])).succeeds();
        s.when(rotate_of(2, 3, 60)).succeeds();
        let keys: Vec<_> = s.account().keys.values().skip(1).collect();
        let [old, new] = keys[..] else { panic!("two keys") };
        assert_eq!((&old.name, &old.limits), (&new.name, &new.limits));
        assert_ne!(new.limits, KeyLimits::default());
        assert_eq!((old.environment, new.replaces), (new.environment, Some(old.id)));
        assert_eq!(old.rotated.unwrap().successor, new.id);
    }

    #[test]
    fn a_key_is_rotated_once_and_only_while_it_works() {
        let mut s = Scenario::with_credits("10");
        s.when(create_key_until(4, 60)).succeeds();
        s.when(rotate(2, 60)).succeeds();
        let successor = s.account().keys.get(&key_id()).unwrap().rotated.unwrap().successor;
        s.when(rotate(3, 60)).refused(Refusal::KeyRotated {
            key: key_id(),
            successor,
        });
        s.later(60);
        s.when(rotate(3, 60)).refused(Refusal::KeyGone { key: key_id() });
        let over = s
            .account()
            .keys
            .values()
            .find(|key| key.expires_at.is_some())
            .unwrap()
            .id;
        s.when(rotate_of(4, 5, 60)).refused(Refusal::KeyOver { key: over });
        s.when(rotate_of(2, 5, OVERLAP_SECONDS_MAX + 1))
            .refused(Refusal::OutOfRange {
                field: "overlap_seconds".into(),
            });
        s.when(rotate_of(2, 5, OVERLAP_SECONDS_MAX)).succeeds();
        // The successor's own successor.
        s.when(rotate_of(5, 6, 0)).succeeds();
    }

    #[test]
    fn a_key_that_is_deleted_before_its_end_is_deleted_once() {
        let mut s = Scenario::with_credits("10");
        s.when(rotate(2, 60)).succeeds();
        s.when(delete_key()).writes(&["KeyDeleted"]);
        s.later(61);
        s.when(settle_due()).changes_nothing();
    }

    #[test]
    fn a_repeated_rotation_makes_one_successor() {
        let mut s = Scenario::with_credits("10");
        s.named("idem:aa.01").when(rotate(2, 60)).succeeds();
        s.named("idem:aa.01").when(rotate(3, 60)).changes_nothing();
        assert_eq!(s.account().keys.len(), 2);
    }

    #[test]
    fn an_overlap_needs_room_for_another_key() {
        let mut s = Scenario::with_credits("10");
        s.limits.keys_per_account_max = 1;
        s.when(rotate(2, 60)).refused(Refusal::TooManyKeys { limit: 1 });
    }
}
