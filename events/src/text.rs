//! Texts that people choose: bounded, trimmed, in Unicode NFC, without characters that lie about what is shown.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use unicode_normalization::UnicodeNormalization;

/// Why a text cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("must not be empty")]
    Empty,
    #[error("must have at most {max} characters")]
    TooLong { max: usize },
    #[error("must not have control or invisible formatting characters")]
    ForbiddenCharacter,
    #[error("must be 1 to 64 of a-z, 0-9, '_', '-', '.', and begin with a letter")]
    NotAnEndpoint,
}

const NAME_CHARS_MAX: usize = 80;
const REASON_CHARS_MAX: usize = 200;

/// Trims, normalizes to NFC and checks a text that a person chose.
fn clean(text: &str, max: usize) -> Result<String, TextError> {
    // A name is short; normalizing a megabyte only to refuse it would be work for nothing.
    if text.len() > 16 * max {
        return Err(TextError::TooLong { max });
    }
    let name: String = text.trim().nfc().collect();
    if name.is_empty() {
        return Err(TextError::Empty);
    }
    if name.chars().count() > max {
        return Err(TextError::TooLong { max });
    }
    if name.chars().any(misleads) {
        return Err(TextError::ForbiddenCharacter);
    }
    Ok(name)
}

/// Controls, line separators, bidirectional overrides and tags: what makes a name look like another one. The
/// zero-width joiner stays, since emoji and several scripts need it.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{FEFF}'
        )
        || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{E0000}'..='\u{E007F}')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl $name {
            pub fn parse(text: &str) -> Result<$name, TextError> {
                clean(text, $max).map($name)
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// One of our own words, which are short and plain.
            #[allow(dead_code, reason = "not every kind of text needs one")]
            pub(crate) fn word(word: &'static str) -> $name {
                $name(word.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = TextError;

            fn try_from(text: String) -> Result<$name, TextError> {
                $name::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// The friendly name of a key: 1 to 80 characters after trimming. Need not be unique.
    KeyName,
    NAME_CHARS_MAX
);
name!(
    /// The name of a customer: 1 to 80 characters after trimming. Need not be unique.
    AccountName,
    NAME_CHARS_MAX
);
name!(
    /// Why something was done to an account, in a person's words: 1 to 200 characters after trimming.
    Reason,
    REASON_CHARS_MAX
);

/// The name of a priced endpoint in events, statements and charts: `serp`, `ai_visibility`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint(std::sync::Arc<str>);

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Endpoint {
    pub fn parse(text: &str) -> Result<Endpoint, TextError> {
        if Endpoint::is_one(text) {
            Ok(Endpoint(text.into()))
        } else {
            Err(TextError::NotAnEndpoint)
        }
    }

    pub(crate) fn is_one(text: &str) -> bool {
        (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.'))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Endpoint {
    type Error = TextError;

    fn try_from(text: String) -> Result<Endpoint, TextError> {
        Endpoint::parse(&text)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_composed() {
        assert_eq!(KeyName::parse("  Looker Studio ").unwrap().as_str(), "Looker Studio");
        assert_eq!(KeyName::parse("Cafe\u{301}").unwrap().as_str(), "Café");
        assert!(KeyName::parse(&"é".repeat(80)).is_ok());
    }

    #[test]
    fn names_that_lie_or_do_not_fit_are_refused() {
        assert_eq!(KeyName::parse("  "), Err(TextError::Empty));
        assert_eq!(KeyName::parse(&"x".repeat(81)), Err(TextError::TooLong { max: 80 }));
        for bad in ["a\nb", "a\0b", "a\u{202E}b", "a\u{200B}b", "a\u{7f}", "a\u{85}b"] {
            assert_eq!(KeyName::parse(bad), Err(TextError::ForbiddenCharacter), "{bad:?}");
        }
    }

    #[test]
    fn a_normalized_name_stays_as_it_is() {
        let name = KeyName::parse("Ａpp 👩‍👩‍👧 שלום").unwrap();
        assert_eq!(KeyName::parse(name.as_str()).unwrap(), name);
    }

    #[test]
    fn endpoints_are_plain_words() {
        assert!(Endpoint::parse("ai_visibility").is_ok());
        for bad in ["", "Serp", "a b", "1a", "é", &"a".repeat(65)] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
