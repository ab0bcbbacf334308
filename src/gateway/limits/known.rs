//! What the ledger has said of a key that is right: whose it is, and what it is limited to.
//!
//! Promise: a call outside of a key's scopes is refused from memory for as long as a key's end cannot have been missed.
//! What a key is for never changes, so this memory is never wrong about a key that works.

use std::time::Duration;

use keyledger_events::{AccountId, Endpoint, KeyId};
use tokio::time::Instant;

use crate::ledger::{Held, KeyLimits, Refusal};
use crate::prices::Rate;

/// A deleted key is heard of for at least as long; an expired one is told so at most this much later.
const FRESH: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) account: AccountId,
    pub(super) key: KeyId,
    limits: KeyLimits,
    heard_at: Instant,
}

impl Known {
    /// A key that was let through. `None` where no key was shown.
    pub(super) fn held(held: &Held, now: Instant) -> Option<Known> {
        Some(Known {
            account: held.account,
            key: held.key?,
            limits: held.key_limits.clone(),
            heard_at: now,
        })
    }

    /// A key that was refused, and is right. `None` where the refusal is another one.
    pub(super) fn refused(refusal: &Refusal, now: Instant) -> Option<Known> {
        if let Refusal::KeyScope {
            account, key, limits, ..
        } = refusal
        {
            Some(Known {
                account: *account,
                key: *key,
                limits: limits.clone(),
                heard_at: now,
            })
        } else {
            None
        }
    }

    /// How often it may call, where that is its own.
    pub(super) fn rate(&self) -> Option<Rate> {
        self.limits.rate.map(Rate::from)
    }

    /// What the ledger would say of a call that the key is not for.
    pub(super) fn refuses(&self, endpoint: &Endpoint, now: Instant) -> Option<Refusal> {
        let fresh = now.saturating_duration_since(self.heard_at) < FRESH;
        (fresh && !self.limits.allow(endpoint)).then(|| Refusal::KeyScope {
            endpoint: endpoint.clone(),
            account: self.account,
            key: self.key,
            limits: self.limits.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str) -> Endpoint {
        Endpoint::parse(name).unwrap()
    }

    fn known(now: Instant) -> Known {
        let refusal = Refusal::KeyScope {
            endpoint: endpoint("echo"),
            account: AccountId::from_parts(1, 1),
            key: KeyId::from_parts(1, 2),
            limits: KeyLimits {
                scopes: Some(vec![endpoint("serp")].try_into().unwrap()),
                rate: None,
                spending: None,
            },
        };
        Known::refused(&refusal, now).unwrap()
    }

    #[test]
    fn a_call_that_the_key_is_not_for_is_refused_as_the_ledger_refuses_it() {
        let now = Instant::now();
        let known = known(now);
        let refused = known.refuses(&endpoint("echo"), now).unwrap();
        assert_eq!(refused.to_string(), "the key is not for echo");
        assert_eq!(known.refuses(&endpoint("serp"), now), None);
    }

    #[test]
    fn a_memory_that_could_have_missed_the_keys_end_refuses_nothing() {
        let now = Instant::now();
        let known = known(now);
        assert!(
            known
                .refuses(&endpoint("echo"), now + Duration::from_secs(59))
                .is_some()
        );
        assert!(
            known
                .refuses(&endpoint("echo"), now + Duration::from_secs(60))
                .is_none()
        );
    }

    #[test]
    fn another_refusal_makes_no_key_known() {
        assert!(Known::refused(&Refusal::KeyDeleted, Instant::now()).is_none());
    }
}
