//! Which range of time a statement is for.

use std::str::FromStr;

use keyledger_events::Timestamp;
use serde::{Deserialize, Deserializer};

/// From a moment up to another one, which is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    from: Timestamp,
    to: Timestamp,
}

impl Period {
    /// `None` where nothing lies between.
    pub fn new(from: Timestamp, to: Timestamp) -> Option<Period> {
        (from < to).then_some(Period { from, to })
    }

    pub const fn from(self) -> Timestamp {
        self.from
    }

    pub const fn to(self) -> Timestamp {
        self.to
    }
}

/// A moment as people write it: RFC 3339, or a day, which begins at midnight UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Timestamp);

/// The text is no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a time of RFC 3339 such as \"2026-11-24T14:03:07Z\", or a day such as \"2026-11-24\"")]
pub struct NoMoment;

/// A month, UTC: `2026-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Month(Period);

/// The text is no month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a month such as \"2026-11\"")]
pub struct NoMonth;

impl FromStr for Moment {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Moment, NoMoment> {
        let time = if text.len() == 10 { day(text) } else { text.parse().ok() };
        time.map(Moment).ok_or(NoMoment)
    }
}

/// Midnight, UTC, of `2026-11-24`.
fn day(text: &str) -> Option<Timestamp> {
    format!("{text}T00:00:00Z").parse().ok()
}

impl Month {
    /// The month in which a moment lies.
    pub fn of(moment: Timestamp) -> Month {
        let text: String = moment.to_string().chars().take(7).collect();
        // A moment's own month is one: its year has four digits.
        text.parse().unwrap_or(Month(Period {
            from: Timestamp::EPOCH,
            to: Timestamp::MAX,
        }))
    }

    /// The month before.
    pub fn before(self) -> Month {
        Month::of(self.0.from.minus_seconds(1))
    }

    pub const fn period(self) -> Period {
        self.0
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.0.from.to_string();
        f.write_str(text.get(..7).unwrap_or_default())
    }
}

impl FromStr for Month {
    type Err = NoMonth;

    fn from_str(text: &str) -> Result<Month, NoMonth> {
        let (year, month) = text.split_once('-').ok_or(NoMonth)?;
        let digits = |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return Err(NoMonth);
        }
        let from = day(&format!("{text}-01")).ok_or(NoMonth)?;
        let year: u32 = year.parse().map_err(|_| NoMonth)?;
        let next = match month {
            "12" => format!("{:04}-01-01", year + 1),
            _ => format!("{year:04}-{:02}-01", month.parse::<u32>().map_err(|_| NoMonth)? + 1),
        };
        // The last month that there are moments of ends with them.
        let to = day(&next).unwrap_or(Timestamp::MAX);
        Ok(Month(Period { from, to }))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Month {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Month, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_begins_at_midnight() {
        assert_eq!("2026-11-24".parse(), Ok(Moment(at("2026-11-24T00:00:00Z"))));
        assert_eq!(
            "2026-11-24T01:00:00+01:00".parse(),
            Ok(Moment(at("2026-11-24T00:00:00Z")))
        );
        for bad in [
            "",
            "2026-02-30",
            "2026-11",
            "24.11.2026",
            "2026-11-24T14:03:07",
            "yesterday!",
        ] {
            assert_eq!(bad.parse::<Moment>(), Err(NoMoment), "{bad}");
        }
    }

    #[test]
    fn a_month_ends_where_the_next_begins() {
        let month: Month = "2026-12".parse().unwrap();
        assert_eq!(month.period().from(), at("2026-12-01T00:00:00Z"));
        assert_eq!(month.period().to(), at("2027-01-01T00:00:00Z"));
        assert_eq!(Month::of(at("2026-12-31T23:59:59.999999Z")), month);
        assert_eq!(month.before().to_string(), "2026-11");
        assert_eq!("9999-12".parse::<Month>().unwrap().period().to(), Timestamp::MAX);
        for bad in [
            "",
            "2026",
            "2026-13",
            "2026-00",
            "26-11",
            "2026-1",
            "+026-11",
            "2026-11-01",
            "1969-12",
        ] {
            assert_eq!(bad.parse::<Month>(), Err(NoMonth), "{bad}");
        }
    }

    #[test]
    fn a_period_has_something_in_it() {
        let (a, b) = (at("2026-11-01T00:00:00Z"), at("2026-11-02T00:00:00Z"));
        assert!(Period::new(a, b).is_some() && Period::new(a, a).is_none() && Period::new(b, a).is_none());
    }
}
