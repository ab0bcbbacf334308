//! A data key as it is kept: in the clear, or wrapped under a key-encryption key that is outside the database, so that a copy
//! of the database alone opens nothing.
//!
//! Format: one byte, 0 or 1; after 0 the key's 32 bytes, after 1 nonce, wrapped key and tag of AES-256-GCM, bound to the
//! account's id.

use std::sync::OnceLock;

use keyledger_events::AccountId;
use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};

use super::{NotOpened, open_with, seal_with};

/// Names the key-encryption key: 64 hexadecimal digits. With `_FILE` after it, a file that holds them.
pub const KEY_VARIABLE: &str = "KEYLEDGER_KEY_ENCRYPTION_KEY";

/// Why data keys cannot be kept or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Locked {
    #[error("the key-encryption key is not 64 hexadecimal digits")]
    Malformed,
    #[error("the file of the key-encryption key cannot be read")]
    NoFile,
    #[error("a data key is wrapped, and there is no key-encryption key")]
    NoKey,
    #[error("a data key is wrapped under another key-encryption key")]
    OtherKey,
    #[error("what an event says of people cannot be sealed")]
    NotSealed,
}

impl From<NotOpened> for Locked {
    fn from(_: NotOpened) -> Locked {
        Locked::NotSealed
    }
}

const IN_THE_CLEAR: u8 = 0;
const WRAPPED: u8 = 1;

/// Says at the start whether the key-encryption key can be used.
pub fn check() -> Result<(), Locked> {
    wrapping().map(drop)
}

fn wrapping() -> Result<Option<&'static LessSafeKey>, Locked> {
    static KEY: OnceLock<Result<Option<LessSafeKey>, Locked>> = OnceLock::new();
    KEY.get_or_init(from_environment)
        .as_ref()
        .map(Option::as_ref)
        .map_err(|locked| *locked)
}

fn from_environment() -> Result<Option<LessSafeKey>, Locked> {
    if let Ok(text) = std::env::var(KEY_VARIABLE) {
        return key(&text).map(Some);
    }
    match std::env::var_os(format!("{KEY_VARIABLE}_FILE")) {
        Some(file) => key(&std::fs::read_to_string(file).map_err(|_| Locked::NoFile)?).map(Some),
        None => Ok(None),
    }
}

fn key(text: &str) -> Result<LessSafeKey, Locked> {
    let text = text.trim();
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(Locked::Malformed);
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| Locked::Malformed)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| Locked::Malformed)?;
    }
    let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| Locked::Malformed)?;
    Ok(LessSafeKey::new(key))
}

pub(super) fn store(bytes: &[u8; 32], account: AccountId) -> Result<Vec<u8>, Locked> {
    store_under(wrapping()?, bytes, account)
}

pub(super) fn read(stored: &[u8], account: AccountId) -> Result<[u8; 32], Locked> {
    read_under(wrapping()?, stored, account)
}

fn store_under(wrapping: Option<&LessSafeKey>, bytes: &[u8; 32], account: AccountId) -> Result<Vec<u8>, Locked> {
    let Some(wrapping) = wrapping else {
        return Ok([&[IN_THE_CLEAR], &bytes[..]].concat());
    };
    let wrapped = seal_with(wrapping, &account.to_string(), bytes).ok_or(Locked::Malformed)?;
    Ok([&[WRAPPED], &wrapped[..]].concat())
}

fn read_under(wrapping: Option<&LessSafeKey>, stored: &[u8], account: AccountId) -> Result<[u8; 32], Locked> {
    match stored.split_first() {
        Some((&IN_THE_CLEAR, bytes)) => bytes.try_into().map_err(|_| Locked::Malformed),
        Some((&WRAPPED, wrapped)) => {
            let wrapping = wrapping.ok_or(Locked::NoKey)?;
            let bytes = open_with(wrapping, &account.to_string(), wrapped).ok_or(Locked::OtherKey)?;
            bytes.try_into().map_err(|_| Locked::OtherKey)
        }
        Some(_) | None => Err(Locked::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(n: u128) -> AccountId {
        AccountId::from_parts(1, n)
    }

    #[test]
    fn a_wrapped_key_is_read_under_the_same_key_for_the_same_account_only() {
        let (wrapping, other) = (key(&"ab".repeat(32)).unwrap(), key(&"AC".repeat(32)).unwrap());
        let stored = store_under(Some(&wrapping), &[9; 32], account(1)).unwrap();
        assert!(!stored.windows(8).any(|bytes| bytes == [9; 8]));
        assert_eq!(read_under(Some(&wrapping), &stored, account(1)), Ok([9; 32]));
        assert_eq!(read_under(Some(&wrapping), &stored, account(2)), Err(Locked::OtherKey));
        assert_eq!(read_under(Some(&other), &stored, account(1)), Err(Locked::OtherKey));
        assert_eq!(read_under(None, &stored, account(1)), Err(Locked::NoKey));
    }

    #[test]
    fn a_key_that_was_kept_in_the_clear_is_read_with_and_without_one() {
        let wrapping = key(&"ab".repeat(32)).unwrap();
        let stored = store_under(None, &[9; 32], account(1)).unwrap();
        for wrapping in [None, Some(&wrapping)] {
            assert_eq!(read_under(wrapping, &stored, account(1)), Ok([9; 32]));
        }
    }

    #[test]
    fn a_key_encryption_key_is_64_digits() {
        assert!(key(&format!("{}\n", "0f".repeat(32))).is_ok());
        for bad in ["", "0f", &"0g".repeat(32), &"é".repeat(32)] {
            assert!(key(bad).is_err(), "{bad}");
        }
    }
}
