//! Balances that are watched for.

use super::{credits, is_as_released, recorded};
use crate::*;

/// The types that have their samples here.
pub(super) const TYPES: &[&str] = &["keyledger.ThresholdsSet.v1", "keyledger.ThresholdReached.v1"];

#[test]
fn thresholds_are_set_and_reached() {
    let set = |thresholds: &[&str]| ThresholdsSet {
        thresholds: thresholds.iter().map(|text| credits(text)).collect(),
    };
    is_as_released("thresholds-set", &recorded(160, set(&["100", "0.5"]).into()));
    is_as_released("thresholds-set-bare", &recorded(161, set(&[]).into()));
    let reached = ThresholdReached {
        threshold: credits("100"),
        balance: credits("-0.25"),
    };
    is_as_released("threshold-reached", &recorded(162, reached.into()));
}
