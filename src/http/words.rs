//! Values that bodies hold and that the vocabulary of the events leaves open: bounded here, where they come in.

use keyledger_events::{Credits, KeyName, Position};
use serde::{Deserialize, Serialize};

use crate::config::is_web;

/// A value that does not fit, in words for whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unfit(&'static str);

/// A text that a platform chooses to find its own thing again: an invoice, a customer's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Reference(String);

const REFERENCE_CHARS_MAX: usize = 128;

impl TryFrom<String> for Reference {
    type Error = Unfit;

    fn try_from(text: String) -> Result<Reference, Unfit> {
        // The bytes bound the work of counting characters.
        let fits = !text.is_empty()
            && text.len() <= 4 * REFERENCE_CHARS_MAX
            && text.chars().count() <= REFERENCE_CHARS_MAX
            && !text.chars().any(char::is_control);
        if fits {
            Ok(Reference(text))
        } else {
            Err(Unfit("must have 1 to 128 characters and no control characters"))
        }
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.0
    }
}

/// Where a person may be sent: an address of the web and nothing that a browser would run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct WebAddress(String);

impl TryFrom<String> for WebAddress {
    type Error = Unfit;

    fn try_from(text: String) -> Result<WebAddress, Unfit> {
        if is_web(&text) {
            Ok(WebAddress(text))
        } else {
            Err(Unfit(
                "must begin with https:// or http:// and have at most 500 characters",
            ))
        }
    }
}

impl From<WebAddress> for String {
    fn from(address: WebAddress) -> String {
        address.0
    }
}

/// An amount to give: more than zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Credits", into = "Credits")]
pub(crate) struct Amount(Credits);

impl Amount {
    pub(crate) const fn get(self) -> Credits {
        self.0
    }
}

impl TryFrom<Credits> for Amount {
    type Error = Unfit;

    fn try_from(credits: Credits) -> Result<Amount, Unfit> {
        if credits > Credits::ZERO {
            Ok(Amount(credits))
        } else {
            Err(Unfit("must be more than zero"))
        }
    }
}

impl From<Amount> for Credits {
    fn from(amount: Amount) -> Credits {
        amount.0
    }
}

/// An amount to add or to take away: not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Credits", into = "Credits")]
pub(crate) struct Difference(Credits);

impl Difference {
    pub(crate) const fn get(self) -> Credits {
        self.0
    }
}

impl TryFrom<Credits> for Difference {
    type Error = Unfit;

    fn try_from(credits: Credits) -> Result<Difference, Unfit> {
        if credits.is_zero() {
            Err(Unfit("must not be zero"))
        } else {
            Ok(Difference(credits))
        }
    }
}

impl From<Difference> for Credits {
    fn from(difference: Difference) -> Credits {
        difference.0
    }
}

/// Credits that may be none: zero or more. How far an account may go below zero, how much of something goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Credits", into = "Credits")]
pub(crate) struct Least(Credits);

impl Least {
    pub(crate) const ZERO: Least = Least(Credits::ZERO);

    pub(crate) const fn get(self) -> Credits {
        self.0
    }
}

impl TryFrom<Credits> for Least {
    type Error = Unfit;

    fn try_from(credits: Credits) -> Result<Least, Unfit> {
        if credits.is_negative() {
            Err(Unfit("must be zero or more"))
        } else {
            Ok(Least(credits))
        }
    }
}

impl From<Least> for Credits {
    fn from(limit: Least) -> Credits {
        limit.0
    }
}

/// Units of paid work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub(crate) struct Quantity(u64);

/// Beyond any real order, and far from where a price times a quantity leaves its bounds silently.
const QUANTITY_MAX: u64 = 1_000_000_000;

impl Quantity {
    pub(crate) const ONE: Quantity = Quantity(1);

    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Quantity {
    type Error = Unfit;

    fn try_from(units: u64) -> Result<Quantity, Unfit> {
        if (1..=QUANTITY_MAX).contains(&units) {
            Ok(Quantity(units))
        } else {
            Err(Unfit("must be from 1 to 1000000000"))
        }
    }
}

impl From<Quantity> for u64 {
    fn from(quantity: Quantity) -> u64 {
        quantity.0
    }
}

/// Units that were delivered: none, too, which charges nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub(crate) struct Delivered(u64);

impl Delivered {
    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Delivered {
    type Error = Unfit;

    fn try_from(units: u64) -> Result<Delivered, Unfit> {
        if units <= QUANTITY_MAX {
            Ok(Delivered(units))
        } else {
            Err(Unfit("must be from 0 to 1000000000"))
        }
    }
}

impl From<Delivered> for u64 {
    fn from(delivered: Delivered) -> u64 {
        delivered.0
    }
}

/// How long a hold may stay open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub(crate) struct TtlSeconds(u32);

const TTL_SECONDS_MAX: u32 = 24 * 3600;

impl TtlSeconds {
    pub(crate) const DEFAULT: TtlSeconds = TtlSeconds(15 * 60);

    pub(crate) const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u64> for TtlSeconds {
    type Error = Unfit;

    fn try_from(seconds: u64) -> Result<TtlSeconds, Unfit> {
        match u32::try_from(seconds) {
            Ok(seconds) if (1..=TTL_SECONDS_MAX).contains(&seconds) => Ok(TtlSeconds(seconds)),
            Ok(_) | Err(_) => Err(Unfit("must be from 1 to 86400 seconds")),
        }
    }
}

impl From<TtlSeconds> for u64 {
    fn from(ttl: TtlSeconds) -> u64 {
        u64::from(ttl.0)
    }
}

/// How many items a list gives at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub(crate) struct Limit(u32);

const LIMIT_MAX: u32 = 200;

impl Limit {
    pub(crate) const DEFAULT: Limit = Limit(50);

    pub(crate) const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Limit {
    type Error = Unfit;

    fn try_from(items: u32) -> Result<Limit, Unfit> {
        if (1..=LIMIT_MAX).contains(&items) {
            Ok(Limit(items))
        } else {
            Err(Unfit("must be from 1 to 200"))
        }
    }
}

/// What somebody looks for: a part of a name, or how a name begins.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Sought(String);

impl TryFrom<String> for Sought {
    type Error = Unfit;

    /// Reads it as a name, so that it has the form in which names are kept.
    fn try_from(text: String) -> Result<Sought, Unfit> {
        let name =
            KeyName::parse(&text).map_err(|_| Unfit("must be 1 to 80 characters, none of them a control character"))?;
        Ok(Sought(name.into()))
    }
}

impl From<Sought> for String {
    fn from(sought: Sought) -> String {
        sought.0
    }
}

/// The first position to show of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub(crate) struct FirstPosition(u64);

impl FirstPosition {
    /// The position before it: where a reader stands who wants it next.
    pub(crate) const fn before(self) -> Position {
        Position(self.0 - 1)
    }
}

impl TryFrom<u64> for FirstPosition {
    type Error = Unfit;

    fn try_from(position: u64) -> Result<FirstPosition, Unfit> {
        if position >= 1 && i64::try_from(position).is_ok() {
            Ok(FirstPosition(position))
        } else {
            Err(Unfit("must be a position: from 1"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_at_both_ends() {
        assert!(Quantity::try_from(0).is_err() && Quantity::try_from(QUANTITY_MAX + 1).is_err());
        assert!(Quantity::try_from(1).is_ok() && Quantity::try_from(QUANTITY_MAX).is_ok());
        assert!(Delivered::try_from(0).is_ok() && Delivered::try_from(QUANTITY_MAX + 1).is_err());
        assert!(TtlSeconds::try_from(0).is_err() && TtlSeconds::try_from(86_401).is_err());
        assert!(TtlSeconds::try_from(1).is_ok() && TtlSeconds::try_from(86_400).is_ok());
        assert!(Limit::try_from(0).is_err() && Limit::try_from(201).is_err() && Limit::try_from(200).is_ok());
    }

    #[test]
    fn a_reference_is_short_and_printable() {
        assert!(Reference::try_from("é".repeat(128)).is_ok());
        for bad in [
            String::new(),
            "x".repeat(129),
            "a\0b".to_owned(),
            "a\nb".to_owned(),
            "\u{85}".to_owned(),
        ] {
            assert!(Reference::try_from(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
