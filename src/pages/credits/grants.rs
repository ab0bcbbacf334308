//! What credits came from, what is left of each, and until when.

use keyledger_events::{Credits, Endpoint, Scopes, Timestamp};

use crate::pages::amount::{amount, sum};
use crate::pages::chart::Share;
use crate::pages::moment::{DAY, Moment, seconds_between};
use crate::pages::name::Shown;
use crate::views::Grant;

#[derive(Debug)]
pub(super) struct GrantRow {
    /// `Purchase`.
    pub(super) source: String,
    pub(super) reference: Option<Shown>,
    pub(super) granted: Moment,
    pub(super) left: String,
    pub(super) amount: String,
    pub(super) part_left: Share,
    pub(super) held: Option<String>,
    pub(super) expires: Option<Expiry>,
    /// When it takes effect, where that is still to come.
    pub(super) starts: Option<Moment>,
    /// `serp, echo`: the endpoints that it is for, where it is not for all.
    pub(super) only_on: Option<String>,
}

#[derive(Debug)]
pub(super) struct Expiry {
    pub(super) at: Moment,
    /// `in 12 days`, where that says more than the day itself.
    pub(super) ahead: Option<String>,
    pub(super) soon: bool,
}

/// What is gone within a week is said louder.
const SOON_DAYS: i64 = 7;
const YEAR_DAYS: i64 = 365;

impl GrantRow {
    pub(super) fn new(grant: Grant, now: Timestamp) -> GrantRow {
        let micros = |credits: Credits| u64::try_from(credits.micros()).unwrap_or_default();
        let mut letters = grant.source.chars();
        let source = letters
            .next()
            .map(|first| first.to_uppercase().chain(letters).collect());
        GrantRow {
            source: source.unwrap_or_default(),
            reference: grant.reference.as_deref().map(Shown::new),
            granted: Moment::new(grant.granted_at, now),
            left: amount(grant.remaining),
            amount: amount(grant.amount),
            part_left: Share::of(micros(sum([grant.remaining, grant.held])), micros(grant.amount)),
            held: (!grant.held.is_zero()).then(|| amount(grant.held)),
            expires: grant.expires_at.map(|at| Expiry::new(at, now)),
            starts: grant
                .starts_at
                .filter(|_| !grant.started)
                .map(|at| Moment::new(at, now)),
            only_on: grant.endpoints.as_ref().map(listed),
        }
    }
}

/// `echo, serp`.
pub(in crate::pages) fn listed(endpoints: &Scopes) -> String {
    let names: Vec<&str> = endpoints.endpoints().iter().map(Endpoint::as_str).collect();
    names.join(", ")
}

impl Expiry {
    fn new(at: Timestamp, now: Timestamp) -> Expiry {
        let days = seconds_between(now, at) / DAY;
        Expiry {
            at: Moment::new(at, now),
            ahead: match days {
                ..1 => Some("within a day".to_owned()),
                1 => Some("in 1 day".to_owned()),
                2..=YEAR_DAYS => Some(format!("in {days} days")),
                _ => None,
            },
            soon: days < SOON_DAYS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_said_by_the_days_until_then() {
        let now: Timestamp = "2026-11-24T14:03:07Z".parse().unwrap();
        let ends = |seconds: u32| {
            let end = Expiry::new(now.plus_seconds(seconds), now);
            (end.ahead, end.soon)
        };
        assert_eq!(ends(3_600), (Some("within a day".to_owned()), true));
        assert_eq!(ends(86_400 + 60), (Some("in 1 day".to_owned()), true));
        assert_eq!(ends(12 * 86_400), (Some("in 12 days".to_owned()), false));
        assert_eq!(ends(400 * 86_400), (None, false));
    }
}
