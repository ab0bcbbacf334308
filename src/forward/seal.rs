//! Seals: who does not know the leader's secret can neither send a command nor an answer, nor change one.
//!
//! HMAC-SHA256 (RFC 2104) over a word that says which way the message goes, and the message. 32 bytes, then the message.

use hmac::digest::Key;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

const SEAL_BYTES: usize = 32;

/// Which way a message goes. An answer never passes for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToLeader,
    FromLeader,
}

impl Way {
    fn word(self) -> &'static [u8] {
        match self {
            Way::ToLeader => b"keyledger commands\n",
            Way::FromLeader => b"keyledger answers\n",
        }
    }
}

fn mac(secret: &[u8; 32], way: Way, message: &[u8]) -> Hmac<Sha256> {
    // RFC 2104 fills a short key with zeros up to a block.
    let mut key = Key::<Hmac<Sha256>>::default();
    key.iter_mut()
        .zip(secret)
        .for_each(|(byte, of_secret)| *byte = *of_secret);
    let mut mac = Hmac::<Sha256>::new(&key);
    mac.update(way.word());
    mac.update(message);
    mac
}

/// The message with its seal before it.
pub(super) fn seal(secret: &[u8; 32], way: Way, message: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(SEAL_BYTES + message.len());
    sealed.extend_from_slice(&mac(secret, way, message).finalize().into_bytes());
    sealed.extend_from_slice(message);
    sealed
}

/// The message, if its seal is whole.
pub(super) fn open<'a>(secret: &[u8; 32], way: Way, sealed: &'a [u8]) -> Option<&'a str> {
    let (seal, message) = sealed.split_at_checked(SEAL_BYTES)?;
    mac(secret, way, message).verify_slice(seal).ok()?;
    std::str::from_utf8(message).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    #[test]
    fn a_sealed_message_opens_with_the_same_secret_the_same_way() {
        let sealed = seal(&SECRET, Way::ToLeader, b"[]");
        assert_eq!(open(&SECRET, Way::ToLeader, &sealed), Some("[]"));
        assert_eq!(open(&SECRET, Way::FromLeader, &sealed), None);
        assert_eq!(open(&[8; 32], Way::ToLeader, &sealed), None);
    }

    #[test]
    fn a_changed_or_cut_message_does_not_open() {
        let sealed = seal(&SECRET, Way::FromLeader, b"[1]");
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(open(&SECRET, Way::FromLeader, &changed), None, "byte {place}");
            assert_eq!(open(&SECRET, Way::FromLeader, &sealed[..place]), None, "first {place}");
        }
    }
}
