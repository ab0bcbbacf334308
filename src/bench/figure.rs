//! What a measurement comes to, as people and scripts read it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One figure. As JSON it is one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    pub name: String,
    /// Whole operations a second.
    pub per_s: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    /// Events appended or folded a second. Absent where there are none.
    pub events_per_s: Option<u64>,
    /// What it was measured with.
    pub settings: BTreeMap<String, u64>,
    /// Operations that were refused, and are in no other number.
    pub refused: u64,
    /// Who used the processor, in hundredths of one core. Absent where the server is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuSplit>,
}

/// Hundredths of one core: two busy cores are 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuSplit {
    /// This process: the load, and what is measured if it runs here.
    pub here: u64,
    pub postgres: u64,
}

impl Figure {
    /// From what each operation took, in any order.
    pub(super) fn of(name: &str, mut took: Vec<Duration>, refused: u64, elapsed: Duration) -> Figure {
        took.sort_unstable();
        let last = took.len().saturating_sub(1);
        let at = |percent: usize| {
            let took = took.get((took.len() * percent / 100).min(last)).copied();
            u64::try_from(took.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
        };
        Figure {
            name: name.to_owned(),
            per_s: a_second(took.len().try_into().unwrap_or(u64::MAX), elapsed),
            p50_us: at(50),
            p99_us: at(99),
            events_per_s: None,
            settings: BTreeMap::new(),
            refused,
            cpu: None,
        }
    }

    pub(super) fn with(mut self, setting: &str, value: impl TryInto<u64>) -> Figure {
        self.settings
            .insert(setting.to_owned(), value.try_into().unwrap_or(u64::MAX));
        self
    }

    /// How many events an operation is.
    pub(super) fn of_events(mut self, each: u64) -> Figure {
        self.events_per_s = Some(self.per_s.saturating_mul(each));
        self
    }

    pub fn setting(&self, name: &str) -> u64 {
        self.settings.get(name).copied().unwrap_or_default()
    }

    /// This throughput as hundredths of another one.
    pub fn hundredths_of(&self, other: &Figure) -> u64 {
        hundredths(self.per_s, other.per_s)
    }
}

pub(super) fn a_second(count: u64, elapsed: Duration) -> u64 {
    let nanos = elapsed.as_nanos().max(1);
    u64::try_from(u128::from(count) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

/// One number as hundredths of another.
pub(super) fn hundredths(of: u64, by: u64) -> u64 {
    of.saturating_mul(100) / by.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_middle_and_the_edge_of_what_was_seen() {
        let took = (1..=1_000).rev().map(Duration::from_micros).collect();
        let figure = Figure::of("commands", took, 3, Duration::from_millis(500))
            .with("callers", 4_usize)
            .of_events(2);
        assert_eq!((figure.per_s, figure.p50_us, figure.p99_us), (2_000, 501, 991));
        assert_eq!(
            serde_json::to_string(&figure).unwrap(),
            r#"{"name":"commands","per_s":2000,"p50_us":501,"p99_us":991,"events_per_s":4000,"settings":{"callers":4},"refused":3}"#
        );
    }

    #[test]
    fn nothing_seen_is_no_fault() {
        let figure = Figure::of("commands", Vec::new(), 0, Duration::ZERO);
        assert_eq!((figure.per_s, figure.p50_us, figure.p99_us), (0, 0, 0));
    }
}
