//! Who showed which cookie a moment ago. Nobody is let in by it: it says whose page can be made ready while the database is
//! asked whether the stay still lasts.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use keyledger_events::{KeyDigest, PortalSessionId};
use lru::LruCache;

use super::{CookieSecret, Whose};

/// What a cookie claims: the stay that it belonged to when it was last shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub session: PortalSessionId,
    pub whose: Whose,
}

/// More people than look at the pages at once; about 200 bytes each. Who is forgotten waits for one more answer.
const CLAIMS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(16_383);

/// Claims by the cookie's digest. Only cookies that were good are kept: made-up ones push nobody out.
pub(super) struct Claims(Mutex<LruCache<KeyDigest, Claim>>);

impl Default for Claims {
    fn default() -> Claims {
        Claims(Mutex::new(LruCache::new(CLAIMS_MAX)))
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims(..)")
    }
}

impl Claims {
    fn claims(&self) -> MutexGuard<'_, LruCache<KeyDigest, Claim>> {
        // Each change under the lock is whole, so a panic elsewhere leaves nothing half done here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn of(&self, cookie: &CookieSecret) -> Option<Claim> {
        self.claims().get(&cookie.digest()).copied()
    }

    /// Remembers what the database said of a cookie just now.
    pub(super) fn note(&self, cookie: &CookieSecret, found: Option<Claim>) {
        let mut claims = self.claims();
        match found {
            Some(claim) => _ = claims.put(cookie.digest(), claim),
            None => _ = claims.pop(&cookie.digest()),
        }
    }
}
