//! A curve as small as a word.

use keyledger_events::Timestamp;

use crate::pages::moment::{short_day, thousands};

/// One upright stroke a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pages) struct Spark {
    /// For `d` of a path whose strokes are two wide, in a box of 90 × [`Spark::HEIGHT`].
    pub(in crate::pages) path: String,
    /// The same for those who do not see it.
    pub(in crate::pages) words: String,
}

impl Spark {
    const HEIGHT: u64 = 22;
    pub(in crate::pages) const DAYS: u32 = 30;

    /// Of [`Spark::DAYS`] days and how often something was used on each, the last day last. `None` where it was not.
    pub(in crate::pages) fn new(days: &[(Timestamp, u64)]) -> Option<Spark> {
        let (busiest, most) = days
            .iter()
            .max_by_key(|(_, count)| *count)
            .filter(|(_, count)| *count > 0)?;
        let mut path = String::new();
        let mut used = 0_u32;
        for (at, (_, count)) in days.iter().enumerate().filter(|(_, (_, count))| *count > 0) {
            // One day that was hardly used is still another one than a day that was not.
            let height = u128::from(*count) * u128::from(Spark::HEIGHT - 1) / u128::from(*most) + 1;
            path.push_str(&format!("M{} {}v-{height}", at * 3 + 1, Spark::HEIGHT));
            used += 1;
        }
        let words = format!(
            "Used on {used} of the last {} days, most on {}: {} times",
            days.len(),
            short_day(*busiest),
            thousands(*most)
        );
        Some(Spark { path, words })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_a_stroke_for_each_day_of_use_and_says_it_in_words() {
        let first: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
        let days = [0, 4, 2].iter().zip(0_u32..);
        let days: Vec<_> = days
            .map(|(count, at)| (first.plus_seconds(at * 86_400), *count))
            .collect();
        let spark = Spark::new(&days).unwrap();
        assert_eq!(spark.path, "M4 22v-22M7 22v-11");
        assert_eq!(spark.words, "Used on 2 of the last 3 days, most on 25 Nov: 4 times");
        assert_eq!(Spark::new(&days[..1]), None);
    }
}
