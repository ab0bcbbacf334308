//! Making, renaming and deleting keys.

use keyledger_events::{
    AccountId, DeleteReason, Environment, Event, KeyCreated, KeyDeleted, KeyDigest, KeyId, KeyName, KeyRenamed,
    Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::ledger::account::{Account, Key, KeyLimits};
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;
use crate::ledger::remembered::Made;

/// Makes a key. Its text stays with the sender: the command has the digest and the preview only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    pub account: AccountId,
    pub key: KeyId,
    pub name: KeyName,
    pub preview: String,
    pub digest: KeyDigest,
    pub environment: Environment,
    pub expires_at: Option<Timestamp>,
    pub limits: KeyLimits,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenameKey {
    pub account: AccountId,
    pub key: KeyId,
    pub name: KeyName,
}

/// Deletes a key, for ever and at once. Deleting it again changes nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteKey {
    pub account: AccountId,
    pub key: KeyId,
    pub reason: DeleteReason,
}

/// A key as whoever changed it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFacts {
    pub account: AccountId,
    pub key: Key,
}

pub(super) fn key_of(account: &Account, key: KeyId) -> Result<&Key, Refusal> {
    account.keys.get(&key).ok_or(Refusal::UnknownKey { key })
}

pub(super) fn facts(account: &Account, key: KeyId) -> Option<KeyFacts> {
    Some(KeyFacts {
        account: account.id,
        key: account.keys.get(&key)?.clone(),
    })
}

/// Refuses another key where there are as many as may be.
pub(super) fn room_for_another(given: &Given<'_>) -> Result<(), Refusal> {
    let alive = given.account.keys.values().filter(|key| key.deleted.is_none()).count();
    let limit = given.limits.keys_per_account_max;
    if u32::try_from(alive).is_ok_and(|alive| alive >= limit) {
        return Err(Refusal::TooManyKeys { limit });
    }
    Ok(())
}

/// The key that a command made, now or when it came before.
pub(super) fn made(account: &Account, by: &By, now: KeyId) -> Option<KeyId> {
    match account.remembered.made_by(&by.command) {
        Ok(Some(Made::Key(key))) => Some(*key),
        Ok(None) => Some(now),
        Ok(Some(_)) | Err(_) => None,
    }
}

/// The key as a command left it, now or when it came before.
pub(super) fn changed(account: &Account, by: &By, key: KeyId) -> Option<KeyFacts> {
    match account.remembered.made_by(&by.command) {
        Ok(Some(Made::ChangedKey(key))) => Some(KeyFacts {
            account: account.id,
            key: key.as_ref().clone(),
        }),
        Ok(None) => facts(account, key),
        Ok(Some(_)) | Err(_) => None,
    }
}

impl Command for CreateKey {
    type Reply = KeyFacts;
    const NAME: &'static str = "create_key";

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        if self.expires_at.is_some_and(|end| end <= given.now) {
            return Err(Refusal::InThePast {
                field: "expires_at".into(),
            });
        }
        room_for_another(&given)?;
        Ok(vec![
            KeyCreated {
                key: self.key,
                name: self.name.clone(),
                preview: self.preview.clone(),
                digest: self.digest,
                environment: self.environment,
                expires_at: self.expires_at,
                replaces: None,
                scopes: self.limits.scopes.clone(),
                rate_limit: self.limits.rate,
                spending_limit: self.limits.spending,
            }
            .into(),
        ])
    }

    fn reply(&self, account: &Account, by: &By) -> Option<KeyFacts> {
        facts(account, made(account, by, self.key)?)
    }
}

impl Command for RenameKey {
    type Reply = KeyFacts;
    const NAME: &'static str = "rename_key";

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let key = key_of(given.account, self.key)?;
        if key.deleted.is_some() {
            return Err(Refusal::KeyGone { key: self.key });
        }
        if key.name == self.name {
            return Ok(vec![]);
        }
        Ok(vec![
            KeyRenamed {
                key: self.key,
                name: self.name.clone(),
            }
            .into(),
        ])
    }

    fn reply(&self, account: &Account, by: &By) -> Option<KeyFacts> {
        changed(account, by, self.key)
    }
}

impl Command for DeleteKey {
    type Reply = KeyFacts;
    const NAME: &'static str = "delete_key";

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        if key_of(given.account, self.key)?.deleted.is_some() {
            return Ok(vec![]);
        }
        Ok(vec![
            KeyDeleted {
                key: self.key,
                reason: self.reason,
            }
            .into(),
        ])
    }

    fn reply(&self, account: &Account, by: &By) -> Option<KeyFacts> {
        changed(account, by, self.key)
    }
}

#[cfg(test)]
mod tests {
    use keyledger_events::Endpoint;

    use super::*;
    use crate::ledger::rules::scenario::*;

    #[test]
    fn a_deleted_key_is_refused_for_ever_and_its_holder_is_told_so() {
        let mut s = Scenario::with_credits("10");
        s.when(reserve(R1, "0.5")).succeeds();
        s.when(delete_key()).succeeds();
        s.when(reserve(R2, "0.5")).refused(Refusal::KeyDeleted);
        s.when(delete_key()).changes_nothing();
        s.when(rename_key("Other")).refused(Refusal::KeyGone { key: key_id() });
    }

    #[test]
    fn an_expired_key_is_refused() {
        let mut s = Scenario::with_credits("10");
        s.when(create_key_until(2, 60)).succeeds();
        s.when(reserve_with(2, R1, "0.5")).succeeds();
        s.later(61);
        s.when(reserve_with(2, R2, "0.5")).refused(Refusal::KeyExpired);
        s.when(reserve(R2, "0.5")).succeeds();
    }

    #[test]
    fn a_key_is_let_through_to_its_own_endpoints_alone() {
        let mut s = Scenario::with_credits("10");
        s.when(create_key(2).scoped(&["serp", "echo"])).succeeds();
        s.when(reserve_with(2, R1, "0.5").of("serp")).succeeds();
        s.when(reserve_with(2, R2, "0.5").of("serp_task"))
            .refused(out_of_scope(&s));
        assert_eq!(s.available(), "9.5");
        s.when(reserve(R2, "0.5").of("serp_task")).succeeds();
        s.when(charge_all(R1)).succeeds();
    }

    #[test]
    fn what_keys_are_limited_to_weighs_in_memory() {
        let (mut s, mut other) = (Scenario::with_credits("1"), Scenario::with_credits("1"));
        s.when(create_key(2)).succeeds();
        other.when(create_key(2).scoped(&["serp", "echo"])).succeeds();
        assert!(other.account().weight() > s.account().weight());
    }

    fn out_of_scope(s: &Scenario) -> Refusal {
        let key = s.account().keys.values().last().unwrap();
        Refusal::KeyScope {
            endpoint: Endpoint::parse("serp_task").unwrap(),
            account: account_id(),
            key: key.id,
            limits: KeyLimits {
                scopes: Some(scopes(&["serp", "echo"])),
                rate: None,
                spending: None,
            },
        }
    }

    #[test]
    fn a_key_that_has_ended_is_told_that_before_its_scope() {
        let mut s = Scenario::with_credits("10");
        s.when(create_key_until(2, 60).scoped(&["echo"])).succeeds();
        s.later(61);
        s.when(reserve_with(2, R1, "0.5")).refused(Refusal::KeyExpired);
    }

    #[test]
    fn an_unknown_key_of_an_account_is_not_found() {
        let mut s = Scenario::with_credits("1");
        let other = KeyId::from_parts(1, 1);
        s.when(DeleteKey {
            account: account_id(),
            key: other,
            reason: DeleteReason::Requested,
        })
        .refused(Refusal::UnknownKey { key: other });
    }

    #[test]
    fn a_key_that_ends_before_it_begins_is_refused() {
        let mut s = Scenario::with_credits("1");
        s.when(create_key_until(3, 0)).refused(Refusal::InThePast {
            field: "expires_at".into(),
        });
    }

    #[test]
    fn a_repeated_creation_makes_one_key() {
        let mut s = Scenario::with_credits("1");
        s.named("idem:aa.01").when(create_key(5)).succeeds();
        s.named("idem:aa.01").when(create_key(6)).changes_nothing();
        s.named("idem:aa.02")
            .when(create_key(7))
            .refused(Refusal::IdempotencyMismatch);
        s.named("idem:bb.02").when(create_key(7)).succeeds();
        assert_eq!(s.account().keys.len(), 3);
    }

    #[test]
    fn an_account_has_a_bounded_number_of_keys() {
        let mut s = Scenario::with_credits("1");
        s.limits.keys_per_account_max = 2;
        s.when(create_key(5)).succeeds();
        s.when(create_key(6)).refused(Refusal::TooManyKeys { limit: 2 });
        s.when(delete_key()).succeeds();
        s.when(create_key(6)).succeeds();
    }
}
