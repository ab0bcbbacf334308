//! Token buckets, as one moment each: the moment at which the bucket is full again (the generic cell rate algorithm).
//!
//! Promise: bounded. A bucket that is full again is forgotten, since a new one is the same; beyond that, the one that
//! was used the longest time ago goes first.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

use crate::prices::Rate;

/// The buckets of one kind of thing. `N` is what names one.
#[derive(Debug)]
pub(super) struct Buckets<N: Hash + Eq> {
    full_at: LruCache<N, Instant>,
}

/// What a bucket holds, before anything is taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    /// Calls that it would let through now.
    pub left: u32,
    /// Until it is full.
    pub full_in: Duration,
    /// Until it lets one more call through; zero if it does so now.
    pub wait: Duration,
}

impl<N: Hash + Eq> Buckets<N> {
    pub(super) fn new(most: NonZeroUsize) -> Buckets<N> {
        Buckets {
            full_at: LruCache::new(most),
        }
    }

    pub(super) fn level(&self, name: &N, rate: Rate, now: Instant) -> Level {
        let full_in = self
            .full_at
            .peek(name)
            .map_or(Duration::ZERO, |full| full.saturating_duration_since(now));
        let room = rate.window().saturating_sub(full_in);
        let left = room.as_nanos() / rate.interval().as_nanos().max(1);
        Level {
            left: u32::try_from(left).unwrap_or(u32::MAX),
            full_in,
            wait: rate.interval().saturating_sub(room),
        }
    }

    /// Takes one call, and never more than empties the bucket: a call that could not be refused in time is not held
    /// against later ones for longer than that.
    pub(super) fn take(&mut self, name: N, rate: Rate, now: Instant) {
        self.forget_idle(now);
        let full_in = self.level(&name, rate, now).full_in + rate.interval();
        self.full_at.put(name, now + full_in.min(rate.window()));
    }

    /// Gives back one call that was taken and came to nothing.
    pub(super) fn give_back(&mut self, name: &N, rate: Rate) {
        if let Some(full) = self.full_at.get_mut(name)
            && let Some(earlier) = full.checked_sub(rate.interval())
        {
            *full = earlier;
        }
    }

    /// Two for each that comes, so that what piled up goes away again.
    fn forget_idle(&mut self, now: Instant) {
        for _ in 0..2 {
            if self.full_at.peek_lru().is_some_and(|(_, full)| *full <= now) {
                self.full_at.pop_lru();
            }
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.full_at.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 3,
    };

    fn buckets(most: usize) -> Buckets<u32> {
        Buckets::new(NonZeroUsize::new(most).unwrap())
    }

    #[test]
    fn a_burst_passes_and_the_next_call_waits_for_one_interval() {
        let (mut buckets, now) = (buckets(9), Instant::now());
        for left in [3, 2, 1] {
            assert_eq!(buckets.level(&1, RATE, now).left, left);
            buckets.take(1, RATE, now);
        }
        let empty = buckets.level(&1, RATE, now);
        assert_eq!((empty.left, empty.wait), (0, Duration::from_millis(100)));
        assert_eq!(buckets.level(&2, RATE, now).left, 3);
        let later = now + Duration::from_millis(100);
        assert_eq!(buckets.level(&1, RATE, later).wait, Duration::ZERO);
    }

    #[test]
    fn what_is_let_through_over_time_is_the_rate() {
        let (mut buckets, now) = (buckets(9), Instant::now());
        let mut passed = 0;
        for millisecond in 0..10_000 {
            let now = now + Duration::from_millis(millisecond);
            if buckets.level(&1, RATE, now).wait.is_zero() {
                buckets.take(1, RATE, now);
                passed += 1;
            }
        }
        assert_eq!(passed, 3 + 99);
    }

    #[test]
    fn buckets_are_bounded_and_full_ones_are_forgotten() {
        let (mut buckets, now) = (buckets(5), Instant::now());
        for name in 0..100 {
            buckets.take(name, RATE, now);
        }
        assert_eq!(buckets.len(), 5);
        for name in 200..205 {
            buckets.take(name, RATE, now + Duration::from_secs(9));
        }
        assert_eq!(buckets.len(), 5);
        buckets.take(300, RATE, now + Duration::from_secs(20));
        assert_eq!(buckets.len(), 4);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (mut buckets, now) = (buckets(5), Instant::now());
        for _ in 0..3 {
            buckets.take(1, RATE, now);
        }
        buckets.give_back(&1, RATE);
        assert_eq!(buckets.level(&1, RATE, now).left, 1);
    }
}
