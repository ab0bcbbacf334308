//! The data APIs behind the gateway: each with its own connections, a bound on requests at once, and a memory of
//! whether it could be reached.
//!
//! In: a request that is ready to be sent. Out: the head of its answer, or why there is none.
//!
//! Promise: a request is sent a second time only if it is GET, HEAD or OPTIONS without a body, and no connection came
//! about for the first, or only one that had served before and was closed without a byte of an answer: the upstream had
//! given it up (RFC 9112 section 9.3.1). A pooled connection that turns out closed before anything was written to it is
//! merely replaced, for any request; the HTTP client hands it back untouched. An upstream that could not be reached
//! several times in a row is left alone for a moment, and who asks for it then is told so at once.
//!
//! Not here: what an answer is worth, and how long one waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Extensions, HeaderValue, Method, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::upload::Upload;
use crate::config::{USUAL, UpstreamConfig};
use crate::connector::{Connector, Turns};
use crate::problem::{Problem, UPSTREAM_BUSY, UPSTREAM_UNREACHABLE};

const IDLE_MAX: Duration = Duration::from_secs(20);
const HEADERS_MAX: usize = 128;
/// What is read of an answer before its client has taken it, and the most that its head may have.
const BUFFER_BYTES_MAX: usize = 32 << 10;
/// Long enough for a listener that restarts to be back now and then, too short for a person to notice.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// So many requests in a row found nobody: the next ones need not look.
const FAILURES_MAX: u32 = 5;
const REST: Duration = Duration::from_secs(1);
const RETRY_AFTER_SECONDS: u32 = 1;

/// All upstreams, by name.
#[derive(Debug)]
pub(super) struct Upstreams(Vec<Arc<Upstream>>);

/// One of them.
#[derive(Debug)]
pub(super) struct Upstream {
    pub config: UpstreamConfig,
    /// Its name, as it stands in `Host`.
    pub host: HeaderValue,
    client: Client<Connector, Upload>,
    room: Arc<Semaphore>,
    health: Mutex<Health>,
}

#[derive(Debug, Default)]
struct Health {
    failures: u32,
    rests_until: Option<Instant>,
}

/// A request's place among those that an upstream takes at once; kept until its answer's body has ended.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    under_way: metrics::Gauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.under_way.decrement(1);
    }
}

impl Upstreams {
    pub(super) fn new(configs: Vec<UpstreamConfig>) -> Upstreams {
        Upstreams(
            configs
                .into_iter()
                .map(|config| Arc::new(Upstream::new(config)))
                .collect(),
        )
    }

    /// The upstream of this name, or the usual one.
    pub(super) fn named(&self, name: Option<&str>) -> Result<&Arc<Upstream>, Problem> {
        let name = name.unwrap_or(USUAL);
        let found = self.0.iter().find(|upstream| upstream.config.name == name);
        // The config file is checked for this; a price book that is published later may name anything.
        found.ok_or_else(|| {
            tracing::warn!(upstream = name, "a price names an upstream that is not configured");
            Problem::new(UPSTREAM_UNREACHABLE, "no data API is set up for this path")
        })
    }
}

impl Upstream {
    fn new(config: UpstreamConfig) -> Upstream {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(config.connections_max)
            .http1_max_headers(HEADERS_MAX)
            .http1_max_buf_size(BUFFER_BYTES_MAX)
            .build(Connector::new(config.tls.as_ref(), config.upstream_timeout));
        // An authority has only characters that a header may have.
        let host = HeaderValue::from_str(config.authority.as_str());
        let upstream = Upstream {
            host: host.unwrap_or_else(|_| HeaderValue::from_static("upstream")),
            client,
            room: Arc::new(Semaphore::new(config.connections_max)),
            health: Mutex::default(),
            config,
        };
        upstream.show_reachable(true);
        upstream
    }

    /// Whether a request has a chance now. Takes no place, so that requests without a right key cannot fill them.
    pub(super) fn may_be_asked(&self) -> Result<(), Problem> {
        if self.rests(false) {
            return Err(unreachable_lately());
        }
        if self.room.available_permits() == 0 {
            return Err(self.busy());
        }
        Ok(())
    }

    /// Takes a place. After a rest, whoever comes first finds out for all.
    pub(super) fn enter(&self) -> Result<Place, Problem> {
        if self.rests(true) {
            return Err(unreachable_lately());
        }
        let permit = Arc::clone(&self.room).try_acquire_owned().map_err(|_| self.busy())?;
        let under_way = metrics::gauge!("keyledger_gateway_upstream_requests", "upstream" => self.config.name.clone());
        under_way.increment(1);
        Ok(Place {
            _permit: permit,
            under_way,
        })
    }

    /// Sends a request and waits for the head of the answer. `again` makes the same one once more, without a body.
    pub(super) async fn send(
        &self,
        request: Request<Upload>,
        again: impl FnOnce() -> Request<Upload>,
    ) -> Result<Response<Incoming>, Error> {
        let harmless = twice_is_harmless(&request);
        let mut answered = self.client.request(request).await;
        if let Err(error) = &answered
            && harmless
            && (error.is_connect() || was_given_up(error))
        {
            metrics::counter!("keyledger_gateway_upstream_retries_total", "upstream" => self.config.name.clone())
                .increment(1);
            tokio::time::sleep(RETRY_PAUSE).await;
            answered = self.client.request(again()).await;
        }
        match &answered {
            Err(error) if error.is_connect() => self.not_reached(),
            Ok(_) | Err(_) => self.reached(),
        }
        answered
    }

    fn busy(&self) -> Problem {
        metrics::counter!("keyledger_gateway_upstream_busy_total", "upstream" => self.config.name.clone()).increment(1);
        Problem::new(UPSTREAM_BUSY, "the data API takes no more requests at once")
            .retry_after_seconds(RETRY_AFTER_SECONDS)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rests(&self, to_ask: bool) -> bool {
        let mut health = self.health();
        let now = Instant::now();
        match health.rests_until {
            None => false,
            Some(until) if now < until => true,
            Some(_) => {
                if to_ask {
                    health.rests_until = Some(now + REST);
                }
                false
            }
        }
    }

    fn reached(&self) {
        let mut health = self.health();
        let rested = health.rests_until.is_some();
        *health = Health::default();
        drop(health);
        if rested {
            tracing::info!(upstream = %self.config.name, "an upstream can be reached again");
            self.show_reachable(true);
        }
    }

    fn not_reached(&self) {
        metrics::counter!("keyledger_gateway_upstream_connect_failures_total", "upstream" => self.config.name.clone())
            .increment(1);
        let mut health = self.health();
        health.failures = health.failures.saturating_add(1);
        if health.failures < FAILURES_MAX {
            return;
        }
        let first = health.rests_until.replace(Instant::now() + REST).is_none();
        drop(health);
        if first {
            tracing::warn!(upstream = %self.config.name, "an upstream cannot be reached; it is asked once a second");
            self.show_reachable(false);
        }
    }

    fn show_reachable(&self, reachable: bool) {
        metrics::gauge!("keyledger_gateway_upstream_reachable", "upstream" => self.config.name.clone())
            .set(u8::from(reachable));
    }
}

/// Whether a kept connection was closed by the upstream as the request went out.
fn was_given_up(error: &Error) -> bool {
    let mut extras = Extensions::new();
    if let Some(connection) = error.connect_info() {
        connection.get_extras(&mut extras);
    }
    extras.get::<Turns>().is_some_and(Turns::left_unanswered)
}

fn unreachable_lately() -> Problem {
    Problem::new(UPSTREAM_UNREACHABLE, "the data API could not be reached lately")
        .retry_after_seconds(RETRY_AFTER_SECONDS)
}

/// Whether sending a request twice could do no harm.
fn twice_is_harmless(request: &Request<Upload>) -> bool {
    let asks_only = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    asks_only && request.body().is_end_stream()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_could_do_no_harm_is_sent_again() {
        for (method, harmless) in [(Method::GET, true), (Method::OPTIONS, true), (Method::POST, false)] {
            let mut request = Request::new(Upload::nothing());
            *request.method_mut() = method;
            assert_eq!(twice_is_harmless(&request), harmless);
        }
    }
}
