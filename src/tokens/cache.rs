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
    kept: Mutex<Kept>,
}

struct Kept {
    callers: LruCache<KeyDigest, (Caller, Instant)>,
    /// When a token was last forgotten. A look-up from before may have seen it while it was valid.
    forgotten_at: Option<Instant>,
}

impl Default for Cache {
    fn default() -> Cache {
        let kept = Kept {
            callers: LruCache::new(CALLERS_MAX),
            forgotten_at: None,
        };
        Cache { kept: Mutex::new(kept) }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache(..)")
    }
}

impl Cache {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Each change under the lock is whole, so a panic elsewhere leaves nothing half done here.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, digest: &KeyDigest, now: Instant) -> Option<Caller> {
        let mut kept = self.kept();
        let (caller, seen) = *kept.callers.get(digest)?;
        (now.saturating_duration_since(seen) < FRESH).then_some(caller)
    }

    /// Keeps a caller who was valid when asked about at `seen`, unless some token was revoked since.
    pub(super) fn put(&self, digest: KeyDigest, caller: Caller, seen: Instant) {
        let mut kept = self.kept();
        if kept.forgotten_at.is_none_or(|at| at < seen) {
            kept.callers.put(digest, (caller, seen));
        }
    }

    /// Forgets a token that is revoked by now, also for look-ups that are under way.
    pub(super) fn forget(&self, token: TokenId, now: Instant) {
        let mut kept = self.kept();
        kept.forgotten_at = Some(now);
        let callers = kept.callers.iter();
        let gone: Vec<KeyDigest> = callers
            .filter(|(_, (caller, _))| caller.token == token)
            .map(|(digest, _)| *digest)
            .collect();
        for digest in gone {
            kept.callers.pop(&digest);
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
        let forgotten_at = now + Duration::from_millis(1);
        cache.forget(caller().token, forgotten_at);
        assert_eq!(cache.get(&digest, now), None);
        // Nor does a look-up bring it back that was under way meanwhile.
        for asked_at in [now, forgotten_at] {
            cache.put(digest, caller(), asked_at);
            assert_eq!(cache.get(&digest, forgotten_at), None);
        }
        let later = forgotten_at + Duration::from_millis(1);
        cache.put(digest, caller(), later);
        assert_eq!(cache.get(&digest, later), Some(caller()));
    }
}
