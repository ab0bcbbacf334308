//! What those are called whom events name by their ids.

use std::collections::{BTreeSet, HashMap};

use keyledger_events::{AccountId, Actor, KeyId, PortalSessionId, Recorded};

use crate::pages::Pages;
use crate::pages::fault::Fault;
use crate::pages::name::Shown;

/// Names of keys as they are now, and of people as the platform named them.
#[derive(Debug)]
pub(super) struct Names {
    keys: HashMap<KeyId, Shown>,
    people: HashMap<PortalSessionId, Shown>,
    platform: Shown,
}

impl Names {
    /// Looks up everybody in these events. Two questions at once, of ids that are indexed.
    pub(super) async fn of(pages: &Pages, account: AccountId, events: &[Recorded]) -> Result<Names, Fault> {
        let mut keys = BTreeSet::new();
        let mut people = BTreeSet::new();
        for recorded in events {
            keys.extend(recorded.event.key());
            match recorded.actor {
                Actor::Key(key) => _ = keys.insert(key),
                Actor::Portal(session) => _ = people.insert(session),
                Actor::Token(_) | Actor::System => {}
            }
        }
        let (keys, people): (Vec<_>, Vec<_>) = (keys.into_iter().collect(), people.into_iter().collect());
        let (keys, people) = tokio::join!(
            pages.views.key_names(account, &keys),
            pages.sessions.names(account, &people)
        );
        Ok(Names {
            keys: keys?.into_iter().map(|(key, name)| (key, Shown::new(&name))).collect(),
            people: people?
                .into_iter()
                .map(|(session, name)| (session, Shown::new(&name)))
                .collect(),
            platform: Shown::new(&pages.config.name),
        })
    }

    /// A key that the views have not heard of yet is called by its id.
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
        }
    }
}
