//! The keys that sign a shard's checkpoints: one, or two while one takes over from the other.

use keyledger_events::Shard;

use crate::audit::note::{Checkpoint, MalformedKey, Note, SignerKey, VerifierKey};

/// Signs one shard's checkpoints.
#[derive(Debug)]
pub struct Signers {
    keys: Vec<SignerKey>,
    origin: String,
}

/// The keys do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignersError {
    #[error("there is no key")]
    NoKey,
    /// An origin names one log for ever.
    #[error("the keys have different names: {0}")]
    Names(String),
    #[error(transparent)]
    Key(#[from] MalformedKey),
}

/// The origin of a shard's log: the key's name and the shard. It is also the name under which the key signs there.
pub fn origin(name: &str, shard: Shard) -> String {
    format!("{name}/{shard}")
}

impl Signers {
    /// The newest key first. All have the same name.
    pub fn new(keys: &[SignerKey], shard: Shard) -> Result<Signers, SignersError> {
        let first = keys.first().ok_or(SignersError::NoKey)?;
        if let Some(other) = keys.iter().find(|key| key.name() != first.name()) {
            return Err(SignersError::Names(format!("{}, {}", first.name(), other.name())));
        }
        let origin = origin(first.name(), shard);
        let keys = keys.iter().map(|key| key.named(&origin)).collect::<Result<_, _>>()?;
        Ok(Signers { keys, origin })
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What others check by, the newest first.
    pub fn verifiers(&self) -> Vec<VerifierKey> {
        self.keys.iter().map(SignerKey::verifier).collect()
    }

    /// The checkpoint with every key's signature.
    pub fn sign(&self, size: u64, root: [u8; 32]) -> Note {
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size,
            root,
            more: String::new(),
        };
        let text = checkpoint.to_text();
        let signatures = self.keys.iter().map(|key| key.sign(&text)).collect();
        Note { text, signatures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, byte: u8) -> SignerKey {
        SignerKey::from_seed(name, [byte; 32]).unwrap()
    }

    #[test]
    fn while_a_key_takes_over_both_sign() {
        let signers = Signers::new(&[key("a.example", 2), key("a.example", 1)], Shard(3)).unwrap();
        let note = signers.sign(5, [0; 32]);
        assert_eq!(signers.origin(), "a.example/3");
        for byte in [1, 2] {
            assert_eq!(key("a.example/3", byte).verifier().signed(&note), Ok(true));
        }
        assert_eq!(
            key("a.example/2", 1).verifier().signed(&note),
            Ok(false),
            "of another shard"
        );
    }

    #[test]
    fn keys_of_two_names_are_refused() {
        let keys = [key("a.example", 2), key("b.example", 1)];
        assert!(matches!(Signers::new(&keys, Shard(0)), Err(SignersError::Names(_))));
        assert_eq!(Signers::new(&[], Shard(0)).unwrap_err(), SignersError::NoKey);
    }
}
