//! Relay and projectors beside a load, as in production.

use std::time::{Duration, Instant};

use keyledger_events::Position;
use tokio_util::sync::CancellationToken;

use super::bank::Bank;
use crate::bus::Bus;
use crate::log::{open_pool, service_options};
use crate::projector::{Projector, ProjectorHandle, ProjectorOptions};
use crate::relay::{Relay, RelayHandle, RelayOptions};

/// Those of each shard.
#[derive(Debug)]
pub(super) struct Workers {
    shards: Vec<(RelayHandle, ProjectorHandle)>,
    stop: CancellationToken,
}

const CONNECTIONS: u32 = 8;
/// A load that was too much is caught up with in this time, or not at all.
const CATCH_UP_MAX: Duration = Duration::from_secs(600);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Workers {
    pub(super) async fn start(database_url: &str, nats_url: &str, bank: &Bank) -> anyhow::Result<Workers> {
        let stop = CancellationToken::new();
        let mut shards = Vec::new();
        for (ledger, log) in bank.ledgers().zip(bank.logs()) {
            let pool = open_pool(service_options(database_url)?, CONNECTIONS);
            let log = log.through(pool.clone());
            let bus = Bus::connect(nats_url, "BENCH").await?;
            let relay = RelayOptions {
                log: log.clone(),
                bus: bus.clone(),
                committed: Some(ledger.committed()),
            };
            let projector = ProjectorOptions {
                log,
                pool,
                bus: Some(bus),
            };
            shards.push((
                Relay::start(relay, stop.clone()),
                Projector::start(projector, stop.clone()),
            ));
        }
        Ok(Workers { shards, stop })
    }

    /// Waits until everybody has seen all that was written: how long that took.
    pub(super) async fn catch_up(&self, bank: &Bank) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        for (ledger, (relay, projector)) in bank.ledgers().zip(&self.shards) {
            let head = *ledger.committed().borrow();
            while behind(relay, projector, head) {
                anyhow::ensure!(
                    begin.elapsed() < CATCH_UP_MAX,
                    "the workers did not catch up with {head}"
                );
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        Ok(begin.elapsed())
    }

    pub(super) fn stop(self) {
        self.stop.cancel();
    }
}

fn behind(relay: &RelayHandle, projector: &ProjectorHandle, head: Position) -> bool {
    relay.status().last < head || projector.status().iter().any(|view| view.checkpoint < head)
}
