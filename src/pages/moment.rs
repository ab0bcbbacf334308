//! Moments in words: how long ago, and the day. In UTC; the script puts the viewer's own time zone in its place.

use keyledger_events::Timestamp;
use time::OffsetDateTime;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;
const MONTH: i64 = 30 * DAY;
const YEAR: i64 = 365 * DAY;

/// A moment as a page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    /// For machines.
    pub(super) iso: String,
    /// `3 minutes ago`.
    pub(super) ago: String,
    /// `24 Nov 2026`.
    pub(super) day: String,
    /// `24 Nov 2026, 14:03:07`.
    pub(super) clock: String,
    /// `24 Nov 2026, 14:03:07 UTC`.
    pub(super) exact: String,
}

/// `24 Nov`, in UTC: of days that are counted there.
pub(super) fn short_day(at: Timestamp) -> String {
    let civil = civil(at);
    format!("{} {}", civil.day(), month(civil))
}

/// The first moment of this moment's month, in UTC.
pub(super) fn start_of_month(at: Timestamp) -> Timestamp {
    let days = u32::from(civil(at).day()) - 1;
    at.start_of_day().minus_seconds(days * 86_400)
}

/// `November 2026`, in UTC.
pub(super) fn month_in_words(at: Timestamp) -> String {
    let civil = civil(at);
    format!("{} {}", civil.month(), civil.year())
}

fn civil(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.micros() / 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn month(civil: OffsetDateTime) -> String {
    civil.month().to_string().chars().take(3).collect()
}

impl Moment {
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Moment {
        let civil = civil(at);
        let day = format!("{} {} {}", civil.day(), month(civil), civil.year());
        let clock = format!("{day}, {:02}:{:02}:{:02}", civil.hour(), civil.minute(), civil.second());
        Moment {
            iso: at.to_string(),
            ago: ago(seconds_between(at, now)),
            day,
            exact: format!("{clock} UTC"),
            clock,
        }
    }
}

pub(super) fn seconds_between(earlier: Timestamp, later: Timestamp) -> i64 {
    later.micros().saturating_sub(earlier.micros()) / 1_000_000
}

/// The script has the same words, so that nothing jumps when it takes over.
fn ago(seconds: i64) -> String {
    match seconds {
        ..45 => "just now".to_owned(),
        45.. => format!("{} ago", roughly(seconds)),
    }
}

/// How far ahead a moment is, rounded down.
pub(super) fn ahead(seconds: i64) -> String {
    match seconds {
        ..MINUTE => "within a minute".to_owned(),
        MINUTE.. => format!("in {}", roughly(seconds)),
    }
}

/// `3 days`.
fn roughly(seconds: i64) -> String {
    let (count, unit) = match seconds {
        ..HOUR => ((seconds / MINUTE).max(1), "minute"),
        HOUR..DAY => (seconds / HOUR, "hour"),
        DAY..MONTH => (seconds / DAY, "day"),
        MONTH..YEAR => (seconds / MONTH, "month"),
        YEAR.. => (seconds / YEAR, "year"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// A count with its thousands apart.
pub(super) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_is_told_in_words() {
        for (seconds, words) in [
            (-5, "just now"),
            (44, "just now"),
            (50, "1 minute ago"),
            (3 * MINUTE, "3 minutes ago"),
            (HOUR, "1 hour ago"),
            (DAY + HOUR, "1 day ago"),
            (89 * DAY, "2 months ago"),
            (400 * DAY, "1 year ago"),
        ] {
            assert_eq!(ago(seconds), words);
        }
    }

    #[test]
    fn a_moment_has_its_day_and_its_second() {
        let at: Timestamp = "2026-11-24T14:03:07.5Z".parse().unwrap();
        let moment = Moment::new(at, at);
        assert_eq!(
            (moment.day.as_str(), moment.exact.as_str()),
            ("24 Nov 2026", "24 Nov 2026, 14:03:07 UTC")
        );
    }

    #[test]
    fn a_month_begins_on_its_first_day() {
        for (at, start) in [
            ("2026-11-24T14:03:07Z", "2026-11-01T00:00:00Z"),
            ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            ("2028-02-29T23:59:59Z", "2028-02-01T00:00:00Z"),
        ] {
            let at: Timestamp = at.parse().unwrap();
            assert_eq!(start_of_month(at), start.parse().unwrap());
        }
        assert_eq!(short_day("2026-11-04T14:03:07Z".parse().unwrap()), "4 Nov");
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(thousands),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
