//! Amounts of credits: exact, bounded, never a float.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::brief::Brief;

/// A count of micro-credits: 1 credit is 1,000,000. May be negative (a balance under a credit limit); the
/// places where it must not be say so.
///
/// As text and in JSON it is a decimal string with at most six fraction digits and no needless zeros: `"0.5"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Credits(i64);

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CreditsError {
    #[error("an amount is a plain decimal number such as \"0.5\"")]
    NotDecimal,
    #[error("an amount has at most six fraction digits")]
    TooPrecise,
    #[error("an amount lies between -9000000000 and 9000000000 credits")]
    OutOfRange,
}

const MICRO: i64 = 1_000_000;

impl Credits {
    pub const ZERO: Credits = Credits(0);
    /// The largest amount: 9,000,000,000 credits. A sum of a million of them still fits an `i128` many times over.
    pub const MAX: Credits = Credits(9_000_000_000 * MICRO);

    /// Makes an amount of micro-credits; `None` beyond the bounds.
    pub const fn from_micros(micros: i64) -> Option<Credits> {
        if micros > Self::MAX.0 || micros < -Self::MAX.0 {
            None
        } else {
            Some(Credits(micros))
        }
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Adds; `None` beyond the bounds.
    pub const fn plus(self, other: Credits) -> Option<Credits> {
        Credits::from_micros(self.0 + other.0)
    }

    /// Subtracts; `None` beyond the bounds. The result may be negative.
    pub const fn minus(self, other: Credits) -> Option<Credits> {
        Credits::from_micros(self.0 - other.0)
    }

    /// Subtracts; `None` when the result would be negative.
    pub const fn minus_within(self, other: Credits) -> Option<Credits> {
        if other.0 > self.0 {
            None
        } else {
            Credits::from_micros(self.0 - other.0)
        }
    }

    /// Multiplies by a count; `None` beyond the bounds.
    pub fn times(self, count: u64) -> Option<Credits> {
        let product = i128::from(self.0) * i128::from(count);
        i64::try_from(product).ok().and_then(Credits::from_micros)
    }
}

impl Credits {
    pub(crate) fn brief(self) -> Brief {
        CreditsTotal::from(self).brief()
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.brief().as_str())
    }
}

impl fmt::Debug for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credits({self})")
    }
}

/// A sum of amounts, of many accounts or over a long time: micro-credits, without the bounds of one amount. Written as those
/// are: `"27000000000.5"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct CreditsTotal(i128);

impl CreditsTotal {
    pub const ZERO: CreditsTotal = CreditsTotal(0);

    /// A sum of micro-credits.
    pub const fn from_micros(micros: i128) -> CreditsTotal {
        CreditsTotal(micros)
    }

    /// Adds; `None` where not even an `i128` has room.
    pub fn plus(self, other: CreditsTotal) -> Option<CreditsTotal> {
        self.0.checked_add(other.0).map(CreditsTotal)
    }

    /// Subtracts; `None` where not even an `i128` has room.
    pub fn minus(self, other: CreditsTotal) -> Option<CreditsTotal> {
        self.0.checked_sub(other.0).map(CreditsTotal)
    }
}

impl CreditsTotal {
    fn brief(self) -> Brief {
        let sign = Brief::of(if self.0 < 0 { "-" } else { "" });
        let micros = self.0.unsigned_abs();
        let micro = u128::from(MICRO.unsigned_abs());
        // Every single amount is short, and dividing it as an `i128` would take many times as long.
        let (whole, fraction) = match u64::try_from(micros) {
            Ok(micros) => (
                sign.and_number(micros / MICRO.unsigned_abs()),
                micros % MICRO.unsigned_abs(),
            ),
            Err(_) => (
                sign.and(&(micros / micro).to_string()),
                u64::try_from(micros % micro).unwrap_or_default(),
            ),
        };
        with_fraction(whole, fraction)
    }
}

/// Adds micro-credits as the fraction of a credit, without needless zeros.
fn with_fraction(whole: Brief, micros: u64) -> Brief {
    if micros == 0 {
        return whole;
    }
    let (mut digits, mut rest) = (6, micros);
    while rest % 10 == 0 {
        (digits, rest) = (digits - 1, rest / 10);
    }
    whole.and(".").and_digits(rest, digits)
}

impl From<Credits> for CreditsTotal {
    fn from(credits: Credits) -> CreditsTotal {
        CreditsTotal(i128::from(credits.0))
    }
}

impl fmt::Display for CreditsTotal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.brief().as_str())
    }
}

impl Serialize for CreditsTotal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.brief().as_str())
    }
}

impl FromStr for Credits {
    type Err = CreditsError;

    /// Reads `-?(0|[1-9][0-9]*)(\.[0-9]{1,6})?` and nothing else: no plus, no exponent, no space, no bare point.
    fn from_str(text: &str) -> Result<Credits, CreditsError> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((_, "")) => return Err(CreditsError::NotDecimal),
            Some((whole, fraction)) => (whole, fraction),
            None => (unsigned, ""),
        };
        let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty()
            || !all_digits(whole)
            || !all_digits(fraction)
            || (whole.len() > 1 && whole.starts_with('0'))
        {
            return Err(CreditsError::NotDecimal);
        }
        if fraction.len() > 6 {
            return Err(CreditsError::TooPrecise);
        }
        if whole.len() > 10 {
            return Err(CreditsError::OutOfRange);
        }
        let whole: i64 = whole.parse().map_err(|_| CreditsError::OutOfRange)?;
        // `.5` is 500,000 millionths: as many zeros as six digits want.
        let fraction = fraction.bytes().chain(std::iter::repeat(b'0')).take(6);
        let fraction = fraction.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        let micros = whole * MICRO + fraction;
        if negative && micros == 0 {
            return Err(CreditsError::NotDecimal);
        }
        Credits::from_micros(if negative { -micros } else { micros }).ok_or(CreditsError::OutOfRange)
    }
}

impl Serialize for Credits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.brief().as_str())
    }
}

impl<'de> Deserialize<'de> for Credits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Credits, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_read_exactly() {
        for (text, micros) in [
            ("0.5", 500_000),
            ("0", 0),
            ("100", 100_000_000),
            ("-1", -1_000_000),
            ("0.000001", 1),
            ("9000000000", 9_000_000_000_000_000),
            ("1.50", 1_500_000),
        ] {
            assert_eq!(text.parse::<Credits>().map(Credits::micros), Ok(micros), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_amount_is_refused_with_its_reason() {
        for text in [
            "", "-", ".5", "5.", "1e3", "NaN", "inf", " 1", "1 ", "+1", "01", "0x10", "1_000", "-0", "-0.0", "٣",
        ] {
            assert_eq!(text.parse::<Credits>(), Err(CreditsError::NotDecimal), "{text:?}");
        }
        assert_eq!("0.5000001".parse::<Credits>(), Err(CreditsError::TooPrecise));
        for text in ["1000000000000000000000000000000", "9000000000.000001", "-9000000001"] {
            assert_eq!(text.parse::<Credits>(), Err(CreditsError::OutOfRange), "{text:?}");
        }
    }

    #[test]
    fn a_total_goes_beyond_what_one_amount_can_be_and_says_it_exactly() {
        let most = CreditsTotal::from(Credits::MAX);
        let total = most
            .plus(most)
            .and_then(|sum| sum.plus(CreditsTotal::from_micros(500_000)));
        assert_eq!(total.map(|sum| sum.to_string()).as_deref(), Some("18000000000.5"));
        let less = CreditsTotal::ZERO.minus(CreditsTotal::from_micros(i128::MAX)).unwrap();
        assert_eq!(less.to_string(), "-170141183460469231731687303715884.105727");
        assert_eq!(less.minus(most), None);
    }

    #[test]
    fn sums_stop_at_the_bounds_instead_of_wrapping() {
        assert_eq!(Credits::MAX.plus(Credits(1)), None);
        assert_eq!(Credits::MAX.times(u64::MAX), None);
        assert_eq!(Credits(5).minus_within(Credits(6)), None);
    }

    proptest! {
        #[test]
        fn text_and_amount_are_the_same_thing(micros in -9_000_000_000_000_000i64..=9_000_000_000_000_000) {
            let credits = Credits::from_micros(micros).unwrap();
            prop_assert_eq!(credits.to_string().parse::<Credits>(), Ok(credits));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC*") {
            let _ = text.parse::<Credits>();
        }
    }
}
