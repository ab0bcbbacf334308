//! Results that were charged of late, by price rules that charge for a result once.
//!
//! In: charges of holds that carry a mark. Out: whether a mark was charged within a day.
//!
//! Promise: a part of the account's fold, so that every process and every restart knows the same. Bounded: an account
//! has its newest `RESULTS_MAX` marks, and the oldest is forgotten first. Forgetting charges again, as without the rule.

use std::collections::{HashMap, VecDeque};

use keyledger_events::{OnceMark, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a result that was charged is free.
const PAID_FOR_SECONDS: u32 = 24 * 60 * 60;
/// Of one account; about 2 MB when all are in use.
const RESULTS_MAX: usize = 20_000;

/// The marks that were charged, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "VecDeque<(Timestamp, OnceMark)>", into = "VecDeque<(Timestamp, OnceMark)>")]
pub struct PaidResults {
    order: VecDeque<(Timestamp, OnceMark)>,
    charged_at: HashMap<OnceMark, Timestamp>,
}

impl PaidResults {
    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether the result was charged within a day before `now`.
    pub fn has(&self, mark: OnceMark, now: Timestamp) -> bool {
        self.charged_at.get(&mark).is_some_and(|at| is_fresh(*at, now))
    }

    /// Folds a charge.
    pub fn note(&mut self, mark: OnceMark, at: Timestamp) {
        while let Some((first, old)) = self.order.front().copied() {
            if is_fresh(first, at) && self.order.len() < RESULTS_MAX {
                break;
            }
            self.order.pop_front();
            // A mark that was charged again since has a later place.
            if self.charged_at.get(&old) == Some(&first) {
                self.charged_at.remove(&old);
            }
        }
        self.order.push_back((at, mark));
        self.charged_at.insert(mark, at);
    }
}

fn is_fresh(charged_at: Timestamp, now: Timestamp) -> bool {
    charged_at.plus_seconds(PAID_FOR_SECONDS) > now
}

impl From<VecDeque<(Timestamp, OnceMark)>> for PaidResults {
    fn from(order: VecDeque<(Timestamp, OnceMark)>) -> PaidResults {
        let charged_at = order.iter().map(|(at, mark)| (*mark, *at)).collect();
        PaidResults { order, charged_at }
    }
}

impl From<PaidResults> for VecDeque<(Timestamp, OnceMark)> {
    fn from(paid: PaidResults) -> VecDeque<(Timestamp, OnceMark)> {
        paid.order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: u128) -> OnceMark {
        OnceMark::from_bytes(number.to_be_bytes())
    }

    fn at(seconds: u32) -> Timestamp {
        Timestamp::EPOCH.plus_seconds(seconds)
    }

    #[test]
    fn a_result_is_paid_for_a_day() {
        let mut paid = PaidResults::default();
        paid.note(mark(1), at(0));
        assert!(paid.has(mark(1), at(PAID_FOR_SECONDS - 1)));
        assert!(!paid.has(mark(1), at(PAID_FOR_SECONDS)));
        assert!(!paid.has(mark(2), at(0)));
        paid.note(mark(2), at(PAID_FOR_SECONDS));
        assert_eq!(paid.len(), 1, "what is over is forgotten");
    }

    #[test]
    fn a_result_that_is_charged_again_after_its_day_is_paid_for_another() {
        let mut paid = PaidResults::default();
        paid.note(mark(1), at(0));
        paid.note(mark(1), at(PAID_FOR_SECONDS));
        assert!(paid.has(mark(1), at(PAID_FOR_SECONDS + 1)));
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut paid = PaidResults::default();
        for number in 0..=u32::try_from(RESULTS_MAX).unwrap() {
            paid.note(mark(number.into()), at(number));
        }
        assert_eq!((paid.len(), paid.charged_at.len()), (RESULTS_MAX, RESULTS_MAX));
        let last = u32::try_from(RESULTS_MAX).unwrap();
        assert!(!paid.has(mark(0), at(last)) && paid.has(mark(1), at(last)));
    }

    #[test]
    fn a_snapshot_reads_back() {
        let mut paid = PaidResults::default();
        for number in 0..3 {
            paid.note(mark(number), at(7));
        }
        let text = serde_json::to_string(&paid).unwrap();
        assert_eq!(serde_json::from_str::<PaidResults>(&text).unwrap(), paid);
    }
}
