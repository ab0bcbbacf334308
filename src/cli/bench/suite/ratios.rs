//! One figure against another: what it is, and what is aimed at.

use std::fmt;

use keyledger::bench::Figure;

/// A number of a figure.
#[derive(Debug, Clone, Copy)]
enum Number {
    PerSecond,
    Events,
    Median,
    Setting(&'static str),
}

/// What is aimed at, in hundredths.
#[derive(Debug, Clone, Copy)]
pub enum Aim {
    AtLeast(u64),
    AtMost(u64),
    /// It is only told.
    None,
}

#[derive(Debug)]
pub struct Ratio {
    of: (&'static str, Number),
    by: (&'static str, Number),
    aim: Aim,
}

pub const RATIOS: [Ratio; 21] = [
    ratio("commands-512", "limit-1", Number::Events, Aim::AtLeast(85)),
    ratio("commands-512-shards-2", "limit-2", Number::Events, Aim::AtLeast(80)),
    ratio("commands-512-workers", "commands-512", Number::Events, Aim::AtLeast(60)),
    ratio(
        "commands-512-processes-2",
        "commands-512",
        Number::Events,
        Aim::AtLeast(95),
    ),
    ratio(
        "commands-512-slow-disk-1000us",
        "commands-512",
        Number::Events,
        Aim::None,
    ),
    ratio(
        "commands-512-slow-disk-5000us",
        "commands-512",
        Number::Events,
        Aim::None,
    ),
    ratio(
        "commands-512-log-10000000",
        "commands-512-log-100000",
        Number::Events,
        Aim::AtLeast(95),
    ),
    ratio("cycles-512", "hand-sql-32", Number::PerSecond, Aim::AtLeast(1_200)),
    ratio("cycles-512", "hand-sql-statement-32", Number::PerSecond, Aim::None),
    ratio("cycles-512-hot", "cycles-512", Number::PerSecond, Aim::AtLeast(95)),
    ratio(
        "cycles-512-hot",
        "hand-sql-32-hot",
        Number::PerSecond,
        Aim::AtLeast(4_000),
    ),
    ratio("commands-1", "pgbench-1", Number::Median, Aim::AtMost(130)),
    ratio("commands-32", "cqrs-es-32", Number::PerSecond, Aim::AtLeast(600)),
    ratio(
        "commands-32-hot",
        "cqrs-es-32-hot",
        Number::PerSecond,
        Aim::AtLeast(10_000),
    ),
    ratio("http-64", "echo-64", Number::PerSecond, Aim::AtLeast(25)),
    ratio("http-512", "echo-512", Number::PerSecond, Aim::AtLeast(35)),
    ratio("gateway-64", "bare-proxy-64", Number::PerSecond, Aim::AtLeast(50)),
    ratio("gateway-64", "nginx-64", Number::PerSecond, Aim::None),
    ratio("rebuild-512", "limit-1", Number::Events, Aim::None),
    ratio("rebuild-512", "commands-512", Number::Events, Aim::AtLeast(200)),
    Ratio {
        of: ("disk-512", Number::Setting("bytes_per_event")),
        by: ("disk-512", Number::Setting("canonical_bytes_per_event")),
        aim: Aim::AtMost(160),
    },
];

const fn ratio(of: &'static str, by: &'static str, number: Number, aim: Aim) -> Ratio {
    Ratio {
        of: (of, number),
        by: (by, number),
        aim,
    }
}

/// A ratio that was measured.
#[derive(Debug)]
pub struct Compared {
    /// `commands-512 of limit-1, events/s`.
    pub what: String,
    pub hundredths: u64,
    pub aim: Aim,
}

impl Ratio {
    /// `None` where one of the two was left out.
    pub fn among(&self, medians: &[&Figure]) -> Option<Compared> {
        let number = |(name, number): (&str, Number)| {
            let figure = medians.iter().find(|figure| figure.name == name)?;
            Some(match number {
                Number::PerSecond => figure.per_s,
                Number::Events => figure.events_per_s.unwrap_or_default(),
                Number::Median => figure.p50_us,
                Number::Setting(name) => figure.setting(name),
            })
        };
        let (of, by) = (number(self.of)?, number(self.by)?);
        Some(Compared {
            what: self.what(),
            hundredths: of.saturating_mul(100) / by.max(1),
            aim: self.aim,
        })
    }

    fn what(&self) -> String {
        match (self.of, self.by) {
            ((_, Number::Setting(of)), (_, Number::Setting(by))) => {
                format!("{} of {}", of.replace('_', " "), by.replace('_', " "))
            }
            ((of, number), (by, _)) => format!("{of} of {by}, {number}"),
        }
    }
}

impl Compared {
    /// How much of what is aimed at was reached, in hundredths. `None` where nothing is.
    pub fn reached(&self) -> Option<u64> {
        match self.aim {
            Aim::AtLeast(aim) => Some(self.hundredths.saturating_mul(100) / aim.max(1)),
            Aim::AtMost(aim) => Some(aim.saturating_mul(100) / self.hundredths.max(1)),
            Aim::None => None,
        }
    }

    /// `0.91`.
    pub fn value(&self) -> String {
        decimal(self.hundredths)
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<66} {:>8}   aim {}", self.what, self.value(), self.aim)
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aim::AtLeast(aim) => write!(f, "≥ {}", decimal(*aim)),
            Aim::AtMost(aim) => write!(f, "≤ {}", decimal(*aim)),
            Aim::None => f.write_str("–"),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Number::PerSecond => "per s",
            Number::Events => "events/s",
            Number::Median => "p50",
            Number::Setting(name) => name,
        })
    }
}

fn decimal(hundredths: u64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::super::rows::{SUBJECTS, Subject, way_name};
    use super::*;

    #[test]
    fn every_ratio_is_of_figures_that_the_suite_brings() {
        let names: Vec<String> = SUBJECTS
            .iter()
            .flat_map(|subject| match subject {
                Subject::Row(row) => vec![row.name()],
                Subject::Gateway => ["gateway", "bare proxy", "nginx"].map(way_name).into(),
            })
            .collect();
        for ratio in &RATIOS {
            for (name, _) in [ratio.of, ratio.by] {
                assert!(names.iter().any(|known| known == name), "{name} is measured nowhere");
            }
        }
    }

    #[test]
    fn what_was_reached_is_a_share_of_the_aim() {
        let compared = |hundredths, aim| Compared {
            what: String::new(),
            hundredths,
            aim,
        };
        assert_eq!(compared(91, Aim::AtLeast(85)).reached(), Some(107));
        assert_eq!(compared(200, Aim::AtMost(160)).reached(), Some(80));
        assert_eq!(compared(200, Aim::None).reached(), None);
        assert_eq!(compared(91, Aim::AtLeast(85)).value(), "0.91");
    }
}
