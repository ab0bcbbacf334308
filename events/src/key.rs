//! Key text, its digest and its preview.
//!
//! Text: `<prefix>_<live|test>_`, 43 base62 characters of 256 random bits, 6 base62 characters of the CRC-32 of all
//! before them. The CRC lets a scanner or the gateway refuse a typo without a look-up; it protects nothing.
//! The text exists in one response and nowhere else, so its type cannot be cloned, printed or serialized.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_CHARS: usize = 43;
const CHECK_CHARS: usize = 6;
const PREVIEW_CHARS: usize = 3;

/// Whether a key is for real work or for trying out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    #[default]
    Live,
    Test,
}

impl Environment {
    /// What is not said of work is that it is real.
    pub(crate) const fn is_live(&self) -> bool {
        matches!(self, Environment::Live)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Environment::Live => "live",
            Environment::Test => "test",
        }
    }
}

/// What a platform's keys begin with, before `_live_` or `_test_`: 1 to 12 lower-case letters and digits. `sk` unless configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPrefix(String);

impl KeyPrefix {
    pub fn parse(text: &str) -> Option<KeyPrefix> {
        let fits = (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        fits.then(|| KeyPrefix(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for KeyPrefix {
    fn default() -> KeyPrefix {
        KeyPrefix("sk".to_owned())
    }
}

/// The whole text of a key. Not `Clone`, not `Display`, not `Serialize`; `Debug` prints nothing of it.
pub struct KeySecret(String);

/// The text is no key: wrong shape or a typo. Deliberately without the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the text of a key")]
pub struct MalformedKey;

impl KeySecret {
    /// Makes a key's text of 256 random bits.
    pub fn from_random(prefix: &KeyPrefix, environment: Environment, random: [u8; 32]) -> KeySecret {
        KeySecret(base62_secret(
            &format!("{}_{}_", prefix.as_str(), environment.as_str()),
            random,
        ))
    }

    /// Takes a text that came from outside, if its shape and its CRC are right.
    pub fn parse(prefix: &KeyPrefix, text: &str) -> Result<KeySecret, MalformedKey> {
        let rest = text.strip_prefix(prefix.as_str()).ok_or(MalformedKey)?;
        let tail = rest
            .strip_prefix("_live_")
            .or_else(|| rest.strip_prefix("_test_"))
            .ok_or(MalformedKey)?;
        let head = &text[..text.len() - tail.len()];
        if is_base62_secret(head, text) {
            Ok(KeySecret(text.to_owned()))
        } else {
            Err(MalformedKey)
        }
    }

    /// SHA-256 of the whole text: what is stored and looked up. 256 random bits need no slow hash.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest(Sha256::digest(self.0.as_bytes()).into())
    }

    /// What may be shown for ever: the prefix, three characters and an ellipsis, `sk_live_abc...`.
    pub fn preview(&self) -> String {
        let shown = self.0.len() - RANDOM_CHARS - CHECK_CHARS + PREVIEW_CHARS;
        format!("{}...", &self.0[..shown])
    }

    /// Lets the text out. Called where the creating response is written, and nowhere else.
    pub fn expose_text_in_the_creating_response(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(..)")
    }
}

/// Writes `head`, 256 random bits in base62 and the check characters: the shape of every secret that we hand out.
pub fn base62_secret(head: &str, random: [u8; 32]) -> String {
    let mut text = String::with_capacity(head.len() + RANDOM_CHARS + CHECK_CHARS);
    text.push_str(head);
    let digits: [u8; RANDOM_CHARS] = base62(random);
    text.extend(digits.map(char::from));
    let check = check_chars(&text);
    text.extend(check.map(char::from));
    text
}

/// Whether a text has the shape of a secret that begins with `head`, and the check characters are right.
pub fn is_base62_secret(head: &str, text: &str) -> bool {
    let shaped = text.strip_prefix(head).is_some_and(|tail| {
        tail.len() == RANDOM_CHARS + CHECK_CHARS && tail.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    shaped && {
        let (body, check) = text.split_at(text.len() - CHECK_CHARS);
        check_chars(body) == check.as_bytes()
    }
}

fn check_chars(body: &str) -> [u8; CHECK_CHARS] {
    base62(crc32fast::hash(body.as_bytes()).to_be_bytes())
}

/// Writes a big-endian number in exactly `N` base62 digits, the most significant first. `N` digits must be enough.
fn base62<const M: usize, const N: usize>(mut number: [u8; M]) -> [u8; N] {
    let mut digits = [b'0'; N];
    for slot in digits.iter_mut().rev() {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = remainder * 256 + u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(0);
            remainder = value % 62;
        }
        *slot = ALPHABET
            .get(usize::try_from(remainder).unwrap_or(0))
            .copied()
            .unwrap_or(b'0');
    }
    digits
}

/// SHA-256 of a key's text. As text: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    pub const fn from_bytes(bytes: [u8; 32]) -> KeyDigest {
        KeyDigest(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest of any secret text of ours, an access token's too.
    pub fn of(text: &str) -> KeyDigest {
        KeyDigest(Sha256::digest(text.as_bytes()).into())
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyDigest({self})")
    }
}

impl FromStr for KeyDigest {
    type Err = MalformedKey;

    fn from_str(text: &str) -> Result<KeyDigest, MalformedKey> {
        let hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
        if !hex {
            return Err(MalformedKey);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| MalformedKey)?;
        }
        Ok(KeyDigest(bytes))
    }
}

impl Serialize for KeyDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<KeyDigest, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret(random: [u8; 32]) -> KeySecret {
        KeySecret::from_random(&KeyPrefix::default(), Environment::Live, random)
    }

    #[test]
    fn a_key_has_the_shape_that_scanners_know() {
        let text = secret([7; 32]).0;
        assert_eq!(text.len(), "sk_live_".len() + 43 + 6);
        assert!(text.starts_with("sk_live_"));
        assert_eq!(secret([255; 32]).0.len(), text.len());
        assert_eq!(secret([0; 32]).0.get(..11), Some("sk_live_000"));
    }

    #[test]
    fn a_preview_shows_the_prefix_and_three_characters() {
        let secret = secret([9; 32]);
        assert_eq!(secret.preview(), format!("{}...", &secret.0[..11]));
    }

    #[test]
    fn debug_output_tells_nothing() {
        assert_eq!(format!("{:?}", secret([1; 32])), "KeySecret(..)");
    }

    #[test]
    fn other_shapes_are_no_keys() {
        let right = secret([3; 32]).0;
        for bad in [
            "",
            "sk_live_",
            &right[1..],
            &right[..right.len() - 1],
            &format!("{right}0"),
            &right.replace("live", "prod"),
            &right.replace('_', "-"),
        ] {
            assert!(KeySecret::parse(&KeyPrefix::default(), bad).is_err(), "{bad}");
        }
        assert!(KeySecret::parse(&KeyPrefix::parse("acme").unwrap(), &right).is_err());
    }

    proptest! {
        #[test]
        fn every_key_is_recognized_and_no_changed_letter_is(random: [u8; 32], at in 8usize..57, to in 0usize..62) {
            let text = secret(random).0;
            prop_assert!(KeySecret::parse(&KeyPrefix::default(), &text).is_ok());
            let mut changed = text.clone().into_bytes();
            changed[at] = ALPHABET[to];
            let changed = String::from_utf8(changed).unwrap();
            prop_assert_eq!(KeySecret::parse(&KeyPrefix::default(), &changed).is_ok(), changed == text);
        }

        #[test]
        fn a_digest_reads_back(bytes: [u8; 32]) {
            let digest = KeyDigest::from_bytes(bytes);
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        }
    }
}
