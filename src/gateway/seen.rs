//! One request as those who watch see it: a span, figures, and a line in the access log.
//!
//! In: what becomes known of a request, as it becomes known. Out: when everybody has let go of it (the answer's body has
//! ended and its hold is decided), one count and one line.
//!
//! Promise: no key's text, no query string, no header of the client but a fit request id. Labels are endpoint names of
//! the price book and outcomes of ours, so no client can invent one.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Buf as _;
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use keyledger_events::{Credits, Endpoint, KeyPrefix};
use tokio::time::Instant;
use tracing::field::{Empty, display};

use super::delivery::DeliveryFault;
use super::exchange::Body;
use super::key;
use super::line::UnderWay;
use super::parcel::Parcel;
use super::trace::Trace;
use crate::ledger::Held;
use crate::prices::METHODS;

/// The status that stands for an answer that nobody waited for.
const CLIENT_GONE: u16 = 499;

/// A request, from its head to the end of its answer.
#[derive(Debug)]
pub(super) struct Seen {
    began: Instant,
    method: &'static str,
    path: String,
    request_id: String,
    trace: Trace,
    span: tracing::Span,
    bytes: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    status: Option<StatusCode>,
    endpoint: Option<Endpoint>,
    held: Option<Held>,
    /// How the hold ended, and for how much.
    settled: Option<(&'static str, Credits)>,
    problem: Option<&'static str>,
}

impl Seen {
    pub(super) fn begin(request_id: &str, trace: Trace, method: &Method, path: &str, prefix: &KeyPrefix) -> Arc<Seen> {
        metrics::gauge!("keyledger_gateway_in_flight").increment(1.0);
        let span = tracing::info_span!(
            "gateway.request",
            request = request_id,
            trace = trace.id(),
            endpoint = Empty,
            key = Empty,
            reservation = Empty
        );
        let method = METHODS.iter().find(|known| **known == method.as_str());
        Arc::new(Seen {
            began: Instant::now(),
            method: method.copied().unwrap_or("other"),
            path: key::masked(prefix, path),
            request_id: request_id.to_owned(),
            trace,
            span,
            bytes: AtomicU64::new(0),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change under the lock is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn span(&self) -> tracing::Span {
        self.span.clone()
    }

    pub(super) fn trace(&self) -> &Trace {
        &self.trace
    }

    pub(super) fn priced(&self, endpoint: &Endpoint) {
        self.span.record("endpoint", display(endpoint));
        self.state().endpoint = Some(endpoint.clone());
    }

    pub(super) fn held(&self, held: &Held) {
        if let Some(key) = held.key {
            self.span.record("key", display(key));
        }
        self.span.record("reservation", display(held.reservation));
        self.state().held = Some(held.clone());
    }

    pub(super) fn refused(&self, code: &'static str) {
        self.state().problem = Some(code);
    }

    pub(super) fn settled(&self, outcome: &'static str, charged: Credits) {
        self.state().settled = Some((outcome, charged));
    }

    /// The head is on its way. Whatever is passed of the body is counted.
    pub(super) fn answers(self: Arc<Self>, status: StatusCode, body: Body, under_way: UnderWay) -> SeenBody {
        let mut state = self.state();
        state.status = Some(status);
        let endpoint = label(state.endpoint.as_ref());
        drop(state);
        metrics::histogram!("keyledger_gateway_head_seconds", "endpoint" => endpoint).record(self.began.elapsed());
        SeenBody {
            inner: body,
            seen: self,
            _under_way: under_way,
        }
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        let state = std::mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
        // What became of the credits says most. A request that held none was refused, or its client did not wait.
        let outcome = match (state.settled, state.problem) {
            (Some((outcome, _)), _) => outcome,
            (None, Some(code)) => code,
            (None, None) => "client-gone",
        };
        metrics::gauge!("keyledger_gateway_in_flight").decrement(1.0);
        metrics::counter!(
            "keyledger_gateway_requests_total", "endpoint" => label(state.endpoint.as_ref()), "outcome" => outcome
        )
        .increment(1);
        let held = state.held.as_ref();
        tracing::info!(
            target: "access",
            request = self.request_id,
            trace = self.trace.id(),
            method = self.method,
            path = self.path,
            status = state.status.map_or(CLIENT_GONE, |status| status.as_u16()),
            endpoint = state.endpoint.as_ref().map(display),
            account = held.map(|held| display(held.account)),
            key = held.and_then(|held| held.key).map(display),
            reservation = held.map(|held| display(held.reservation)),
            outcome,
            problem = state.problem,
            charged = state.settled.map(|(_, charged)| display(charged)),
            bytes = self.bytes.load(Ordering::Relaxed),
            duration_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        );
    }
}

fn label(endpoint: Option<&Endpoint>) -> String {
    endpoint.map_or_else(|| "none".to_owned(), Endpoint::to_string)
}

/// A body whose bytes are counted on their way to the client.
#[derive(Debug)]
pub(super) struct SeenBody {
    inner: Body,
    seen: Arc<Seen>,
    _under_way: UnderWay,
}

impl http_body::Body for SeenBody {
    type Data = Parcel;
    type Error = DeliveryFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Parcel>, DeliveryFault>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let bytes = u64::try_from(data.remaining()).unwrap_or(u64::MAX);
            self.seen.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
