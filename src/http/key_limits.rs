//! What a key is limited to, as it is asked for and as it is shown.

use keyledger_events::{CallRate, Scopes};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problems;
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

/// Reads the limits of a key to make. 422 a rate out of bounds.
pub(super) fn asked(scopes: Option<Scopes>, rate_limit: Option<KeyRateLimit>) -> Result<KeyLimits, Problem> {
    let rate = rate_limit.map(|asked| CallRate::new(asked.per_second, asked.burst.unwrap_or(asked.per_second)));
    let rate = rate.transpose().map_err(|error| {
        let detail = format!("rate_limit: {error}");
        problems::invalid_body("rate_limit", &detail)
    })?;
    Ok(KeyLimits { scopes, rate })
}
