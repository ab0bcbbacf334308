//! Tells in this process's figures which projections have halted, whichever process folds them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::views::Views;

const EVERY: Duration = Duration::from_secs(5);

/// Looks until told to stop. While the database is away, the figures stay as they were.
pub(super) fn start(views: Views, stop: CancellationToken) {
    tokio::spawn(async move {
        loop {
            if stop.run_until_cancelled(look(&views)).await.is_none()
                || stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none()
            {
                return;
            }
        }
    });
}

async fn look(views: &Views) {
    let standings = match views.standings().await {
        Ok(standings) => standings,
        Err(error) => {
            tracing::debug!(%error, "the views cannot be asked what has halted");
            return;
        }
    };
    for standing in standings {
        let halted = if standing.halted.is_some() { 1 } else { 0 };
        let shard = standing.shard.0.to_string();
        metrics::gauge!("keyledger_projection_halted", "view" => standing.projection, "shard" => shard).set(halted);
    }
}
