//! Where an account is found again that was opened under an idempotency key: it has no id before it is there.

use std::fmt;

use keyledger_events::CommandId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::remembered::scope_of;

/// The scope of the key. The same caller and key have the same one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Opener([u8; Opener::DIGITS]);

impl Opener {
    const DIGITS: usize = 40;

    /// `None` for a command that no key names.
    pub fn of(command: &CommandId) -> Option<Opener> {
        Opener::parse(scope_of(command)?)
    }

    fn parse(text: &str) -> Option<Opener> {
        let digits = text.as_bytes().iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        digits.then_some(Opener(text.as_bytes().try_into().ok()?))
    }

    /// Hexadecimal, as the log has it.
    pub fn as_str(&self) -> &str {
        // Digits and letters only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Opener {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Opener {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Opener, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Opener::parse(&text).ok_or_else(|| serde::de::Error::custom("40 hexadecimal digits"))
    }
}
