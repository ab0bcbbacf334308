//! The texts that open a stay on the pages: the link's `kll_…` and the cookie's `kls_…`, shaped like an access token.

use std::fmt;

use keyledger_events::{KeyDigest, base62_secret, is_base62_secret};

/// Not `Clone`, not `Display`, not `Serialize`; `Debug` prints nothing of it.
pub struct LinkSecret(String);

/// Not `Clone`, not `Display`, not `Serialize`; `Debug` prints nothing of it.
pub struct CookieSecret(String);

macro_rules! secret {
    ($name:ident, $head:literal) => {
        impl $name {
            /// Makes a text of 256 random bits.
            pub fn from_random(random: [u8; 32]) -> $name {
                $name(base62_secret($head, random))
            }

            /// Takes a text that came from outside, if its shape and its CRC are right.
            pub fn parse(text: &str) -> Option<$name> {
                is_base62_secret($head, text).then(|| $name(text.to_owned()))
            }

            /// SHA-256 of the whole text: what is stored and looked up.
            pub fn digest(&self) -> KeyDigest {
                KeyDigest::of(&self.0)
            }

            /// Lets the text out: into the answer to the platform, into the person's browser, and nowhere else.
            pub fn expose_text_to_its_holder(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

secret!(LinkSecret, "kll_");
secret!(CookieSecret, "kls_");

impl CookieSecret {
    /// What a form has to carry to be taken from this session: nobody can make it who has not read the page.
    pub fn form_token(&self) -> String {
        KeyDigest::of(&format!("portal form\n{}", self.0)).to_string()
    }

    /// Whether a form carries it. Hashes are compared, so the time that it takes tells nothing.
    pub fn owns_form(&self, token: &str) -> bool {
        KeyDigest::of(&self.form_token()) == KeyDigest::of(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_opens_no_page_and_a_cookie_is_no_link() {
        let link = LinkSecret::from_random([1; 32]).0;
        let cookie = CookieSecret::from_random([1; 32]).0;
        assert!(LinkSecret::parse(&link).is_some() && CookieSecret::parse(&cookie).is_some());
        assert!(LinkSecret::parse(&cookie).is_none() && CookieSecret::parse(&link).is_none());
    }

    #[test]
    fn a_form_belongs_to_one_session() {
        let (mine, other) = (CookieSecret::from_random([1; 32]), CookieSecret::from_random([2; 32]));
        assert!(mine.owns_form(&mine.form_token()));
        assert!(!mine.owns_form(&other.form_token()) && !mine.owns_form(""));
    }

    #[test]
    fn debug_output_tells_nothing() {
        assert_eq!(format!("{:?}", CookieSecret::from_random([1; 32])), "CookieSecret(..)");
    }
}
