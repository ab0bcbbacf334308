//! Writes down once a minute which keys' uses this process has refused.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;

const EVERY: Duration = Duration::from_secs(60);

/// Writes until told to stop. Whoever stops the process writes once more.
pub(super) fn start(ledger: Ledger, stop: CancellationToken) {
    tokio::spawn(async move {
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            ledger.note_denials().await;
        }
    });
}
