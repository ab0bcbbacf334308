//! Keys in the books: who may still use what.

use keyledger_events::{KeyCreated, KeyDeleted, KeyId, KeyRotated, Scopes, Timestamp};

use super::super::fact::Used;
use super::account::Account;
use super::{Entered, Wrong};

#[derive(Debug)]
pub(super) struct Key {
    expires_at: Option<Timestamp>,
    /// Since it has a successor.
    stops_at: Option<Timestamp>,
    deleted: bool,
    scopes: Option<Scopes>,
}

const NO_KEY: Wrong = "the account has no such key";

impl Key {
    /// Nobody may use it at this moment.
    pub(super) fn is_dead(&self, at: Timestamp) -> bool {
        let over = |end: Option<Timestamp>| end.is_some_and(|end| end <= at);
        self.deleted || over(self.expires_at) || over(self.stops_at)
    }
}

impl Account {
    pub(super) fn knows_key(&self, key: KeyId) -> Entered {
        if self.keys.contains_key(&key) {
            Ok(())
        } else {
            self.missing(NO_KEY)
        }
    }

    pub(super) fn key_created(&mut self, e: &KeyCreated) -> Entered {
        if self.closed {
            return Err("a key is made in a closed account");
        }
        let key = Key {
            expires_at: e.expires_at,
            stops_at: None,
            deleted: false,
            scopes: e.scopes.clone(),
        };
        match self.keys.insert(e.key, key) {
            None => Ok(()),
            Some(_) => Err("the key is there already"),
        }
    }

    pub(super) fn key_deleted(&mut self, e: &KeyDeleted) -> Entered {
        match self.keys.get_mut(&e.key) {
            Some(key) if key.deleted => Err("the key is deleted already"),
            Some(key) => {
                key.deleted = true;
                Ok(())
            }
            None => {
                self.missing(NO_KEY)?;
                // What is deleted is known from now on, although its beginning is not.
                let key = Key {
                    expires_at: None,
                    stops_at: None,
                    deleted: true,
                    scopes: None,
                };
                self.keys.insert(e.key, key);
                Ok(())
            }
        }
    }

    pub(super) fn key_rotated(&mut self, e: &KeyRotated) -> Entered {
        if !self.is_of_key() {
            self.knows_key(e.successor)?;
        }
        match self.keys.get_mut(&e.key) {
            Some(key) if key.deleted || key.stops_at.is_some() => Err("the key is deleted or rotated already"),
            Some(key) => {
                key.stops_at = Some(e.stops_at);
                Ok(())
            }
            None => self.missing(NO_KEY),
        }
    }

    pub(super) fn used(&mut self, used: &Used<'_>, at: Timestamp) -> Entered {
        if self.closed {
            return Err("a key of a closed account is used");
        }
        let Some(key) = self.keys.get(&used.key) else {
            return self.missing("a key is used that the account does not have");
        };
        if key.is_dead(at) {
            return Err("a key is used that is deleted or over");
        }
        let allowed = key
            .scopes
            .as_ref()
            .is_none_or(|scopes| scopes.endpoints().iter().any(|name| name.as_str() == used.endpoint));
        if allowed {
            Ok(())
        } else {
            Err("a key is used for an endpoint that it is not for")
        }
    }
}
