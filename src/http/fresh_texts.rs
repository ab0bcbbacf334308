//! The texts that a key's successor may have. A text says its environment, and which one the key that is replaced has, only
//! the ledger knows: it is offered one of each, and the one that it did not take is forgotten.

use keyledger_events::{Environment, KeyPrefix, KeySecret};

use crate::clock;
use crate::ledger::NewText;

pub(crate) struct FreshTexts {
    live: KeySecret,
    test: KeySecret,
}

impl FreshTexts {
    pub(crate) fn new(prefix: &KeyPrefix) -> FreshTexts {
        let fresh = |environment| KeySecret::from_random(prefix, environment, clock::random_secret_bits());
        FreshTexts {
            live: fresh(Environment::Live),
            test: fresh(Environment::Test),
        }
    }

    /// What the ledger may know of them: live, then test.
    pub(crate) fn offered(&self) -> (NewText, NewText) {
        let known = |secret: &KeySecret| NewText {
            preview: secret.preview(),
            digest: secret.digest(),
        };
        (known(&self.live), known(&self.test))
    }

    /// The one that was taken.
    pub(crate) fn of(self, environment: Environment) -> KeySecret {
        match environment {
            Environment::Live => self.live,
            Environment::Test => self.test,
        }
    }
}
