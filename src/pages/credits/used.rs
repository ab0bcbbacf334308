//! What was used in the last thirty days: by day, by endpoint, by key.

use std::collections::BTreeMap;

use keyledger_events::{Credits, Timestamp};

use crate::pages::amount::sum;
use crate::pages::chart::{Rank, Stack};
use crate::pages::name::Shown;
use crate::views::{KeyTotals, Line, Point, Range, RangeError, Step};

pub(super) const DAYS: u32 = 30;
const DAY_SECONDS: u32 = 86_400;

/// More colours than this nobody tells apart.
const PARTS_MAX: usize = 4;
/// Bars of a chart by endpoint; what there are more is one bar.
const RANKS_MAX: usize = 8;

const OTHERS: &str = "Others";

/// Today and the 29 days before, UTC.
pub(super) fn range(now: Timestamp) -> Result<Range, RangeError> {
    let first = now.start_of_day().minus_seconds((DAYS - 1) * DAY_SECONDS);
    // Today counts from its first moment on.
    Range::new(first, now.plus_seconds(1), Step::Day)
}

/// What one endpoint used, most credits first.
struct EndpointUse<'a> {
    name: &'a str,
    uses: u64,
    charged: Credits,
}

fn by_endpoint(points: &[Point]) -> Vec<EndpointUse<'_>> {
    let mut all: BTreeMap<&str, (u64, Credits)> = BTreeMap::new();
    for point in points {
        let (uses, charged) = all.entry(endpoint(&point.line)).or_default();
        *uses = uses.saturating_add(point.uses);
        *charged = sum([*charged, point.charged]);
    }
    let mut all: Vec<_> = all
        .into_iter()
        .map(|(name, (uses, charged))| EndpointUse { name, uses, charged })
        .collect();
    all.sort_by_key(|endpoint| std::cmp::Reverse((endpoint.charged, endpoint.uses)));
    all
}

fn endpoint(line: &Line) -> &str {
    match line {
        Line::Endpoint(name) => name,
        Line::Total | Line::Key(_) | Line::Dashboard | Line::Other => OTHERS,
    }
}

/// Each day of the range, with its credits by endpoint.
pub(super) fn stack(range: Range, points: &[Point]) -> Stack {
    let all = by_endpoint(points);
    let paid = all.iter().filter(|endpoint| !endpoint.charged.is_zero());
    let mut parts: Vec<String> = paid.map(|endpoint| endpoint.name.to_owned()).collect();
    if parts.len() > PARTS_MAX {
        parts.truncate(PARTS_MAX - 1);
        parts.push(OTHERS.to_owned());
    }
    let days = (0..DAYS).map(|day| {
        let at = range.from().plus_seconds(day * DAY_SECONDS);
        let mut amounts = vec![Credits::ZERO; parts.len()];
        for point in points.iter().filter(|point| point.at == at) {
            let name = endpoint(&point.line);
            let part = parts
                .iter()
                .position(|part| part == name)
                .or(parts.len().checked_sub(1));
            if let Some(amount) = part.and_then(|part| amounts.get_mut(part)) {
                *amount = sum([*amount, point.charged]);
            }
        }
        (at, amounts)
    });
    let days = days.collect();
    Stack { parts, days }
}

/// The endpoints that were used, most credits first.
pub(super) fn endpoints(points: &[Point]) -> Vec<Rank> {
    let all = by_endpoint(points);
    let mut ranks: Vec<Rank> = all
        .iter()
        .take(RANKS_MAX)
        .map(|endpoint| Rank {
            name: Shown::new(endpoint.name),
            aside: None,
            link: (endpoint.name != OTHERS).then(|| format!("credits?endpoint={}#charges", endpoint.name)),
            uses: endpoint.uses,
            charged: endpoint.charged,
        })
        .collect();
    let rest = all.get(RANKS_MAX..).unwrap_or_default();
    if !rest.is_empty() {
        ranks.push(Rank {
            name: Shown::new(&format!("{} others", rest.len())),
            aside: None,
            link: None,
            uses: rest.iter().map(|endpoint| endpoint.uses).sum(),
            charged: sum(rest.iter().map(|endpoint| endpoint.charged)),
        });
    }
    ranks
}

/// The keys that were used, most credits first, at most `most`.
pub(super) fn keys(totals: &KeyTotals, most: usize) -> Vec<Rank> {
    let mut ranks: Vec<Rank> = totals
        .first
        .iter()
        .take(most)
        .map(|total| Rank {
            name: match (&total.key, &total.label) {
                (_, Some(label)) => Shown::new(&label.name),
                (Some(_), None) => Shown::new("New key"),
                (None, None) => Shown::new("Dashboard"),
            },
            aside: total.label.as_ref().map(|label| label.preview.clone()),
            link: total.key.map(|key| format!("credits?key={key}#charges")),
            uses: total.uses,
            charged: total.charged,
        })
        .collect();
    let rest = totals.first.get(most..).unwrap_or_default();
    let others = totals
        .others
        .saturating_add(u64::try_from(rest.len()).unwrap_or_default());
    if others > 0 {
        ranks.push(Rank {
            name: Shown::new(&format!("{others} other{}", if others == 1 { "" } else { "s" })),
            aside: None,
            link: None,
            uses: rest
                .iter()
                .fold(totals.others_uses, |sum, total| sum.saturating_add(total.uses)),
            charged: sum(rest.iter().map(|total| total.charged).chain([totals.others_charged])),
        });
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::ReleasedByCause;

    fn now() -> Timestamp {
        "2026-11-24T14:03:07Z".parse().unwrap()
    }

    fn point(day: &str, endpoint: &str, charged: &str) -> Point {
        Point {
            at: format!("{day}T00:00:00Z").parse().unwrap(),
            line: Line::Endpoint(endpoint.to_owned()),
            uses: 1,
            test_uses: 0,
            charges: 1,
            quantity: 1,
            charged: charged.parse().unwrap(),
            refunded: Credits::ZERO,
            released: ReleasedByCause::default(),
        }
    }

    #[test]
    fn thirty_days_end_with_today() {
        let range = range(now()).unwrap();
        assert_eq!(range.from(), "2026-10-26T00:00:00Z".parse().unwrap());
        assert_eq!(range.to(), "2026-11-25T00:00:00Z".parse().unwrap());
        let midnight: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
        assert_eq!(
            super::range(midnight).unwrap(),
            range,
            "a day counts from its first moment on"
        );
    }

    #[test]
    fn the_three_dearest_endpoints_stand_alone_and_nothing_is_lost() {
        let points: Vec<Point> = [
            ("a", "1"),
            ("b", "5"),
            ("c", "4"),
            ("d", "3"),
            ("e", "2"),
            ("free", "0"),
        ]
        .iter()
        .map(|(endpoint, charged)| point("2026-11-24", endpoint, charged))
        .collect();
        let stack = stack(range(now()).unwrap(), &points);
        assert_eq!(stack.parts, ["b", "c", "d", "Others"]);
        assert_eq!(stack.days.len(), 30);
        let (_, today) = stack.days.last().unwrap();
        let told: Vec<String> = today.iter().map(Credits::to_string).collect();
        assert_eq!(told, ["5", "4", "3", "3"]);
        let ranks = endpoints(&points);
        let names: Vec<String> = ranks.iter().map(|rank| rank.name.to_string()).collect();
        assert_eq!(names, ["b", "c", "d", "e", "a", "free"]);
    }
}
