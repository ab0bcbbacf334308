//! Credits that come again and again.

use serde::{Deserialize, Serialize};

use super::credits::{is_zero, zero};
use crate::credits::Credits;
use crate::ids::PlanId;
use crate::time::Timestamp;

/// From a moment on an account is given credits each period: a grant of source `plan`, which ends with its period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanStarted {
    pub plan: PlanId,
    /// Given each period: more than zero.
    pub amount: Credits,
    pub period: Period,
    /// Where the first period begins. A later one begins at the same time of its day; of a month that is too short for the
    /// day, on its last.
    pub starts_at: Timestamp,
    /// How much of what is left of a period goes on into the next; the rest expires.
    #[serde(default = "zero", skip_serializing_if = "is_zero")]
    pub rollover_cap: Credits,
}

/// No period of the plan begins any more. What was given for the one under way stays until that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanEnded {
    pub plan: PlanId,
}

/// How long a plan's grants last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    Day,
    Week,
    Month,
}

impl Period {
    pub const fn as_str(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        }
    }
}

/// Which period of a plan a grant is for. The first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanPeriod {
    pub plan: PlanId,
    pub number: u32,
}
