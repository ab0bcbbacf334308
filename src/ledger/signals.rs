//! Deleted keys, told at once to whoever has work of theirs under way; and published prices, to whoever keeps them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keyledger_events::{KeyId, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::denials::Denials;

/// Work under way, by key, and the keys that were deleted of late.
#[derive(Debug, Default)]
pub struct KeySignals {
    state: Mutex<State>,
    denials: Denials,
    /// Counts how often it was heard that prices were published.
    prices: watch::Sender<u64>,
    /// When the last event that is known was written, by the log's clock.
    time: watch::Sender<Option<Timestamp>>,
}

#[derive(Debug, Default)]
struct State {
    working: HashMap<KeyId, (CancellationToken, usize)>,
    /// Work that begins a moment after its key's end was heard of must still hear of it.
    ended: HashMap<KeyId, Instant>,
}

/// One piece of work of a key. Dropping it says that the work is over.
#[derive(Debug)]
pub struct Working {
    signals: Arc<KeySignals>,
    key: KeyId,
    token: CancellationToken,
}

/// Longer than any answer of the ledger takes to reach the one who begins the work.
const ENDED_REMEMBERED: Duration = Duration::from_secs(60);
const ENDED_PRUNED_FROM: usize = 1_024;

impl KeySignals {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change under the lock is whole, so a panic elsewhere leaves nothing half done here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was refused, for those who refuse from memory.
    pub fn denials(&self) -> &Denials {
        &self.denials
    }

    /// Begins a piece of work of a key, right after the ledger let the key through.
    pub fn begin(self: &Arc<Self>, key: KeyId) -> Working {
        let mut state = self.state();
        let ended = state.ended.contains_key(&key);
        let (token, count) = state.working.entry(key).or_default();
        *count += 1;
        if ended {
            token.cancel();
        }
        Working {
            signals: Arc::clone(self),
            key,
            token: token.clone(),
        }
    }

    /// Whether a key's end was heard of within the last minute, at least.
    pub fn has_ended(&self, key: KeyId) -> bool {
        self.state().ended.contains_key(&key)
    }

    /// Tells whoever keeps prices that there are new ones in the log.
    pub(super) fn prices_published(&self) {
        self.prices.send_modify(|heard| *heard = heard.wrapping_add(1));
    }

    /// The log's own time, as far as this process knows: it may be ahead of the clock, where that was wrong.
    pub(super) fn heard_time(&self, recorded_at: Timestamp) {
        self.time.send_if_modified(|known| {
            let news = known.is_none_or(|known| known < recorded_at);
            *known = Some(known.map_or(recorded_at, |known| known.max(recorded_at)));
            news
        });
    }

    pub(super) fn time(&self) -> watch::Receiver<Option<Timestamp>> {
        self.time.subscribe()
    }

    /// Changes whenever it is heard that prices were published.
    pub fn prices(&self) -> watch::Receiver<u64> {
        self.prices.subscribe()
    }

    /// Ends all work of a key: it was deleted.
    pub(super) fn end(&self, key: KeyId) {
        let mut state = self.state();
        let now = Instant::now();
        if state.ended.len() >= ENDED_PRUNED_FROM {
            state.ended.retain(|_, at| now.duration_since(*at) < ENDED_REMEMBERED);
        }
        state.ended.insert(key, now);
        if let Some((token, _)) = state.working.get(&key) {
            token.cancel();
        }
    }
}

impl Working {
    /// Completes when the key is deleted.
    pub async fn key_deleted(&self) {
        self.token.cancelled().await;
    }

    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let mut state = self.signals.state();
        if let Some((_, count)) = state.working.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.working.remove(&self.key);
            }
        }
    }
}
