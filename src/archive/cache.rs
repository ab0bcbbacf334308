//! What was read of segments lately, within a bound of bytes.

use std::sync::Arc;

use lru::LruCache;

use super::index::Index;

/// A part of a segment, by the SHA-256 of its file and the bundle's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Part {
    pub(super) segment: [u8; 32],
    /// `None`: the index.
    pub(super) bundle: Option<u32>,
}

/// The events of a bundle.
pub(super) type Bundle = Vec<Vec<u8>>;

#[derive(Debug, Clone)]
pub(super) enum Kept {
    Index(Arc<Index>),
    Bundle(Arc<Bundle>),
}

impl Kept {
    fn weight(&self) -> usize {
        match self {
            Kept::Index(index) => index.weight(),
            Kept::Bundle(bundle) => bundle.iter().map(|event| event.len() + size_of::<Vec<u8>>()).sum(),
        }
    }
}

/// Bounded in bytes: what was not asked for the longest time goes first.
#[derive(Debug)]
pub(super) struct Cache {
    parts: LruCache<Part, Kept>,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    pub(super) fn of(bytes_max: usize) -> Cache {
        Cache {
            parts: LruCache::unbounded(),
            bytes: 0,
            bytes_max,
        }
    }

    pub(super) fn get(&mut self, part: Part) -> Option<Kept> {
        self.parts.get(&part).cloned()
    }

    pub(super) fn keep(&mut self, part: Part, kept: Kept) {
        self.bytes += kept.weight();
        if let Some((_, before)) = self.parts.push(part, kept) {
            self.bytes -= before.weight();
        }
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.parts.pop_lru() else { break };
            self.bytes -= oldest.weight();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stays_within_the_bound_and_what_was_asked_for_stays_longest() {
        let part = |bundle| Part {
            segment: [0; 32],
            bundle: Some(bundle),
        };
        let bundle = || Kept::Bundle(Arc::new(vec![vec![0; 976]]));
        let mut cache = Cache::of(3_500);
        for n in [0, 1, 2, 2] {
            cache.keep(part(n), bundle());
        }
        assert!(cache.get(part(0)).is_some());
        cache.keep(part(3), bundle());
        assert_eq!(cache.bytes, 3_000);
        let there = [0, 1, 2, 3].map(|n| cache.get(part(n)).is_some());
        assert_eq!(there, [true, false, true, true]);
        // What is larger than everything is not kept at all.
        cache.keep(part(4), Kept::Bundle(Arc::new(vec![vec![0; 9_000]])));
        assert_eq!((cache.bytes, cache.parts.len()), (0, 0));
    }
}
