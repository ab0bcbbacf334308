//! The text of an access token: `klt_`, 43 base62 characters of 256 random bits, 6 of their CRC-32.

use std::fmt;

use keyledger_events::{KeyDigest, base62_secret, is_base62_secret};

const HEAD: &str = "klt_";

/// The whole text of an access token. Not `Clone`, not `Display`, not `Serialize`; `Debug` prints nothing of it.
pub struct TokenSecret(String);

impl TokenSecret {
    /// Makes a token's text of 256 random bits.
    pub fn from_random(random: [u8; 32]) -> TokenSecret {
        TokenSecret(base62_secret(HEAD, random))
    }

    /// Takes a text that came from outside, if its shape and its CRC are right.
    pub fn parse(text: &str) -> Option<TokenSecret> {
        is_base62_secret(HEAD, text).then(|| TokenSecret(text.to_owned()))
    }

    /// SHA-256 of the whole text: what is stored and looked up.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(&self.0)
    }

    /// Lets the text out. Called where a new token is handed to the one who made it, and nowhere else.
    pub fn expose_text_to_its_maker(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_recognized_and_a_typo_is_not() {
        let text = TokenSecret::from_random([5; 32]).0;
        assert_eq!(text.len(), 4 + 43 + 6);
        assert!(TokenSecret::parse(&text).is_some());
        let typo = text.replacen(&text[10..11], if &text[10..11] == "a" { "b" } else { "a" }, 1);
        for bad in [typo.as_str(), "", "klt_", &text[1..], &format!("{text} "), "klt_é"] {
            assert!(TokenSecret::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn debug_output_tells_nothing() {
        assert_eq!(format!("{:?}", TokenSecret::from_random([1; 32])), "TokenSecret(..)");
    }
}
