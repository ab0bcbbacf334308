//! When a key's clients left just before the end of an answer.
//!
//! In: charges and releases that say so. Out: whether leaving has become the key's habit, by a rule of the asker's own.
//!
//! Promise: a part of the account's fold, so that every process and every restart knows the same. Bounded: a key has its
//! newest `HANG_UPS_MAX`, of the last two of the longest windows. What is forgotten is in the customer's favour.
//!
//! Not here: the rule, and what a habit costs. Both are the gateway's.

use std::collections::VecDeque;

use keyledger_events::Timestamp;
use serde::{Deserialize, Serialize};

/// The most that a rule may ask for.
pub const HANG_UPS_MAX: u16 = 100;
/// The longest window of a rule: a day.
pub const HANG_UP_WINDOW_SECONDS_MAX: u32 = 24 * 60 * 60;

/// The moments, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HangUps(VecDeque<Timestamp>);

impl HangUps {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Folds one more.
    pub fn note(&mut self, at: Timestamp) {
        // A habit may have been made at the beginning of a window that ends now, by what came in a window before that.
        let is_over = |moment: &Timestamp| ended(ended(*moment)) <= at;
        while self.0.len() >= usize::from(HANG_UPS_MAX) || self.0.front().is_some_and(is_over) {
            self.0.pop_front();
        }
        self.0.push_back(at);
    }

    /// Whether there were so many within a window, and the last of them less than a window ago.
    pub fn are_habit(&self, times: u16, window_seconds: u32, now: Timestamp) -> bool {
        let lasts = self.0.iter().skip(usize::from(times.saturating_sub(1)));
        self.0
            .iter()
            .zip(lasts)
            .any(|(first, last)| *last <= first.plus_seconds(window_seconds) && now < last.plus_seconds(window_seconds))
    }
}

fn ended(moment: Timestamp) -> Timestamp {
    moment.plus_seconds(HANG_UP_WINDOW_SECONDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u32) -> Timestamp {
        Timestamp::EPOCH.plus_seconds(seconds)
    }

    fn at_seconds(moments: &[u32]) -> HangUps {
        let mut hang_ups = HangUps::default();
        for seconds in moments {
            hang_ups.note(at(*seconds));
        }
        hang_ups
    }

    #[test]
    fn a_habit_is_so_many_within_the_window_and_is_forgiven_after_one() {
        let habit = |moments: &[u32], now| at_seconds(moments).are_habit(3, 100, at(now));
        assert!(!habit(&[], 0) && !habit(&[0, 1], 2));
        assert!(!habit(&[0, 60, 120], 120), "the first is too long ago");
        assert!(habit(&[0, 60, 120, 130], 131));
        assert!(habit(&[0, 60, 120, 130, 225], 229));
        assert!(
            !habit(&[0, 60, 120, 130, 225], 230),
            "two within the window are no habit"
        );
        assert!(at_seconds(&[7]).are_habit(1, 10, at(16)) && !at_seconds(&[7]).are_habit(1, 10, at(17)));
    }

    #[test]
    fn the_longest_rule_finds_all_that_it_needs() {
        let most = u32::from(HANG_UPS_MAX);
        let (day, step) = (HANG_UP_WINDOW_SECONDS_MAX, HANG_UP_WINDOW_SECONDS_MAX / (most - 1));
        let made: Vec<u32> = (0..most).map(|number| number * step).collect();
        let hang_ups = at_seconds(&made);
        let last = made.last().unwrap();
        assert!(hang_ups.are_habit(HANG_UPS_MAX, day, at(last + day - 1)));
        assert!(!hang_ups.are_habit(HANG_UPS_MAX, day, at(last + day)));
    }

    #[test]
    fn the_newest_are_kept_and_what_is_over_is_forgotten() {
        let numbers: Vec<u32> = (0..=u32::from(HANG_UPS_MAX)).collect();
        let mut hang_ups = at_seconds(&numbers);
        assert_eq!((hang_ups.len(), hang_ups.0.front()), (100, Some(&at(1))));
        hang_ups.note(at(2 * HANG_UP_WINDOW_SECONDS_MAX + 50));
        assert_eq!(hang_ups.0.front(), Some(&at(51)));
        hang_ups.note(at(5 * HANG_UP_WINDOW_SECONDS_MAX));
        assert_eq!(hang_ups.len(), 1);
    }

    #[test]
    fn a_snapshot_reads_back() {
        let hang_ups = at_seconds(&[1, 2, 3]);
        let text = serde_json::to_string(&hang_ups).unwrap();
        assert_eq!(serde_json::from_str::<HangUps>(&text).unwrap(), hang_ups);
    }
}
