//! The few figures at the top, in words.

use keyledger_events::Timestamp;

use crate::pages::amount::{amount, sum};
use crate::pages::frame::Inside;
use crate::pages::moment::{Moment, short_day, start_of_month};
use crate::views::Spending;

#[derive(Debug)]
pub(super) struct Figures {
    pub(super) available: String,
    /// `5 for some endpoints only, 10 for later`: what is not in it.
    pub(super) aside: Option<String>,
    pub(super) held: String,
    pub(super) used: String,
    /// What was taken back in the same time, of use of any time.
    pub(super) refunded: Option<String>,
    /// `1 Nov`.
    pub(super) month_began: String,
    /// `About 12 days`.
    pub(super) lasts: String,
    /// What that is reckoned from.
    pub(super) because: String,
}

/// Nobody plans further ahead by the pace of one week.
const DAYS_TOLD_MAX: u64 = 365;

impl Figures {
    pub(super) fn new(inside: Option<&Inside>, spending: &Spending, now: Timestamp) -> Figures {
        let (lasts, because) = runway(spending, now);
        Figures {
            available: amount(inside.map_or(spending.available, |inside| inside.available)),
            aside: inside.and_then(aside),
            held: amount(sum(inside.map(|inside| inside.held))),
            used: amount(spending.charged),
            refunded: (!spending.refunded.is_zero()).then(|| amount(spending.refunded)),
            month_began: short_day(start_of_month(now)),
            lasts,
            because,
        }
    }
}

fn aside(inside: &Inside) -> Option<String> {
    let parts = [(inside.bound, "for some endpoints only"), (inside.later, "for later")];
    let told = parts.into_iter().filter(|(credits, _)| !credits.is_zero());
    let told: Vec<String> = told
        .map(|(credits, what)| format!("{} {what}", amount(credits)))
        .collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// How long the credits last, and why we think so.
fn runway(spending: &Spending, now: Timestamp) -> (String, String) {
    let runway = spending.runway(now);
    let expire = runway
        .filter(|runway| runway.some_expire)
        .map_or("", |_| "; some credits expire unspent");
    let pace = "At this week’s pace";
    match runway.map(|runway| runway.days) {
        _ if spending.available.micros() <= 0 => (
            "No credits left".to_owned(),
            "Nothing is available at the moment".to_owned(),
        ),
        None => (
            "Not known yet".to_owned(),
            "Nothing was charged in the last 7 days".to_owned(),
        ),
        Some(0) => ("Less than a day".to_owned(), format!("{pace}{expire}")),
        Some(days @ 1..=DAYS_TOLD_MAX) => {
            let seconds = u32::try_from(days * 86_400).unwrap_or(u32::MAX);
            let end = Moment::new(now.plus_seconds(seconds), now).day;
            let plural = if days == 1 { "" } else { "s" };
            (
                format!("About {days} day{plural}"),
                format!("{pace}, until {end}{expire}"),
            )
        }
        Some(_) => ("More than a year".to_owned(), format!("{pace}{expire}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::Lot;
    use keyledger_events::Credits;

    fn lasts(available: &str, week: &str) -> (String, String) {
        lasts_until(available, week, None)
    }

    fn lasts_until(available: &str, week: &str, expires_at: Option<&str>) -> (String, String) {
        let credits = |text: &str| text.parse::<Credits>().unwrap();
        let spending = Spending {
            charged: Credits::ZERO,
            refunded: Credits::ZERO,
            charged_week: credits(week),
            available: credits(available),
            lots: vec![Lot {
                left: credits(available),
                expires_at: expires_at.map(|at| at.parse().unwrap()),
            }],
        };
        runway(&spending, "2026-11-24T14:03:07Z".parse().unwrap())
    }

    #[test]
    fn how_long_credits_last_is_said_in_plain_words() {
        let (words, because) = lasts("120", "70");
        assert_eq!(words, "About 12 days");
        assert_eq!(because, "At this week’s pace, until 6 Dec 2026");
        assert_eq!(lasts("10", "70").0, "About 1 day");
        assert_eq!(lasts("9", "70").0, "Less than a day");
        assert_eq!(lasts("9000000000", "0.000001").0, "More than a year");
    }

    #[test]
    fn credits_that_expire_before_they_are_spent_are_not_counted_on() {
        let (words, because) = lasts_until("120", "70", Some("2026-11-28T20:00:00Z"));
        assert_eq!(words, "About 4 days");
        assert_eq!(
            because,
            "At this week’s pace, until 28 Nov 2026; some credits expire unspent"
        );
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let unknown = lasts("120", "0");
        assert_eq!(
            (unknown.0.as_str(), unknown.1.as_str()),
            ("Not known yet", "Nothing was charged in the last 7 days")
        );
        assert_eq!(lasts("0", "0").0, "No credits left");
        assert_eq!(lasts("-5", "70").0, "No credits left");
    }
}
