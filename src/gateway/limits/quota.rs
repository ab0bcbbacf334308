//! What a client is told of its limits: `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::bucket::Level;
use crate::gateway::headers::set;
use crate::prices::Rate;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// One limit as it stands after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct Quota {
    name: &'static str,
    rate: Rate,
    left: u32,
    full_in: Duration,
}

impl Quota {
    /// `taken`: whether the call was let through, and so took one of what the level says.
    pub(super) fn after(name: &'static str, rate: Rate, level: Level, taken: bool) -> Quota {
        let one = if taken { rate.interval() } else { Duration::ZERO };
        Quota {
            name,
            rate,
            left: level.left.saturating_sub(u32::from(taken)),
            full_in: level.full_in + one,
        }
    }
}

/// Writes both headers, or none where nothing limits the route. `q` calls in `w` seconds are allowed, `r` are left, and
/// in `t` seconds all are there again.
pub(in crate::gateway) fn tell(quotas: &[Quota], headers: &mut HeaderMap) {
    if quotas.is_empty() {
        return;
    }
    let (mut now, mut policy) = (String::new(), String::new());
    for quota in quotas {
        let Quota { name, rate, left, .. } = quota;
        let between = if now.is_empty() { "" } else { ", " };
        let (q, w, t) = (rate.burst, whole_seconds(rate.window()), whole_seconds(quota.full_in));
        // A string takes whatever is written to it.
        let _ = write!(now, "{between}\"{name}\";r={left};t={t}");
        let _ = write!(policy, "{between}\"{name}\";q={q};w={w}");
    }
    set(headers, RATE_LIMIT, &now);
    set(headers, RATE_LIMIT_POLICY, &policy);
}

/// Rounded up, and at least 1: a client that is told 0 comes back at once.
pub(super) fn whole_seconds(time: Duration) -> u32 {
    let begun = u64::from(time.subsec_nanos() > 0);
    u32::try_from(time.as_secs() + begun).unwrap_or(u32::MAX).max(1)
}
