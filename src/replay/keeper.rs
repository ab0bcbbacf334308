//! Leaves marks along the histories of busy accounts, beside all other work, so that nobody's first look is a long one.
//!
//! Promise: what a mark says is a fold of the log, whoever leaves it. Several processes may do this at once; they leave the
//! same marks.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Marks, ReplayError, replayed};
use crate::log::Log;

/// Between two looks for accounts that have grown.
const LOOK: Duration = Duration::from_secs(30);
/// Accounts of one look: the others are found by the next.
const ACCOUNTS_AT_ONCE: i64 = 50;
/// Events since the last mark that are worth a look.
const EVENTS_SINCE: i64 = 2_000;

/// Leaves marks until it is stopped.
pub async fn keep_marks(log: Log, stop: CancellationToken) {
    loop {
        if stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
            return;
        }
        match stop.run_until_cancelled(look(&log)).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(%error, "marks for replays wait"),
        }
    }
}

async fn look(log: &Log) -> Result<(), ReplayError> {
    for (account, last) in log.grown_since_mark(EVENTS_SINCE, ACCOUNTS_AT_ONCE).await? {
        replayed(log, account, last, Marks::Left).await?;
    }
    Ok(())
}
