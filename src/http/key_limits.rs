//! What a key is limited to, as it is asked for and as it is shown.

use keyledger_events::{CallRate, Scopes, SpendingLimit, SpendingPeriod as Period};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problems;
use super::words::Amount;
use crate::ledger::KeyLimits;
use crate::problem::Problem;

/// How often a key may call: a token bucket, in each process of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRateLimit {
    /// Calls a second in the long run.
    #[schema(minimum = 1, maximum = 1_000_000, example = 10)]
    per_second: u64,
    /// Calls at once after a rest; as many as in a second, unless said.
    #[schema(minimum = 1, maximum = 1_000_000, example = 30)]
    burst: Option<u64>,
}

impl From<CallRate> for KeyRateLimit {
    fn from(rate: CallRate) -> KeyRateLimit {
        KeyRateLimit {
            per_second: rate.per_second().into(),
            burst: Some(rate.burst().into()),
        }
    }
}

/// What a key may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeySpendingLimit {
    /// Credits; more than zero.
    #[schema(value_type = String, example = "25")]
    amount: Amount,
    per: SpendingPeriod,
}

/// Of the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SpendingPeriod {
    Day,
    Month,
}

impl From<KeySpendingLimit> for SpendingLimit {
    fn from(asked: KeySpendingLimit) -> SpendingLimit {
        SpendingLimit {
            amount: asked.amount.get(),
            per: match asked.per {
                SpendingPeriod::Day => Period::Day,
                SpendingPeriod::Month => Period::Month,
            },
        }
    }
}

/// Reads the limits of a key to make. 422 a rate out of bounds.
pub(super) fn asked(
    scopes: Option<Scopes>,
    rate_limit: Option<KeyRateLimit>,
    spending_limit: Option<KeySpendingLimit>,
) -> Result<KeyLimits, Problem> {
    let rate = rate_limit.map(|asked| CallRate::new(asked.per_second, asked.burst.unwrap_or(asked.per_second)));
    let rate = rate.transpose().map_err(|error| {
        let detail = format!("rate_limit: {error}");
        problems::invalid_body("rate_limit", &detail)
    })?;
    Ok(KeyLimits {
        scopes,
        rate,
        spending: spending_limit.map(SpendingLimit::from),
    })
}
