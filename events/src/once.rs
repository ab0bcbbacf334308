//! The name of a result that is paid once, as events carry it.
//!
//! Promise: it tells nothing of a path but whether it is the same one for the same key: of key, method and path there
//! is only a digest.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::key::KeyDigest;

const BYTES: usize = 16;

/// The first 16 bytes of a SHA-256 over key, method and path. As text: 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OnceMark([u8; BYTES]);

/// A text that is no mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a mark is 32 lower-case hexadecimal digits")]
pub struct MalformedMark;

impl OnceMark {
    pub const fn from_bytes(bytes: [u8; BYTES]) -> OnceMark {
        OnceMark(bytes)
    }

    /// Names what a key gets at a path. The path is without its query: what the query says is how a result is shown.
    pub fn of(key: &KeyDigest, method: &str, path: &str) -> OnceMark {
        let whole = Sha256::new()
            .chain_update(key.as_bytes())
            .chain_update(method)
            .chain_update(" ")
            .chain_update(path)
            .finalize();
        let mut bytes = [0; BYTES];
        for (byte, from) in bytes.iter_mut().zip(whole) {
            *byte = from;
        }
        OnceMark(bytes)
    }
}

impl fmt::Display for OnceMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for OnceMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnceMark({self})")
    }
}

impl FromStr for OnceMark {
    type Err = MalformedMark;

    fn from_str(text: &str) -> Result<OnceMark, MalformedMark> {
        let hex = text.len() == 2 * BYTES && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
        if !hex {
            return Err(MalformedMark);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| MalformedMark)?;
        Ok(OnceMark(number.to_be_bytes()))
    }
}

impl Serialize for OnceMark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OnceMark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OnceMark, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_other_texts_are_none() {
        let mark = OnceMark::of(&KeyDigest::of("sk_live_example"), "GET", "/tasks/7");
        assert_eq!(mark.to_string().parse(), Ok(mark));
        for bad in [
            "",
            "0",
            &"0".repeat(31),
            &"0".repeat(33),
            &"A".repeat(32),
            &"+".repeat(32),
        ] {
            assert_eq!(bad.parse::<OnceMark>(), Err(MalformedMark), "{bad}");
        }
    }

    #[test]
    fn a_mark_is_for_one_key_one_method_and_one_path() {
        let key = KeyDigest::of("sk_live_example");
        let mark = OnceMark::of(&key, "GET", "/tasks/7");
        for other in [
            OnceMark::of(&key, "GET", "/tasks/8"),
            OnceMark::of(&key, "POST", "/tasks/7"),
            OnceMark::of(&KeyDigest::of("sk_live_another"), "GET", "/tasks/7"),
        ] {
            assert_ne!(mark, other);
        }
    }
}
