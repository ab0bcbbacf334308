//! Results that were paid already: the result of a queued request is charged once, and asked for again it is free.
//!
//! In: charges by rules that say `once_per = "path"`. Out: whether this key has paid for this path within a day.
//!
//! Promise: bounded memory. Forgetting charges again, as without the rule, so that each process by itself and a restart
//! cost the customer at most what the price says. A charge counts as soon as it is decided.
//!
//! Not here: queries. A path is what names a result; what the query says is how it is shown.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keyledger_events::{KeyDigest, KeyId};
use lru::LruCache;
use tokio::time::Instant;

const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// About 10 MB.
const RESULTS_MAX: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// A result, by who asks and where. Of the path only a digest: paths are long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ResultName {
    key: KeyId,
    path: KeyDigest,
}

#[derive(Debug)]
pub(super) struct Paid(Mutex<LruCache<ResultName, Instant>>);

impl ResultName {
    pub(super) fn new(key: KeyId, method: &str, path: &str) -> ResultName {
        ResultName {
            key,
            path: KeyDigest::of(&format!("{method} {path}")),
        }
    }
}

impl Paid {
    pub(super) fn new() -> Paid {
        Paid(Mutex::new(LruCache::new(RESULTS_MAX)))
    }

    pub(super) fn is_paid(&self, name: ResultName, now: Instant) -> bool {
        let paid = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paid.peek(&name).is_some_and(|at| now.duration_since(*at) < REMEMBERED)
    }

    pub(super) fn pays(&self, name: ResultName, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(name, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_paid_for_a_day_by_one_key_at_one_path() {
        let (paid, start) = (Paid::new(), Instant::now());
        let key = KeyId::from_parts(1, 1);
        let name = ResultName::new(key, "GET", "/tasks/7");
        paid.pays(name, start);
        assert!(paid.is_paid(name, start + REMEMBERED / 2));
        assert!(!paid.is_paid(name, start + REMEMBERED));
        for other in [
            ResultName::new(key, "GET", "/tasks/8"),
            ResultName::new(key, "POST", "/tasks/7"),
            ResultName::new(KeyId::from_parts(1, 2), "GET", "/tasks/7"),
        ] {
            assert!(!paid.is_paid(other, start));
        }
    }
}
