//! How long credits last at a pace, by grants that expire on the way.
//!
//! In: what is left of each grant in burn order, and what a week took. Out: whole days.
//!
//! Promise: exact. One grant burns at a time, until it is used up or its time is over; what is left of it then lengthens
//! nothing.

use keyledger_events::{Credits, Timestamp};

/// What can still be held of a grant, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lot {
    pub left: Credits,
    pub expires_at: Option<Timestamp>,
}

/// How long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runway {
    pub days: u64,
    /// At this pace some of it is never spent.
    pub some_expire: bool,
}

const WEEK_MICROS: u128 = 7 * DAY_MICROS;
const DAY_MICROS: u128 = 86_400_000_000;

/// Burns the lots in their order, no more than `available` of them: less than all is available where something is owed.
/// `None` when a week took nothing.
pub(super) fn runway(lots: &[Lot], available: Credits, week: Credits, now: Timestamp) -> Option<Runway> {
    let pace = micros(week);
    if pace == 0 {
        return None;
    }
    // Moments are counted from now, in microseconds times the pace: so nothing is ever rounded.
    let (mut end, mut rest, mut some_expire) = (0, micros(available), false);
    for lot in lots {
        let left = micros(lot.left).min(rest);
        rest -= left;
        let used_up = end + left * WEEK_MICROS;
        let over = lot.expires_at.map(|at| from_now(at, now).saturating_mul(pace));
        some_expire |= left > 0 && over.is_some_and(|over| over < used_up);
        // A lot whose time was over before its turn came takes no time.
        end = over.map_or(used_up, |over| used_up.min(over.max(end)));
    }
    let days = end / (pace * DAY_MICROS);
    Some(Runway {
        days: u64::try_from(days).unwrap_or(u64::MAX),
        some_expire,
    })
}

fn micros(credits: Credits) -> u128 {
    u64::try_from(credits.micros()).unwrap_or_default().into()
}

fn from_now(at: Timestamp, now: Timestamp) -> u128 {
    u64::try_from(at.micros() - now.micros()).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u32 = 86_400;

    fn credits(micros: i64) -> Credits {
        Credits::from_micros(micros).unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-24T14:03:07Z".parse().unwrap()
    }

    /// Each lot: credits, and days until it expires; at a pace of 10 credits a day.
    fn lasts(lots: &[(i64, Option<u32>)]) -> (u64, bool) {
        let lots: Vec<Lot> = lots
            .iter()
            .map(|(left, days)| Lot {
                left: credits(left * 1_000_000),
                expires_at: days.map(|days| now().plus_seconds(days * DAY)),
            })
            .collect();
        let all = lots.iter().map(|lot| lot.left.micros()).sum();
        let runway = runway(&lots, credits(all), credits(70_000_000), now()).unwrap();
        (runway.days, runway.some_expire)
    }

    #[test]
    fn grants_that_do_not_expire_before_they_are_spent_last_as_long_as_their_sum() {
        assert_eq!(lasts(&[]), (0, false));
        assert_eq!(lasts(&[(100, None)]), (10, false));
        assert_eq!(lasts(&[(50, Some(5)), (50, Some(10)), (30, None)]), (13, false));
    }

    #[test]
    fn a_grant_that_ends_before_it_could_be_spent_is_cut_off_at_its_end() {
        assert_eq!(lasts(&[(1_000, Some(3))]), (3, true));
        assert_eq!(lasts(&[(1_000, Some(3)), (50, None)]), (8, true));
        assert_eq!(lasts(&[(20, Some(30)), (1_000, Some(3)), (50, Some(6))]), (6, true));
    }

    #[test]
    fn a_grant_that_is_over_before_its_turn_takes_no_time() {
        assert_eq!(lasts(&[(100, None), (100, Some(10)), (20, None)]), (12, true));
        assert_eq!(lasts(&[(100, None), (100, Some(4)), (20, Some(11))]), (11, true));
    }

    #[test]
    fn nothing_is_rounded_between_grants() {
        let lots = [credits(1); 7].map(|left| Lot { left, expires_at: None });
        let lasts = |week, available| runway(&lots, credits(available), credits(week), now()).unwrap().days;
        assert_eq!((lasts(7, 7), lasts(8, 7), lasts(49, 7), lasts(50, 7)), (7, 6, 1, 0));
        assert_eq!(lasts(7, 3), 3, "what is owed is not there to be spent");
        assert_eq!(lasts(7, -3), 0);
    }

    #[test]
    fn nothing_lasts_for_ever_at_no_pace_and_the_most_there_can_be_is_no_overflow() {
        let most = Credits::MAX;
        let lots = [Lot {
            left: most,
            expires_at: None,
        }];
        assert_eq!(runway(&lots, most, Credits::ZERO, now()), None);
        let days = runway(&lots, most, credits(1), now()).unwrap().days;
        assert_eq!(days, 7 * most.micros().unsigned_abs());
        let ends = [Lot {
            left: most,
            expires_at: Some(Timestamp::MAX),
        }];
        assert_eq!(runway(&ends, most, most, now()).unwrap().days, 7);
        let years = runway(&ends, most, credits(1), now()).unwrap().days / 365;
        assert!((7_900..8_000).contains(&years));
    }
}
