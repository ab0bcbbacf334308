//! Keys that keep hanging up just before the end of a body: they have the data, and would pay nothing.
//!
//! In: how far each delivery came, and whether its client left. Out: what is owed by a key that made a habit of it.
//!
//! Promise: off unless configured. A key that hung up `hang_ups_max` times within the window, each time with 90 % of the
//! body gone out, owes each answer from its first byte, until it has behaved for a window. What the upstream breaks, or
//! the platform cuts, is released for such a key as for any other.
//!
//! What has gone out is what was taken for the client, not what waits for it. Where a body has no announced length, it is
//! compared with all that was seen of it.
//! Kept in memory: each process learns by itself, and forgets when it ends.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use keyledger_events::KeyId;
use lru::LruCache;
use tokio::time::Instant;

use super::hold::Settlement;
use super::parcel::Tally;
use crate::config::FreeRiderConfig;

/// Keys that are watched; the one that hung up longest ago is forgotten first.
const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
const NEAR_END_PERCENT: u64 = 90;

/// Who hangs up, and how often.
#[derive(Debug)]
pub(super) struct FreeRiders {
    config: FreeRiderConfig,
    keys: Mutex<LruCache<KeyId, Habit>>,
}

#[derive(Debug, Default)]
struct Habit {
    hang_ups: VecDeque<Instant>,
    rides_until: Option<Instant>,
}

impl FreeRiders {
    pub(super) fn new(config: FreeRiderConfig) -> FreeRiders {
        FreeRiders {
            config,
            keys: Mutex::new(LruCache::new(KEYS_MAX)),
        }
    }

    /// Whether the key pays from the first byte now.
    pub(super) fn pays_at_once(&self, key: KeyId, now: Instant) -> bool {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.peek(&key)
            .is_some_and(|habit| habit.rides_until.is_some_and(|until| now < until))
    }

    /// Remembers that a client left near the end.
    pub(super) fn hung_up(&self, key: KeyId, now: Instant) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let habit = keys.get_or_insert_mut(key, Habit::default);
        habit.hang_ups.push_back(now);
        let window = self.config.hang_up_window;
        while habit
            .hang_ups
            .front()
            .is_some_and(|first| now.duration_since(*first) > window)
            || habit.hang_ups.len() > self.config.hang_ups_max
        {
            habit.hang_ups.pop_front();
        }
        if habit.hang_ups.len() >= self.config.hang_ups_max {
            let until = now.checked_add(window);
            let before = std::mem::replace(&mut habit.rides_until, until);
            if before.is_none_or(|before| before <= now) {
                tracing::warn!(%key, hang_ups = habit.hang_ups.len(), window_seconds = window.as_secs(), "a key keeps hanging up before the end; it pays from the first byte");
                metrics::counter!("keyledger_gateway_free_riders_total").increment(1);
            }
        }
    }
}

/// How far one delivery came.
#[derive(Debug, Default)]
pub(super) struct Ride {
    announced_bytes: Option<u64>,
    /// Of the body, so far.
    seen_bytes: u64,
    taken: Tally,
    /// What leaving costs, once there was a byte to leave with.
    owed: Option<Settlement>,
}

impl Ride {
    pub(super) fn begin(announced_bytes: Option<u64>, owed: Option<Settlement>) -> Ride {
        Ride {
            announced_bytes,
            seen_bytes: 0,
            taken: Tally::default(),
            owed,
        }
    }

    /// A piece sets out, and counts where it says that it is taken.
    pub(super) fn passing(&mut self, bytes: usize) -> Tally {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.seen_bytes = self.seen_bytes.saturating_add(bytes);
        self.taken.clone()
    }

    pub(super) fn is_near_end(&self) -> bool {
        let taken = self.taken.bytes();
        let whole = self.announced_bytes.unwrap_or(self.seen_bytes);
        taken > 0 && u128::from(taken) * 100 >= u128::from(whole) * u128::from(NEAR_END_PERCENT)
    }

    pub(super) fn owed(&self) -> Option<Settlement> {
        self.owed.filter(|_| self.taken.bytes() > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KEY: KeyId = KeyId::from_parts(1, 1);

    fn riders() -> FreeRiders {
        FreeRiders::new(FreeRiderConfig {
            hang_ups_max: 3,
            hang_up_window: Duration::from_secs(100),
        })
    }

    #[test]
    fn a_habit_is_so_many_within_the_window_and_is_forgiven_after_one() {
        let (riders, start) = (riders(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        riders.hung_up(KEY, at(0));
        riders.hung_up(KEY, at(60));
        riders.hung_up(KEY, at(120));
        assert!(!riders.pays_at_once(KEY, at(120)), "the first is too long ago");
        riders.hung_up(KEY, at(130));
        assert!(riders.pays_at_once(KEY, at(131)));
        assert!(
            !riders.pays_at_once(KeyId::from_parts(1, 2), at(131)),
            "nobody else does"
        );
        riders.hung_up(KEY, at(225));
        assert!(riders.pays_at_once(KEY, at(229)));
        assert!(!riders.pays_at_once(KEY, at(231)), "two within the window are no habit");
    }

    #[test]
    fn near_the_end_is_nine_tenths_of_what_was_announced_or_all_that_was_seen() {
        let ride = |announced, taken| {
            let mut ride = Ride::begin(announced, None);
            ride.passing(taken).add(taken);
            ride.is_near_end()
        };
        assert!(ride(Some(100), 90) && !ride(Some(100), 89));
        assert!(ride(None, 1) && !ride(None, 0) && !ride(Some(0), 0));
        assert!(!ride(Some(u64::MAX), 1_000));
        let mut waiting = Ride::begin(Some(100), None);
        waiting.passing(100).add(10);
        assert!(!waiting.is_near_end(), "what waits for the client has not gone out");
    }
}
