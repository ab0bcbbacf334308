//! An account's keys, found by id and by digest.

use std::collections::{BTreeMap, HashMap};

use keyledger_events::{KeyDigest, KeyId, KeyName};
use rustc_hash::FxBuildHasher;
use serde::{Deserialize, Serialize, Serializer};

use super::Key;

/// Keys by id, in the order of their creation. None is ever taken out: a deleted key is still known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "BTreeMap<KeyId, Key>")]
pub struct Keys {
    by_id: BTreeMap<KeyId, Key>,
    /// A digest is spread well enough by itself.
    by_digest: HashMap<KeyDigest, KeyId, FxBuildHasher>,
}

impl Keys {
    pub fn get(&self, key: &KeyId) -> Option<&Key> {
        self.by_id.get(key)
    }

    pub fn with_digest(&self, digest: KeyDigest) -> Option<&Key> {
        self.by_digest.get(&digest).and_then(|key| self.by_id.get(key))
    }

    pub fn contains_key(&self, key: &KeyId) -> bool {
        self.by_id.contains_key(key)
    }

    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Key> {
        self.by_id.values()
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// For changes of all but id and digest.
    pub(super) fn get_mut(&mut self, key: &KeyId) -> Option<&mut Key> {
        self.by_id.get_mut(key)
    }

    pub(super) fn forget_names(&mut self) {
        for key in self.by_id.values_mut() {
            key.name = KeyName::erased();
        }
    }

    /// Adds a key and gives back the one that was there under its id.
    pub(super) fn insert(&mut self, key: Key) -> Option<Key> {
        self.by_digest.insert(key.digest, key.id);
        self.by_id.insert(key.id, key)
    }
}

impl From<BTreeMap<KeyId, Key>> for Keys {
    fn from(by_id: BTreeMap<KeyId, Key>) -> Keys {
        let by_digest = by_id.values().map(|key| (key.digest, key.id)).collect();
        Keys { by_id, by_digest }
    }
}

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.by_id.serialize(serializer)
    }
}
