//! Callers seen a moment ago, so that a busy one does not cost a look-up a request.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keyledger_events::{KeyDigest, TokenId};
use lru::LruCache;

use super::Caller;

/// How long another process's revocation may go unnoticed here.
const FRESH: Duration = Duration::from_secs(5);

/// Far more tokens than a platform has; about 100 bytes each.
const CALLERS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4_095);

/// Valid callers by digest. Refused texts are not kept: a flood of them must not push the callers out.
pub(super) struct Cache {
    callers: Mutex<LruCache<KeyDigest, (Caller, Instant)>>,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache {
            callers: Mutex::new(LruCache::new(CALLERS_MAX)),
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache(..)")
    }
}

impl Cache {
    fn callers(&self) -> MutexGuard<'_, LruCache<KeyDigest, (Caller, Instant)>> {
        // Each change under the lock is whole, so a panic elsewhere leaves nothing half done here.
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, digest: &KeyDigest, now: Instant) -> Option<Caller> {
        let mut callers = self.callers();
        let (caller, seen) = *callers.get(digest)?;
        (now.saturating_duration_since(seen) < FRESH).then_some(caller)
    }

    pub(super) fn put(&self, digest: KeyDigest, caller: Caller, seen: Instant) {
        self.callers().put(digest, (caller, seen));
    }

    pub(super) fn forget(&self, token: TokenId) {
        let mut callers = self.callers();
        let gone: Vec<KeyDigest> = callers
            .iter()
            .filter(|(_, (caller, _))| caller.token == token)
            .map(|(digest, _)| *digest)
            .collect();
        for digest in gone {
            callers.pop(&digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Role;

    fn caller() -> Caller {
        Caller {
            token: TokenId::from_parts(1, 1),
            role: Role::Billing,
        }
    }

    #[test]
    fn a_caller_is_remembered_for_five_seconds_and_no_longer() {
        let (cache, digest, now) = (Cache::default(), KeyDigest::of("t"), Instant::now());
        cache.put(digest, caller(), now);
        assert_eq!(cache.get(&digest, now + Duration::from_millis(4_999)), Some(caller()));
        assert_eq!(cache.get(&digest, now + FRESH), None);
    }

    #[test]
    fn a_revoked_token_is_forgotten_at_once() {
        let (cache, digest, now) = (Cache::default(), KeyDigest::of("t"), Instant::now());
        cache.put(digest, caller(), now);
        cache.forget(caller().token);
        assert_eq!(cache.get(&digest, now), None);
    }
}
