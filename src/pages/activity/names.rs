//! What those are called whom events name by their ids.

use std::collections::HashMap;

use keyledger_events::{Actor, Event, KeyCreated, KeyId, KeyRenamed, PortalSessionId};

use super::line::{DataKeys, decoded};
use crate::log::Beside;
use crate::pages::fault::Fault;
use crate::pages::name::Shown;

/// Names of keys as they are now, and of people as the platform named them.
#[derive(Debug)]
pub(super) struct Names {
    keys: HashMap<KeyId, Shown>,
    people: HashMap<PortalSessionId, Shown>,
    platform: Shown,
    /// Operators are told which token it was; to a customer all are the platform.
    tokens_by_id: bool,
}

impl Names {
    /// Of the system's own history.
    pub(super) fn of_the_system() -> Names {
        Names {
            keys: HashMap::new(),
            people: HashMap::new(),
            platform: Shown::new("The platform"),
            tokens_by_id: true,
        }
    }

    /// Of all whom a page of the log names.
    pub(super) fn new(beside: &Beside, platform: &str, data_keys: &DataKeys) -> Result<Names, Fault> {
        let mut keys = HashMap::new();
        for recorded in decoded(&beside.namings, data_keys)? {
            if let Event::KeyCreated(KeyCreated { key, name, .. }) | Event::KeyRenamed(KeyRenamed { key, name }) =
                recorded.event
            {
                keys.insert(key, Shown::new(name.as_str()));
            }
        }
        let people = beside.people.iter();
        Ok(Names {
            keys,
            people: people.map(|(session, name)| (*session, Shown::new(name))).collect(),
            platform: Shown::new(platform),
            tokens_by_id: false,
        })
    }

    /// A key whose name is not known here is called by its id.
    pub(super) fn key(&self, key: KeyId) -> Shown {
        self.keys
            .get(&key)
            .cloned()
            .unwrap_or_else(|| Shown::new(&key.to_string()))
    }

    pub(super) fn platform(&self) -> Shown {
        self.platform.clone()
    }

    /// Who did something: a person, a key, or the platform itself through its access tokens.
    pub(super) fn actor(&self, actor: Actor) -> Shown {
        match actor {
            Actor::Key(key) => self.key(key),
            Actor::Token(token) if self.tokens_by_id => Shown::new(&token.to_string()),
            Actor::Token(_) => self.platform(),
            Actor::Portal(session) => self
                .people
                .get(&session)
                .cloned()
                .unwrap_or_else(|| Shown::new("Somebody on these pages")),
            Actor::System => Shown::new("The system"),
        }
    }
}

#[cfg(test)]
impl Names {
    /// Of one key and one person.
    pub(super) fn some(key: (KeyId, &str), person: (PortalSessionId, &str)) -> Names {
        Names {
            keys: HashMap::from([(key.0, Shown::new(key.1))]),
            people: HashMap::from([(person.0, Shown::new(person.1))]),
            platform: Shown::new("Acme Data"),
            tokens_by_id: false,
        }
    }
}
