//! Sealing what events say of people, under a data key of the account's own.
//!
//! In: an event and its account's data key. Out: the same event with a sealed text in the place of names and networks, or
//! opened again.
//!
//! Format: AES-256-GCM; 12 bytes of nonce, then the text with its tag, as base64. The text is JSON, filled up with spaces so
//! that its length tells little. Bound to it are the account's and the event's ids, so that it opens in no other event.
//!
//! Promise: the event that is opened is the one that was sealed, or nothing is opened. A key's bytes are in no log and in no
//! `Debug`.
//!
//! Not here: where keys are kept.

mod stored;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyledger_events::{AccountId, Personal, Recorded, Sealed};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::clock;
pub use stored::{KEY_VARIABLE, Locked, check};

/// An account's data key. Cheap to clone.
#[derive(Clone)]
pub struct DataKey(Arc<LessSafeKey>);

/// A new data key, and the bytes that are kept of it.
pub struct FreshKey {
    pub key: DataKey,
    pub stored: Vec<u8>,
}

/// A sealed text does not open: it was changed, or is another event's, or the key is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what is sealed in the event cannot be opened with its account's data key")]
pub struct NotOpened;

/// The bytes of a text are a multiple of this.
const FILLED_TO: usize = 32;

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

impl fmt::Debug for FreshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FreshKey(..)")
    }
}

impl DataKey {
    fn of(bytes: &[u8; 32]) -> Option<DataKey> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).ok()?;
        Some(DataKey(Arc::new(LessSafeKey::new(key))))
    }

    /// Makes a key for an account.
    ///
    /// Errors: the key-encryption key is no key.
    pub fn fresh(account: AccountId) -> Result<FreshKey, Locked> {
        let bytes = clock::random_secret_bits();
        Ok(FreshKey {
            key: DataKey::of(&bytes).ok_or(Locked::Malformed)?,
            stored: stored::store(&bytes, account)?,
        })
    }

    /// Reads a key that was kept.
    pub fn stored(stored: &[u8], account: AccountId) -> Result<DataKey, Locked> {
        DataKey::of(&stored::read(stored, account)?).ok_or(Locked::Malformed)
    }

    fn seal(&self, aad: &str, text: &[u8]) -> Option<Vec<u8>> {
        seal_with(&self.0, aad, text)
    }

    fn open(&self, aad: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        open_with(&self.0, aad, sealed)
    }
}

fn seal_with(key: &LessSafeKey, aad: &str, text: &[u8]) -> Option<Vec<u8>> {
    let bits = clock::random_secret_bits();
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(bits.get(..NONCE_LEN)?);
    let mut out = text.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut out)
        .ok()?;
    Some([&nonce[..], &out].concat())
}

fn open_with(key: &LessSafeKey, aad: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = text.to_vec();
    let length = key.open_in_place(nonce, Aad::from(aad), &mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}

fn bound_to(recorded: &Recorded) -> String {
    format!("{}\n{}", recorded.account, recorded.id)
}

/// Takes out what an event says of people, and seals it. `key` is asked only where there is anything.
///
/// Errors: what `key` says. Then the event is as it was but for what was taken out, and must not be written.
pub fn seal<E>(recorded: &mut Recorded, key: impl FnOnce() -> Result<DataKey, E>) -> Result<(), E>
where
    E: From<NotOpened>,
{
    let Some(personal) = recorded.event.part() else {
        return Ok(());
    };
    let mut text = serde_json::to_vec(&personal).map_err(|_| NotOpened)?;
    text.resize(text.len().next_multiple_of(FILLED_TO), b' ');
    let sealed = key()?.seal(&bound_to(recorded), &text).ok_or(NotOpened)?;
    recorded.sealed = Sealed::parse(&URL_SAFE_NO_PAD.encode(sealed));
    Ok(())
}

/// Puts back what was sealed in an event. One without anything sealed stays as it is.
pub fn open(recorded: &mut Recorded, key: &DataKey) -> Result<(), NotOpened> {
    let Some(sealed) = &recorded.sealed else { return Ok(()) };
    let sealed = URL_SAFE_NO_PAD.decode(sealed.as_str()).map_err(|_| NotOpened)?;
    let text = key.open(&bound_to(recorded), &sealed).ok_or(NotOpened)?;
    let personal: Personal = serde_json::from_slice(&text).map_err(|_| NotOpened)?;
    recorded.event.put_back(personal).map_err(|_| NotOpened)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyledger_events::{
        Actor, CommandId, EventId, KeyId, KeyName, KeyRenamed, Position, SEALED, Seq, Shard, Timestamp,
    };

    fn renamed(name: &str) -> Recorded {
        let event = KeyRenamed {
            key: KeyId::from_parts(1, 1),
            name: KeyName::parse(name).unwrap(),
        };
        Recorded {
            id: EventId::from_parts(1, 1),
            shard: Shard(0),
            position: Position(1),
            account: AccountId::from_parts(1, 1),
            seq: Seq(1),
            time: Timestamp::EPOCH,
            actor: Actor::System,
            command: CommandId::parse("c").unwrap(),
            sealed: None,
            event: event.into(),
        }
    }

    fn key() -> DataKey {
        DataKey::of(&[7; 32]).unwrap()
    }

    fn sealed(name: &str) -> Recorded {
        let mut recorded = renamed(name);
        seal::<NotOpened>(&mut recorded, || Ok(key())).unwrap();
        recorded
    }

    #[test]
    fn what_is_sealed_is_in_no_byte_and_opens_with_its_key() {
        let mut recorded = sealed("Ada Lovelace");
        let text = String::from_utf8(recorded.encode()).unwrap();
        assert!(text.contains(SEALED) && !text.contains("Ada"), "{text}");
        let mut read = Recorded::decode(text.as_bytes()).unwrap();
        assert_eq!(read, recorded);
        open(&mut read, &key()).unwrap();
        assert_eq!(read.event, renamed("Ada Lovelace").event);
        // Twice the same name is not twice the same text, and its length is not told.
        assert_ne!(sealed("Ada Lovelace").sealed, recorded.sealed);
        let length = |name: &str| sealed(name).sealed.unwrap().as_str().len();
        assert_eq!(length("A"), length("Ada Lovelace"));
        open(&mut recorded, &key()).unwrap();
    }

    #[test]
    fn it_opens_in_no_other_event_and_with_no_other_key() {
        let recorded = sealed("Ada");
        let mut elsewhere = recorded.clone();
        elsewhere.account = AccountId::from_parts(1, 2);
        assert_eq!(open(&mut elsewhere, &key()), Err(NotOpened));
        let mut moved = recorded.clone();
        moved.id = EventId::from_parts(1, 2);
        assert_eq!(open(&mut moved, &key()), Err(NotOpened));
        let other = DataKey::of(&[8; 32]).unwrap();
        assert_eq!(open(&mut recorded.clone(), &other), Err(NotOpened));
        let mut changed = recorded.clone();
        let text = recorded.sealed.as_ref().unwrap().as_str();
        let last = if text.ends_with('A') { 'B' } else { 'A' };
        changed.sealed = Sealed::parse(&format!("{}{last}", &text[..text.len() - 1]));
        assert_eq!(open(&mut changed, &key()), Err(NotOpened));
    }

    #[test]
    fn what_was_never_sealed_needs_no_key() {
        let mut clear = renamed("Ada");
        open(&mut clear, &key()).unwrap();
        assert_eq!(clear, renamed("Ada"));
        assert_eq!(format!("{:?}", key()), "DataKey(..)");
    }
}
