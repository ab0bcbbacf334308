//! The upstream's answer on its way back: what it is worth by its head, and what the client is told.
//!
//! In: an answer whose body has not come yet, and the hold that was made for it. Out: an answer for the client, whose
//! body settles on its way out; or settles at once what is worth nothing.
//!
//! Promise: an answer ends by `body_timeout_seconds`, and when its key is deleted, paid or not, so that no client keeps an
//! upstream's place for ever, and none with a deleted key is given anything.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use keyledger_events::ReleaseCause;

use super::admit::has_other_coding;
use super::count::Count;
use super::delivery::{Delivery, Payment, tell_credits};
use super::exchange::Body;
use super::headers;
use super::hold::{Hold, Settlement};
use super::line::Line;
use super::stream::Stream;
use super::upstream::Place;
use crate::config::UpstreamConfig;
use crate::ledger::Working;
use crate::prices::PriceRule;

/// What there is to know of a request when its answer comes.
#[derive(Debug)]
pub(super) struct Way<'a> {
    pub method: &'a Method,
    pub rule: &'a PriceRule,
    pub upstream: &'a UpstreamConfig,
    pub takes_trailers: bool,
    pub line: &'a Line,
}

impl Way<'_> {
    /// Passes the answer on. What is to be charged is charged when the body has left; anything else goes back now.
    pub(super) fn pass(&self, answer: Response<Incoming>, mut hold: Hold, place: Place) -> Response<Body> {
        let (head, body) = answer.into_parts();
        let mut told = headers::for_client(&head.headers);
        let worth = if hold.held().paid && worth_data(head.status) {
            // A result that was paid before is given.
            Settlement::Release(ReleaseCause::Requested)
        } else {
            verdict(self.method, head.status, || ends_visibly(&head.headers, &body))
        };
        let payment = match worth {
            Settlement::Release(cause) => {
                tell_credits(&mut told, &hold, 0);
                // What costs nothing is data all the same, and goes to a deleted key as little.
                let (working, body_timeout) = (hold.lets_go_of_work(), self.upstream.body_timeout);
                hold.settle(Settlement::Release(cause));
                self.ends(async move {
                    let _ = tokio::time::timeout(body_timeout, key_deleted(working.as_ref())).await;
                });
                None
            }
            Settlement::Charge { .. } => Some(self.sell(hold, &head.headers, &body, &mut told)),
        };
        if self.takes_trailers {
            let ours = payment.as_ref().is_some_and(|payment| payment.trailers);
            headers::announce_trailers(&mut told, &head.headers, ours);
        }
        let idle_max = self.upstream.idle_body_timeout;
        let delivery = Delivery::new(body, payment, idle_max, place).with_trailers(self.takes_trailers);
        let mut answer = Response::new(delivery.boxed_unsync());
        *answer.status_mut() = head.status;
        *answer.headers_mut() = told;
        answer
    }

    /// Begins a delivery that will be charged.
    fn sell(&self, mut hold: Hold, sent: &HeaderMap, body: &Incoming, told: &mut HeaderMap) -> Payment {
        let count = Count::begin(self.rule, sent);
        hold.delivers(body.size_hint().exact(), count.known().map(|counted| counted.quantity));
        let trailers = count.known().is_none() && self.takes_trailers;
        if let Some(counted) = count.known() {
            tell_credits(told, &hold, counted);
        }
        if trailers {
            told.remove(CONTENT_LENGTH);
        }
        self.ends(end_of_delivery(&hold, self.upstream.body_timeout));
        Payment {
            hold,
            count,
            trailers,
            line: self.line.clone(),
        }
    }

    /// Says when the answer has to be over.
    fn ends(&self, end: impl Future<Output = ()> + Send + 'static) {
        match Stream::current() {
            Some(stream) => stream.end_when(end),
            None => self.line.end_when(end),
        }
    }
}

/// The moment at which a delivery must be over: its key is deleted, or its hold would soon expire, after which reading
/// on would be free.
fn end_of_delivery(hold: &Hold, body_timeout: Duration) -> impl Future<Output = ()> + Send + 'static {
    let deleted = hold.key_deleted();
    async move {
        // Either way the connection ends; the hold says which it was.
        let _ = tokio::time::timeout(body_timeout, deleted).await;
    }
}

fn worth_data(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION | StatusCode::PARTIAL_CONTENT
    )
}

/// What an answer is worth, by its head alone. The quantity is counted later.
pub(super) fn verdict(method: &Method, status: StatusCode, ends_visibly: impl FnOnce() -> bool) -> Settlement {
    if status == StatusCode::ACCEPTED {
        return Settlement::Release(ReleaseCause::Queued);
    }
    // A HEAD has retrieved no data. A body that only ends with its connection may have been cut short.
    if !worth_data(status) || method == Method::HEAD || !ends_visibly() {
        return Settlement::Release(ReleaseCause::Error);
    }
    Settlement::Charge { quantity: 0, more: 0 }
}

async fn key_deleted(working: Option<&Working>) {
    match working {
        Some(working) => working.key_deleted().await,
        None => std::future::pending().await,
    }
}

/// Whether the end of a body can be told from a broken connection: it has a length, or it is sent in chunks.
fn ends_visibly(headers: &HeaderMap, body: &Incoming) -> bool {
    let visible = body.size_hint().exact().is_some() || headers.contains_key(TRANSFER_ENCODING);
    if !visible {
        tracing::warn!("the upstream's answer has neither a length nor chunks; it is passed on and not charged");
    }
    visible
}

/// Why an answer is not one that can be passed on.
pub(super) fn odd(answer: &Response<Incoming>) -> Option<&'static str> {
    let headers = answer.headers();
    if answer.status().is_informational() || answer.status().as_u16() >= 600 {
        Some("its status is not final")
    } else if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        Some("it has a length and chunks")
    } else if has_other_coding(headers) {
        Some("it has a transfer coding that is not ours to undo")
    } else {
        None
    }
}
