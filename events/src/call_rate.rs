//! How often a key may call, where it has a limit of its own.
//!
//! Not here: counting, and the limits of the price book.

use serde::{Deserialize, Serialize};

/// A token bucket's terms: so many calls a second in the long run, and so many at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct CallRate {
    per_second: u32,
    burst: u32,
}

/// Numbers that are no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must have per_second and burst from 1 to {max}")]
pub struct CallRateError {
    max: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    per_second: u64,
    burst: u64,
}

impl CallRate {
    /// More than one process can serve, so a larger number is a slip of the pen.
    pub const MAX: u32 = 1_000_000;

    /// Both are from 1 to [`CallRate::MAX`].
    pub fn new(per_second: u64, burst: u64) -> Result<CallRate, CallRateError> {
        let fits = |count: u64| {
            let count = u32::try_from(count).ok();
            count
                .filter(|count| (1..=CallRate::MAX).contains(count))
                .ok_or(CallRateError { max: CallRate::MAX })
        };
        Ok(CallRate {
            per_second: fits(per_second)?,
            burst: fits(burst)?,
        })
    }

    pub const fn per_second(self) -> u32 {
        self.per_second
    }

    pub const fn burst(self) -> u32 {
        self.burst
    }
}

impl TryFrom<Parts> for CallRate {
    type Error = CallRateError;

    fn try_from(parts: Parts) -> Result<CallRate, CallRateError> {
        CallRate::new(parts.per_second, parts.burst)
    }
}

impl From<CallRate> for Parts {
    fn from(rate: CallRate) -> Parts {
        Parts {
            per_second: rate.per_second.into(),
            burst: rate.burst.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_two_numbers_within_bounds() {
        let rate = CallRate::new(1, 1_000_000).unwrap();
        assert_eq!((rate.per_second(), rate.burst()), (1, 1_000_000));
        for (per_second, burst) in [(0, 1), (1, 0), (1_000_001, 1), (1, 1_000_001), (u64::MAX, 1)] {
            assert!(CallRate::new(per_second, burst).is_err(), "{per_second} {burst}");
        }
    }

    #[test]
    fn a_rate_reads_back_and_nothing_is_guessed() {
        let rate = CallRate::new(5, 20).unwrap();
        let text = serde_json::to_string(&rate).unwrap();
        assert_eq!(text, r#"{"per_second":5,"burst":20}"#);
        assert_eq!(serde_json::from_str::<CallRate>(&text).unwrap(), rate);
        for bad in [r#"{"per_second":5}"#, r#"{"per_second":0,"burst":1}"#, "5", "null"] {
            assert!(serde_json::from_str::<CallRate>(bad).is_err(), "{bad}");
        }
    }
}
