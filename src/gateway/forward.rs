//! What forward-auth shares with the gateway: its limits, and a place for what has to outlive a proxy's question.
//!
//! In: requests of proxies. Out: whether one may pass, what its client is told of its limits, and tasks that the end of
//! the process waits for.
//!
//! Promise: a key is limited in one process as one, whether it comes through the gateway or through a proxy.
//!
//! Not here: HTTP of the asking, and the ledger.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use keyledger_events::{KeyPrefix, ReservationId};
use tokio_util::task::TaskTracker;

use super::decide::{Asked, decide};
use super::exchange::pass_told;
use super::limits::{self, Limits, Pass, Quota};
use super::{Gateway, key};
use crate::config::{ForwardAuthConfig, RateLimits};
use crate::ledger::{Held, Ledger, Payer, ReserveCredits, SubmitError};
use crate::prices::{PriceBook, PriceRule};
use crate::problem::{KEY_INVALID, Problem};

/// Forward-auth of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ForwardAuth {
    limits: Arc<Limits>,
    config: Arc<ForwardAuthConfig>,
    tasks: TaskTracker,
}

/// A request that may ask the ledger.
#[derive(Debug)]
pub(crate) struct Admission {
    pub reserve: ReserveCredits,
    pub rule: Arc<PriceRule>,
    pass: Pass,
}

/// The limits that a request falls under, as they stand after it.
#[derive(Debug, Default)]
pub(crate) struct Quotas(Vec<Quota>);

impl ForwardAuth {
    /// For a process without a gateway.
    pub fn new(ledger: &Ledger, rates: RateLimits, config: ForwardAuthConfig) -> ForwardAuth {
        ForwardAuth::limited_by(Arc::new(Limits::new(rates, Arc::clone(ledger.key_signals()))), config)
    }

    fn limited_by(limits: Arc<Limits>, config: ForwardAuthConfig) -> ForwardAuth {
        ForwardAuth {
            limits,
            config: Arc::new(config),
            tasks: TaskTracker::new(),
        }
    }

    /// Whether a proxy at this address may ask at all.
    pub(crate) fn believes(&self, peer: Option<IpAddr>) -> bool {
        let Some(peers) = &self.config.peers else {
            return true;
        };
        peer.is_some_and(|peer| peers.iter().any(|network| network.contains(peer)))
    }

    /// Decides as the gateway does, up to the ledger, for a hold with this id that may wait so long.
    pub(crate) fn admit(
        &self,
        asked: &Asked<'_>,
        prices: &PriceBook,
        key_prefix: &KeyPrefix,
        (reservation, ttl_seconds): (ReservationId, u32),
    ) -> (Quotas, Result<Admission, Problem>) {
        // Where the proxy does not say whose request it is, all of its clients are one.
        let client = asked.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let (reserve, rule) = match decide(asked, prices, key_prefix, (reservation, ttl_seconds)) {
            Ok(decided) => decided,
            Err(problem) if problem.kind == KEY_INVALID => {
                let problem = self.limits.bad_key(client).unwrap_or(problem);
                return (Quotas::default(), Err(problem));
            }
            Err(problem) => return (Quotas::default(), Err(problem)),
        };
        let digest = match reserve.payer {
            Payer::Key(digest) => Ok(digest),
            Payer::Account(_) => key::find(asked.headers, key_prefix),
        };
        let digest = match digest {
            Ok(digest) => digest,
            Err(problem) => return (Quotas::default(), Err(problem)),
        };
        let taken = self.limits.take(digest, &rule, client);
        let admission = taken.pass.map(|pass| Admission { reserve, rule, pass });
        (Quotas(taken.quotas), admission)
    }

    /// Runs what has to end even if the proxy hangs up.
    pub(crate) fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Waits for settlements under way, but not for ever: what is left expires.
    pub async fn drain(&self, patience: Duration) {
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            let left = self.tasks.len();
            tracing::warn!(
                left,
                "holds of proxies were still being settled at the end; they expire"
            );
        }
    }
}

impl Admission {
    /// Looks the price up anew: another book holds. The limits have let it pass already.
    pub(crate) fn priced_by(
        &mut self,
        asked: &Asked<'_>,
        prices: &PriceBook,
        key_prefix: &KeyPrefix,
    ) -> Result<(), Problem> {
        (self.reserve, self.rule) = decide(
            asked,
            prices,
            key_prefix,
            (self.reserve.reservation, self.reserve.ttl_seconds),
        )?;
        Ok(())
    }

    /// What the ledger said of a key bears on its later calls.
    pub(crate) fn told(self, said: Result<&Held, &SubmitError>) {
        pass_told(self.pass, said);
    }
}

impl Quotas {
    /// Writes `RateLimit` and `RateLimit-Policy`, where anything limits the request.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        limits::tell(&self.0, headers);
    }
}

impl Gateway {
    /// Forward-auth beside this gateway: one set of limits for both.
    pub fn forward_auth(&self, config: ForwardAuthConfig) -> ForwardAuth {
        ForwardAuth::limited_by(Arc::clone(&self.shared.limits), config)
    }
}
