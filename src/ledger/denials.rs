//! Uses of known keys that were refused, counted in memory until somebody writes them down.
//!
//! Promise: counting costs no look-up and no write, and a flood is one number. A text that is no key of ours is not counted.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use keyledger_events::{Actor, CommandId, DenyReason, KeyDigest};

use super::Ledger;
use super::command::{By, SubmitError};
use super::refusal::Refusal;
use super::rules::NoteDenied;

/// Keys and reasons at once; about 100 bytes each. What there are more is not counted.
const COUNTS_MAX: usize = 10_000;

/// Counts by key and reason.
#[derive(Debug, Default)]
pub struct Denials(Mutex<HashMap<(KeyDigest, DenyReason), u64>>);

/// Why a key's use was refused, where that says something about the key.
fn reason(refusal: &Refusal) -> Option<DenyReason> {
    if matches!(refusal, Refusal::KeyDeleted) {
        Some(DenyReason::Deleted)
    } else if matches!(refusal, Refusal::KeyExpired) {
        Some(DenyReason::Expired)
    } else if matches!(refusal, Refusal::KeyScope { .. }) {
        Some(DenyReason::Scope)
    } else if matches!(refusal, Refusal::InsufficientCredits { .. }) {
        Some(DenyReason::NoCredits)
    } else if matches!(refusal, Refusal::KeySpendingLimit { .. }) {
        Some(DenyReason::SpendingLimit)
    } else {
        None
    }
}

impl Denials {
    fn counts(&self) -> MutexGuard<'_, HashMap<(KeyDigest, DenyReason), u64>> {
        // Each change under the lock is whole, so a panic elsewhere leaves nothing half done here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a use of the key with this digest that was refused.
    pub fn note(&self, key: KeyDigest, refusal: &Refusal) {
        if let Some(reason) = reason(refusal) {
            self.add((key, reason), 1);
        }
    }

    fn add(&self, what: (KeyDigest, DenyReason), more: u64) {
        let mut counts = self.counts();
        if counts.len() < COUNTS_MAX || counts.contains_key(&what) {
            let count = counts.entry(what).or_default();
            *count = count.saturating_add(more);
        }
    }

    /// Whether there is nothing to write down.
    pub fn is_empty(&self) -> bool {
        self.counts().is_empty()
    }

    fn take(&self) -> Vec<((KeyDigest, DenyReason), u64)> {
        std::mem::take(&mut *self.counts()).into_iter().collect()
    }
}

impl Ledger {
    /// Writes down what was refused since the last time. What cannot be written now, or was written less than a minute ago
    /// by any process, is kept for the next time.
    pub async fn note_denials(&self) {
        let Some(command) = CommandId::parse("denials") else {
            return;
        };
        let by = By {
            actor: Actor::System,
            command,
        };
        let denials = self.key_signals().denials();
        let noting = denials.take().into_iter().map(|((digest, reason), count)| {
            let noting = NoteDenied { digest, reason, count };
            let by = by.clone();
            async move { ((digest, reason), count, self.submit(noting, by).await) }
        });
        for (what, count, noted) in join_all(noting).await {
            match noted {
                Ok(answer) if !answer.replayed => {}
                // Nobody knows whether it is written: less is told rather than more.
                Err(SubmitError::Refused { .. } | SubmitError::Broken | SubmitError::OutcomeUnknown) => {}
                Ok(_) | Err(SubmitError::Busy | SubmitError::Unavailable) => denials.add(what, count),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_number_and_many_keys_are_bounded() {
        let denials = Denials::default();
        let key = KeyDigest::of("a");
        for _ in 0..1_000 {
            denials.note(key, &Refusal::KeyDeleted);
        }
        denials.note(key, &Refusal::KeyInvalid);
        assert_eq!(denials.take(), [((key, DenyReason::Deleted), 1_000)]);
        for n in 0..COUNTS_MAX + 10 {
            denials.note(KeyDigest::of(&n.to_string()), &Refusal::KeyExpired);
        }
        denials.note(KeyDigest::of("0"), &Refusal::KeyExpired);
        let counts = denials.take();
        assert_eq!(counts.len(), COUNTS_MAX);
        assert_eq!(counts.iter().map(|(_, count)| *count).max(), Some(2));
    }
}
