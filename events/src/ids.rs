//! Ids: a ULID each, with a prefix that says of what. One spelling only: `acct_01J…` in upper case.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

use crate::brief::Brief;
use crate::scan::Scan;

/// The text is not an id of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id of this kind is {prefix:?} and 26 characters of a ULID in upper case")]
pub struct IdError {
    pub prefix: &'static str,
}

fn parse_ulid(text: &str, prefix: &'static str) -> Result<Ulid, IdError> {
    let tail = text.strip_prefix(prefix).ok_or(IdError { prefix })?;
    // The library's reader takes lower case and look-alike letters; two spellings of one id would be two ids to a cache.
    let mut scan = Scan::of(tail.as_bytes());
    let bytes = scan.ulid().filter(|_| scan.is_over());
    bytes.map(Ulid::from_bytes).ok_or(IdError { prefix })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// Makes an id from a time in ms since 1970 and random bits, of which the lowest 80 are used.
            pub const fn from_parts(ms: u64, random: u128) -> $name {
                $name(Ulid::from_parts(ms, random))
            }

            pub const fn from_bytes(bytes: [u8; 16]) -> $name {
                $name(Ulid::from_bytes(bytes))
            }

            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.to_bytes()
            }

            pub(crate) fn brief(self) -> Brief {
                Brief::of($prefix).and(self.0.array_to_str(&mut [0; 26]))
            }

            /// The moment that the id carries, in ms since 1970.
            pub const fn ms(self) -> u64 {
                self.0.timestamp_ms()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.brief().as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<$name, IdError> {
                parse_ulid(text, $prefix).map($name)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.brief().as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A customer: the consistency boundary.
    AccountId,
    "acct_"
);
impl AccountId {
    /// The history of what is true for every account, such as prices. Nobody's account has this id: it is of 1970.
    pub const SYSTEM: AccountId = AccountId::from_parts(0, 0);
}

id!(
    /// An API key of a customer. Not its text: that is a [`crate::KeySecret`].
    KeyId,
    "key_"
);
id!(
    /// Credits given to an account at once.
    GrantId,
    "grant_"
);
id!(
    /// Credits held for work not yet done; the charge that closes it has the same id.
    ReservationId,
    "rsv_"
);
id!(
    /// A refund of a charge, in full or in part.
    RefundId,
    "refund_"
);
id!(
    /// Credits that a correction took away.
    CorrectionId,
    "corr_"
);
id!(
    /// Credits that an account is given again and again.
    PlanId,
    "plan_"
);
id!(
    /// An access token of a caller of the HTTP API. Not its text.
    TokenId,
    "tok_"
);
id!(
    /// A person's stay on the customer's pages, opened by the platform for one account.
    PortalSessionId,
    "ses_"
);
id!(
    /// An event, for ever. A bare ULID, as CloudEvents shows it.
    EventId,
    ""
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_says_its_kind() {
        let id = AccountId::from_parts(1_764_000_000_000, 42);
        let text = id.to_string();
        assert!(text.starts_with("acct_01"), "{text}");
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(AccountId::from_bytes(id.to_bytes()), id);
        assert!(text.parse::<KeyId>().is_err());
    }

    #[test]
    fn only_one_spelling_is_an_id() {
        let text = KeyId::from_parts(1_764_000_000_000, 7).to_string();
        for bad in [
            text.to_lowercase(),
            format!("{text} "),
            format!("{text}0"),
            text.replace("key_", ""),
            "key_".into(),
            "key_8ZZZZZZZZZZZZZZZZZZZZZZZZZ".into(),
            "../../etc".into(),
            "key_\0".into(),
        ] {
            assert!(bad.parse::<KeyId>().is_err(), "{bad:?}");
        }
    }
}
