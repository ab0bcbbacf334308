//! Moments, in whole microseconds: what Postgres keeps, so nothing is lost on the way there and back.

use std::fmt;
use std::str::FromStr;

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::brief::Brief;
use crate::scan::Scan;

/// A moment in UTC: microseconds since 1970, from year 1970 to 9999. Text: RFC 3339 with six fraction digits and `Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text is not a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time is RFC 3339 between 1970 and 9999 with an offset, such as \"2026-11-24T14:03:07Z\"")]
pub struct TimeError;

/// 9999-12-31T23:59:59.999999Z.
const LAST: i64 = 253_402_300_799_999_999;

impl Timestamp {
    pub const EPOCH: Timestamp = Timestamp(0);
    pub const MAX: Timestamp = Timestamp(LAST);

    /// Makes a moment of microseconds since 1970; `None` outside the years 1970 to 9999.
    pub const fn from_micros(micros: i64) -> Option<Timestamp> {
        if micros < 0 || micros > LAST {
            None
        } else {
            Some(Timestamp(micros))
        }
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since 1970: the resolution of a ULID.
    pub const fn ms(self) -> u64 {
        self.0.unsigned_abs() / 1_000
    }

    /// The beginning of this moment's hour, UTC.
    pub const fn start_of_hour(self) -> Timestamp {
        Timestamp(self.0 - self.0 % 3_600_000_000)
    }

    /// The beginning of this moment's day, UTC.
    pub const fn start_of_day(self) -> Timestamp {
        Timestamp(self.0 - self.0 % 86_400_000_000)
    }

    /// The moment `seconds` earlier, or 1970.
    pub fn minus_seconds(self, seconds: u32) -> Timestamp {
        Timestamp((self.0 - i64::from(seconds) * 1_000_000).max(0))
    }

    /// The moment `seconds` later, or the last one there is.
    pub fn plus_seconds(self, seconds: u32) -> Timestamp {
        Timestamp((self.0 + i64::from(seconds) * 1_000_000).min(LAST))
    }
}

impl Timestamp {
    pub(crate) fn brief(self) -> Brief {
        let (seconds, micros) = (self.0 / 1_000_000, self.0.unsigned_abs() % 1_000_000);
        let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = moment.to_calendar_date();
        let (hour, minute, second) = moment.to_hms();
        let year = u64::from(year.unsigned_abs());
        let two = Brief::two_digits;
        let ([c, d], [y, e]) = (two(year / 100), two(year % 100));
        let ([m, n], [f, g]) = (two(u8::from(month).into()), two(day.into()));
        let ([h, i], [k, l], [s, t]) = (two(hour.into()), two(minute.into()), two(second.into()));
        let ([p, q], [u, v], [w, x]) = (two(micros / 10_000), two(micros / 100), two(micros));
        Brief::of_bytes(&[
            c, d, y, e, b'-', m, n, b'-', f, g, b'T', h, i, b':', k, l, b':', s, t, b'.', p, q, u, v, w, x, b'Z',
        ])
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.brief().as_str())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;

    /// Reads any RFC 3339 time with an offset; digits beyond the microsecond are cut off. A leap second is refused.
    fn from_str(text: &str) -> Result<Timestamp, TimeError> {
        // Our own spelling is nearly all that there is to read.
        let mut scan = Scan::of(text.as_bytes());
        if let Some(moment) = scan.time().filter(|_| scan.is_over()) {
            return Ok(moment);
        }
        // The parser takes `:60` as `:59.999…`; a moment that never was written down is not ours to invent.
        if text.get(17..19) == Some("60") {
            return Err(TimeError);
        }
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimeError)?;
        let micros = i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000)).map_err(|_| TimeError)?;
        Timestamp::from_micros(micros).ok_or(TimeError)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.brief().as_str())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_moment_has_six_fraction_digits() {
        let moment: Timestamp = "2026-11-24T15:03:07.5+01:00".parse().unwrap();
        assert_eq!(moment.to_string(), "2026-11-24T14:03:07.500000Z");
    }

    #[test]
    fn what_is_not_a_moment_is_refused() {
        for text in [
            "",
            "2026-11-24",
            "2026-11-24T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "2016-12-31T23:59:60Z",
            "soon",
            "2026-11-24T14:03:07",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimeError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_and_moment_are_the_same_thing(micros in 0..=LAST) {
            let moment = Timestamp::from_micros(micros).unwrap();
            prop_assert_eq!(moment.to_string().parse::<Timestamp>(), Ok(moment));
        }
    }
}
