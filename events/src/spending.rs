//! What a key may spend in a day or a month.

use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime, Time};

use crate::credits::Credits;
use crate::time::Timestamp;

/// The most that a key may spend in each day or month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendingLimit {
    pub amount: Credits,
    pub per: SpendingPeriod,
}

/// Of the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpendingPeriod {
    Day,
    Month,
}

impl SpendingPeriod {
    pub const fn as_str(self) -> &'static str {
        match self {
            SpendingPeriod::Day => "day",
            SpendingPeriod::Month => "month",
        }
    }

    pub fn parse(text: &str) -> Option<SpendingPeriod> {
        match text {
            "day" => Some(SpendingPeriod::Day),
            "month" => Some(SpendingPeriod::Month),
            _ => None,
        }
    }

    /// The first moment of the day or month that a moment lies in.
    pub fn start(self, moment: Timestamp) -> Timestamp {
        match self {
            SpendingPeriod::Day => moment.start_of_day(),
            SpendingPeriod::Month => first_of(moment, |date| date.replace_day(1).ok()),
        }
    }

    /// The first moment after it.
    pub fn end(self, moment: Timestamp) -> Timestamp {
        let next_month = |date: Date| {
            let next = date.month().next();
            let year = if next == time::Month::January {
                date.year() + 1
            } else {
                date.year()
            };
            Date::from_calendar_date(year, next, 1).ok()
        };
        match self {
            SpendingPeriod::Day => moment.start_of_day().plus_seconds(86_400),
            SpendingPeriod::Month => first_of(moment, next_month),
        }
    }
}

/// Midnight of a day that is found from a moment's. Where there is none, after the year 9999, the last moment.
fn first_of(moment: Timestamp, day: impl Fn(Date) -> Option<Date>) -> Timestamp {
    let found = OffsetDateTime::from_unix_timestamp(moment.micros() / 1_000_000)
        .ok()
        .and_then(|civil| day(civil.date()))
        .map(|date| date.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp())
        .and_then(|seconds| Timestamp::from_micros(seconds.checked_mul(1_000_000)?));
    found.unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_period_is_one_of_the_calendar() {
        let moment = at("2028-02-29T23:59:59.999999Z");
        assert_eq!(SpendingPeriod::Day.start(moment), at("2028-02-29T00:00:00Z"));
        assert_eq!(SpendingPeriod::Day.end(moment), at("2028-03-01T00:00:00Z"));
        assert_eq!(SpendingPeriod::Month.start(moment), at("2028-02-01T00:00:00Z"));
        assert_eq!(SpendingPeriod::Month.end(moment), at("2028-03-01T00:00:00Z"));
        assert_eq!(
            SpendingPeriod::Month.end(at("2026-12-01T00:00:00Z")),
            at("2027-01-01T00:00:00Z")
        );
        assert_eq!(
            SpendingPeriod::Month.start(at("2026-12-01T00:00:00Z")),
            at("2026-12-01T00:00:00Z")
        );
        assert_eq!(SpendingPeriod::Month.end(Timestamp::MAX), Timestamp::MAX);
    }
}
