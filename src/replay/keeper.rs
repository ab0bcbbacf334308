//! Leaves marks along the histories of busy accounts, beside all other work, so that nobody's first look is a long one.
//!
//! Promise: what a mark says is a fold of the log, whoever leaves it. Several processes may do this at once; they leave the
//! same marks.

use std::time::Duration;

use keyledger_events::AccountId;
use rustc_hash::FxHashMap;
use tokio_util::sync::CancellationToken;

use super::{Marks, ReplayError, replayed};
use crate::log::{Grown, Log, ReadError};

/// Between two looks for accounts that have grown.
const LOOK: Duration = Duration::from_secs(30);
/// Accounts of one look: the others are found by the next.
const ACCOUNTS_AT_ONCE: i64 = 50;
/// Events since the last mark that are worth a look.
const EVENTS_SINCE: i64 = 2_000;

/// Accounts that are passed over at most, so that those which are not do not drown among them.
const PASSED_MAX: usize = 1_000;
/// An account that was passed over is looked at again after so many looks: an hour.
const LOOKS_PASSED: u64 = 120;
/// And where it is its archived events that cannot be had: a minute.
const LOOKS_AWAY: u64 = 2;

/// Leaves marks until it is stopped.
pub async fn keep_marks(log: Log, stop: CancellationToken) {
    let mut keeper = MarkKeeper::default();
    loop {
        if stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
            return;
        }
        match stop.run_until_cancelled(keeper.look(&log)).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(%error, "marks for replays wait"),
        }
    }
}

/// Leaves marks, a look at a time.
#[derive(Debug, Default)]
pub struct MarkKeeper {
    looks: u64,
    /// Accounts that cannot be replayed, or whose state is too large for a mark yet, and the look that looks at them again.
    passed: FxHashMap<AccountId, u64>,
}

impl MarkKeeper {
    /// Leaves marks in the histories that have grown most.
    pub async fn look(&mut self, log: &Log) -> Result<(), ReadError> {
        self.looks += 1;
        let looks = self.looks;
        self.passed.retain(|_, again| looks < *again);
        if self.passed.len() >= PASSED_MAX {
            self.passed.clear();
        }
        let passed: Vec<AccountId> = self.passed.keys().copied().collect();
        let grown = log.grown_since_mark(EVENTS_SINCE, ACCOUNTS_AT_ONCE, &passed).await?;
        if grown.is_empty() {
            return Ok(());
        }
        let mut away = Vec::new();
        for Grown { account, last, .. } in &grown {
            match replayed(log, *account, *last, Marks::Left).await {
                Ok(_) => {}
                Err(ReplayError::Log(error)) if !error.is_of_archive() => return Err(error),
                Err(error) => {
                    tracing::warn!(%account, %error, "an account cannot be replayed, and has no marks");
                    if matches!(error, ReplayError::Log(_)) {
                        away.push(*account);
                    }
                }
            }
        }
        // Who stands where it stood has got no mark, for whatever reason, and would only be in the way of others.
        for now in log.grown_since_mark(EVENTS_SINCE, ACCOUNTS_AT_ONCE, &passed).await? {
            if grown
                .iter()
                .any(|was| (was.account, was.mark) == (now.account, now.mark))
            {
                let is_away = away.contains(&now.account);
                let again = looks + if is_away { LOOKS_AWAY } else { LOOKS_PASSED };
                self.passed.insert(now.account, again);
            }
        }
        Ok(())
    }
}
