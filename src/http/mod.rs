//! The HTTP API: types in, one call, types out.
//!
//! In: requests with an access token. Out: JSON with the place in the log at which it is true, or a problem document.
//!
//! Promise: who calls is known before a body is read; every answer that is not good is `application/problem+json`; the
//! text of a new key is in one response; the OpenAPI document comes from the routes themselves.
//!
//! Not here: rules, statuses of refusals, SQL, the bus.

mod accounts;
mod answer;
mod as_of;
mod balance;
mod batch;
mod charges;
mod checkpoints;
mod corrections;
mod cursor;
mod event_stream;
mod events;
mod extract;
mod forward_auth;
mod fresh_texts;
mod grants;
mod heads;
mod health;
mod key_limits;
mod keys;
mod leaks;
mod look;
mod measure;
mod named;
mod openapi;
mod operator_sessions;
mod pages;
mod personal_data;
mod place;
mod plans;
mod portal_sessions;
mod prices;
mod problems;
mod publish;
mod refunds;
mod reservations;
mod rotations;
mod routes;
mod serve;
mod settlements;
mod statement;
mod thresholds;
mod tlog;
mod tokens;
mod usage;
mod webhooks;
mod words;

use std::sync::Arc;

use keyledger_events::KeyPrefix;
use metrics_exporter_prometheus::PrometheusHandle;

pub(crate) use checkpoints::inclusion_json;
pub(crate) use fresh_texts::FreshTexts;
pub use measure::Measure;
pub(crate) use place::Place;

pub use event_stream::Tail;
pub use forward_auth::ForwardAuth;
pub use health::{Check, Health, Readiness};
pub use routes::{openapi, probes, router};
pub use serve::serve;

use crate::audit::tree::Tree;
use crate::config::UpstreamNames;
use crate::ledger::Ledger;
use crate::log::Log;
use crate::requests::Requests;
use crate::sessions::Sessions;
use crate::shelf::Shelf;
use crate::tokens::Tokens;
use crate::views::Views;
use crate::webhooks::Deliveries;

/// What the handlers call. Every request clones it several times, so it is one pointer.
#[derive(Clone)]
pub struct App(Arc<Served>);

impl From<Served> for App {
    fn from(served: Served) -> App {
        App(Arc::new(served))
    }
}

impl std::ops::Deref for App {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.0
    }
}

/// The rooms that are served over HTTP.
pub struct Served {
    pub ledger: Ledger,
    pub log: Log,
    /// What was sealed of the log.
    pub tree: Tree,
    pub views: Views,
    pub prices: Shelf,
    pub tokens: Tokens,
    pub sessions: Sessions,
    pub deliveries: Deliveries,
    /// For those who follow the log.
    pub tail: Tail,
    /// What came under idempotency keys and is no command.
    pub requests: Requests,
    /// Where browsers find the customer's pages, without `/portal`; where a caller finds us, unless said.
    pub pages_url: Option<String>,
    pub key_prefix: KeyPrefix,
    /// The upstreams that published prices may name; not known in a process without a gateway.
    pub upstreams: Option<UpstreamNames>,
    pub health: Arc<dyn Health>,
    pub metrics: PrometheusHandle,
    pub forward_auth: ForwardAuth,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").finish_non_exhaustive()
    }
}
