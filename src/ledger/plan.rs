//! A plan as its account knows it, and when its periods begin.
//!
//! Promise: the moment at which a period begins is reckoned from the plan's start alone, never from when the one before was
//! noticed, so no delay adds up and a day of the month that is too late for February is back in March.

use keyledger_events::{Credits, GrantId, Period, PlanId, PlanStarted, Timestamp};
use serde::{Deserialize, Serialize};
use time::{Date, Month, OffsetDateTime};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub id: PlanId,
    pub amount: Credits,
    pub period: Period,
    pub starts_at: Timestamp,
    pub rollover_cap: Credits,
    pub started_at: Timestamp,
    /// Periods that were granted for: the next one's number less one.
    pub periods: u32,
    /// Of the last of them.
    pub grant: Option<GrantId>,
}

impl Plan {
    pub fn started(e: &PlanStarted, at: Timestamp) -> Plan {
        Plan {
            id: e.plan,
            amount: e.amount,
            period: e.period,
            starts_at: e.starts_at,
            rollover_cap: e.rollover_cap,
            started_at: at,
            periods: 0,
            grant: None,
        }
    }

    /// When the period begins that nothing was granted for yet.
    pub fn next_at(&self) -> Timestamp {
        begin(self.starts_at, self.period, self.periods)
    }

    /// When that one ends.
    pub fn next_ends_at(&self) -> Timestamp {
        begin(self.starts_at, self.period, self.periods.saturating_add(1))
    }

    /// The id of its next grant. One period has one, whoever reckons it.
    pub fn next_grant(&self) -> GrantId {
        let random = u128::from_be_bytes(self.id.to_bytes()).wrapping_add(u128::from(self.periods) + 1);
        GrantId::from_parts(self.next_at().ms(), random)
    }
}

const DAY_MICROS: i64 = 86_400_000_000;

/// When the period begins that so many came before.
fn begin(start: Timestamp, period: Period, before: u32) -> Timestamp {
    let moment = match period {
        Period::Day => plus_days(start, before),
        Period::Week => plus_days(start, before.saturating_mul(7)),
        Period::Month => plus_months(start, before),
    };
    moment.unwrap_or(Timestamp::MAX)
}

/// `None` after the year 9999.
fn plus_days(start: Timestamp, days: u32) -> Option<Timestamp> {
    let later = i64::from(days).checked_mul(DAY_MICROS)?.checked_add(start.micros())?;
    Timestamp::from_micros(later)
}

/// `None` after the year 9999.
fn plus_months(start: Timestamp, months: u32) -> Option<Timestamp> {
    let civil = OffsetDateTime::from_unix_timestamp(start.micros() / 1_000_000)
        .ok()?
        .date();
    let all = u32::from(u8::from(civil.month())) - 1 + months % 12;
    let month = Month::try_from(u8::try_from(all % 12 + 1).ok()?).ok()?;
    let year = civil.year() + i32::try_from(months / 12 + all / 12).ok()?;
    let day = civil.day().min(month.length(year));
    let first = Date::from_calendar_date(year, month, day).ok()?.midnight().assume_utc();
    let in_day = start.micros() - start.start_of_day().micros();
    Timestamp::from_micros(first.unix_timestamp().checked_mul(1_000_000)? + in_day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(start: &str, period: Period, before: u32) -> String {
        begin(start.parse().unwrap(), period, before).to_string()
    }

    #[test]
    fn a_day_that_a_month_does_not_have_is_its_last_and_is_back_in_the_next() {
        let start = "2027-10-31T14:03:07.5Z";
        let months: Vec<String> = (0..6)
            .map(|n| begins(start, Period::Month, n)[..10].to_owned())
            .collect();
        assert_eq!(
            months,
            [
                "2027-10-31",
                "2027-11-30",
                "2027-12-31",
                "2028-01-31",
                "2028-02-29",
                "2028-03-31"
            ]
        );
        assert_eq!(begins(start, Period::Month, 16), "2029-02-28T14:03:07.500000Z");
    }

    #[test]
    fn days_and_weeks_are_as_long_as_ever() {
        assert_eq!(
            begins("2027-12-31T23:00:00Z", Period::Day, 1),
            "2028-01-01T23:00:00.000000Z"
        );
        assert_eq!(
            begins("2027-12-31T23:00:00Z", Period::Week, 2),
            "2028-01-14T23:00:00.000000Z"
        );
    }

    #[test]
    fn beyond_all_years_is_the_last_moment() {
        for period in [Period::Day, Period::Week, Period::Month] {
            assert_eq!(begin(Timestamp::MAX, period, u32::MAX), Timestamp::MAX);
        }
    }
}
