//! Webhooks: tells the platform of thresholds reached and of keys that leaked, are refused or lie idle.
//!
//! In: the view of notices, the key list, and `[[webhooks]]` of the config file. Out: signed HTTP requests as Standard
//! Webhooks has them, and a log of every delivery and attempt.
//!
//! Promise: what is new for a receiver is delivered at least once, with the same `webhook-id` each time; of one account, in
//! the order of the log. A receiver that is away is tried less and less often and loses nothing within three days; what was
//! given up can be sent again. However many processes have the same config, one of them sends.
//!
//! Not here: what is worth telling. The rules and the fold of the notices say that.
//!
//! | file | what |
//! | --- | --- |
//! | `courier` | one receiver's work: queue, send, write down |
//! | `patience` | what an answer means, and when to come again |
//! | `post`, `secret`, `message` | the request, its signature, its body |
//! | `store`, `rows`, `look` | SQL: for the courier, and for people |

mod courier;
mod kind;
mod look;
mod message;
mod patience;
mod post;
mod rows;
mod secret;
mod store;

use std::sync::Arc;

use keyledger_events::{Shard, Timestamp};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use kind::Kind;
pub use look::{AttemptMade, Deliveries, DeliveriesAway, Delivery, DeliverySearch, DeliveryState, Receiver};
pub use secret::{MalformedSecret, Secrets};

use crate::config::WebhookConfig;
use courier::Courier;
use store::Store;

/// What tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the couriers need.
pub struct WebhooksOptions {
    /// A pool of the service's role.
    pub pool: PgPool,
    pub shard: Shard,
    pub receivers: Vec<WebhookConfig>,
    pub clock: Clock,
}

impl std::fmt::Debug for WebhooksOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhooksOptions")
            .field("receivers", &self.receivers)
            .finish_non_exhaustive()
    }
}

/// The wall clock.
pub fn wall_clock() -> Clock {
    Arc::new(crate::clock::now)
}

/// Starts a courier for each receiver, until told to stop. Each ends when its attempt under way is written down.
pub fn start(options: WebhooksOptions, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
    let WebhooksOptions {
        pool,
        shard,
        receivers,
        clock,
    } = options;
    let store = Store::new(pool, shard);
    let process = Uuid::from_u128(crate::clock::random_id_bits());
    let couriers = receivers
        .into_iter()
        .map(|receiver| Courier::new(receiver, store.clone(), Arc::clone(&clock), process));
    couriers
        .map(|courier| tokio::spawn(courier.run(stop.clone())))
        .collect()
}
