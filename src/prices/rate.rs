//! How often something may happen: so many a second over time, and so many at once after a rest.

use std::time::Duration;

use keyledger_events::CallRate;

/// A token bucket's terms. Both are 1 to [`Rate::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Calls a second in the long run.
    pub per_second: u32,
    /// Calls at once, after a rest of `burst / per_second` seconds.
    pub burst: u32,
}

impl Rate {
    /// More than one process can serve, so a larger number is a slip of the pen.
    pub const MAX: u32 = 1_000_000;

    /// Makes a rate of what a person wrote; a burst that is not said is one second's worth. `Ok(None)` where no limit
    /// is meant.
    pub fn read(per_second: Option<u64>, burst: Option<u64>) -> Result<Option<Rate>, String> {
        let Some(per_second) = per_second else {
            return match burst {
                None => Ok(None),
                Some(_) => Err("is a burst without a rate a second".to_owned()),
            };
        };
        let fits = |count: u64| {
            u32::try_from(count)
                .ok()
                .filter(|count| (1..=Rate::MAX).contains(count))
        };
        match (fits(per_second), fits(burst.unwrap_or(per_second))) {
            (Some(per_second), Some(burst)) => Ok(Some(Rate { per_second, burst })),
            (None, _) | (_, None) => Err(format!("and its burst are 1 to {}", Rate::MAX)),
        }
    }

    /// The time in which one more call becomes possible.
    pub fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }

    /// The time in which an empty bucket is full again.
    pub fn window(self) -> Duration {
        self.interval() * self.burst
    }
}

/// A key's own.
impl From<CallRate> for Rate {
    fn from(rate: CallRate) -> Rate {
        Rate {
            per_second: rate.per_second(),
            burst: rate.burst(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_that_is_not_said_is_one_seconds_worth() {
        let rate = Rate::read(Some(5), None).unwrap().unwrap();
        assert_eq!((rate.per_second, rate.burst), (5, 5));
        assert_eq!(rate.window(), Duration::from_secs(1));
        assert_eq!(Rate::read(None, None), Ok(None));
    }

    #[test]
    fn a_rate_of_nothing_is_no_rate() {
        for (per_second, burst) in [
            (Some(0), None),
            (Some(1), Some(0)),
            (None, Some(1)),
            (Some(1_000_001), None),
        ] {
            assert!(Rate::read(per_second, burst).is_err());
        }
    }
}
