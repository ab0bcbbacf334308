//! A key's last thirty days, as its line in the list shows them.

use keyledger_events::Timestamp;

use crate::pages::amount::{amount, sum};
use crate::pages::chart::Spark;
use crate::pages::moment::thousands;
use crate::views::KeyUse;

const DAY_SECONDS: u32 = 86_400;

/// From so many networks on, a key may serve more than one integration, or somebody who should not have it.
const NETWORKS_MANY: u64 = 5;
/// No more are counted.
const NETWORKS_COUNTED_MAX: u64 = 32;

/// Nothing of it where a key was not used.
#[derive(Debug, Default)]
pub(super) struct Month {
    pub(super) uses: String,
    pub(super) credits: String,
    pub(super) spark: Option<Spark>,
    /// How many networks, where they are many.
    pub(super) networks: Option<String>,
}

/// The first of the days that are shown: today is the last.
pub(super) fn first_day(now: Timestamp) -> Timestamp {
    now.start_of_day().minus_seconds((Spark::DAYS - 1) * DAY_SECONDS)
}

impl Month {
    pub(super) fn new(used: Option<&KeyUse>, first: Timestamp) -> Month {
        let days = used.map(|used| used.days.as_slice()).unwrap_or_default();
        let uses = |at: Timestamp| days.iter().find(|day| day.day == at).map_or(0, |day| day.uses);
        let curve: Vec<_> = (0..Spark::DAYS)
            .map(|day| first.plus_seconds(day * DAY_SECONDS))
            .map(|at| (at, uses(at)))
            .collect();
        Month {
            uses: thousands(curve.iter().fold(0, |sum, (_, uses)| sum.saturating_add(*uses))),
            credits: amount(sum(days.iter().map(|day| day.charged))),
            spark: Spark::new(&curve),
            networks: used.and_then(|used| match used.networks {
                0..NETWORKS_MANY => None,
                networks @ NETWORKS_MANY..NETWORKS_COUNTED_MAX => Some(networks.to_string()),
                NETWORKS_COUNTED_MAX.. => Some(format!("{NETWORKS_COUNTED_MAX} or more")),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::KeyDay;
    use keyledger_events::KeyId;

    #[test]
    fn a_month_is_added_up_and_many_networks_are_told() {
        let now: Timestamp = "2026-11-24T14:03:07Z".parse().unwrap();
        let first = first_day(now);
        assert_eq!(first, "2026-10-26T00:00:00Z".parse().unwrap());
        let day = |at: Timestamp, uses| KeyDay {
            day: at,
            uses,
            charged: "0.5".parse().unwrap(),
        };
        let used = |networks| KeyUse {
            key: KeyId::from_parts(1, 1),
            networks,
            days: vec![day(first, 1_000), day(now.start_of_day(), 500)],
        };
        let month = Month::new(Some(&used(4)), first);
        assert_eq!((month.uses.as_str(), month.credits.as_str()), ("1,500", "1"));
        assert!(month.spark.is_some() && month.networks.is_none());
        let told = |networks| Month::new(Some(&used(networks)), first).networks;
        assert_eq!(told(5).as_deref(), Some("5"));
        assert_eq!(told(32).as_deref(), Some("32 or more"));
        let unused = Month::new(None, first);
        assert_eq!(
            (unused.uses.as_str(), unused.credits.as_str(), unused.spark),
            ("0", "0", None)
        );
    }
}
