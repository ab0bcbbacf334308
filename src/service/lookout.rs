//! How the installation stands, as far as one process can see: what the log, the views and the bus say of themselves, and
//! what the relay of this process says of why it stopped.

use std::pin::Pin;

use crate::bus::Bus;
use crate::log::Log;
use crate::pages::{Lookout, LookoutError, ProjectionStanding, RelayStanding, ShardStanding};
use crate::relay::RelayHandle;
use crate::views::Views;

/// What there is to look at in this process.
#[derive(Debug)]
pub struct Watchtower {
    pub log: Log,
    pub views: Views,
    pub bus: Option<Bus>,
    pub relay: Option<RelayHandle>,
}

impl Watchtower {
    async fn see(&self) -> Result<Vec<ShardStanding>, LookoutError> {
        let shard = self.log.shard();
        let on_bus = async {
            match &self.bus {
                Some(bus) => bus.last_position(shard).await,
                None => None,
            }
        };
        let (head, standings, position) = tokio::join!(self.log.head(), self.views.standings(), on_bus);
        let projections = standings?
            .into_iter()
            .filter(|standing| standing.shard == shard)
            .map(|standing| ProjectionStanding {
                halted: standing.halted,
                name: standing.projection,
                checkpoint: standing.checkpoint,
                recorded_at: standing.recorded_at,
            });
        let relay = RelayStanding {
            position,
            fault: self.relay.as_ref().and_then(|relay| relay.status().wrong()),
        };
        Ok(vec![ShardStanding {
            shard,
            head: head?,
            relay,
            projections: projections.collect(),
        }])
    }
}

impl Lookout for Watchtower {
    fn look(&self) -> Pin<Box<dyn Future<Output = Result<Vec<ShardStanding>, LookoutError>> + Send + '_>> {
        Box::pin(self.see())
    }
}
