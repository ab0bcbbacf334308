//! One request's way: admit, hold, forward, answer. The body of the answer settles on its way out.
//!
//! In: a request. Out: the upstream's answer with what it costs, or a problem of ours.
//!
//! Promise: nothing is forwarded before credits are held; no ledger, no pass-through. Whatever happens to this future,
//! the hold that it made is settled.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, request};
use http_body::Body as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use keyledger_events::{KeyPrefix, ReleaseCause};

use super::admit::{Admitted, admit, too_large};
use super::count::Count;
use super::delivery::{Delivery, DeliveryFault, Payment, credits};
use super::headers;
use super::hold::{Hold, Settlement, Settler};
use super::line::Line;
use super::upload::{Upload, UploadFault};
use super::{caller, headers::REQUEST_ID};
use crate::clock;
use crate::config::GatewayConfig;
use crate::ledger::{Payer, Price, Refusal, ReserveCredits, SubmitError};
use crate::prices::{PriceBook, PriceRule};
use crate::problem::{BAD_REQUEST, Problem, REQUEST_TIMEOUT, UPSTREAM_TIMEOUT, UPSTREAM_UNREACHABLE};

pub(super) type Body = UnsyncBoxBody<Bytes, DeliveryFault>;

/// From the end of the body to the end of the hold: the time to settle in.
const SETTLE_SECONDS: u64 = 30;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub prices: Arc<PriceBook>,
    pub config: GatewayConfig,
    pub key_prefix: KeyPrefix,
    /// The upstream's name, as it stands in `Host`.
    pub host: HeaderValue,
    pub client: Client<HttpConnector, Upload>,
    pub settler: Arc<Settler>,
}

/// A request while it is under way, and whom to tell about its connection.
struct Exchange<'a> {
    shared: &'a Shared,
    client: IpAddr,
    line: Line,
    request_id: String,
}

/// Answers a request. Never fails: what goes wrong is a problem document.
pub(super) async fn exchange(
    shared: Arc<Shared>,
    client: IpAddr,
    line: Line,
    request: Request<Incoming>,
) -> Response<Body> {
    let began = tokio::time::Instant::now();
    let exchange = Exchange {
        shared: &shared,
        client,
        line,
        request_id: caller::request_id(request.headers()),
    };
    let mut answer = exchange.answer(request).await.unwrap_or_else(|problem| {
        let answer: Response<Full<Bytes>> = problem.into_http::<Bytes>().map(Full::new);
        answer.map(|body| body.map_err(|never| match never {}).boxed_unsync())
    });
    headers::set(answer.headers_mut(), REQUEST_ID, &exchange.request_id);
    metrics::histogram!("keyledger_gateway_head_seconds").record(began.elapsed());
    answer
}

impl Exchange<'_> {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let (head, body) = request.into_parts();
        let shared = self.shared;
        let admitted = admit(&head, &shared.prices, &shared.config, &shared.key_prefix).map_err(refused)?;
        let rule = admitted.rule;
        let reserve = self.reserve(&admitted, &head);
        let cut = !shared.config.let_deleted_keys_finish;
        let hold = shared
            .settler
            .hold(reserve, cut)
            .await
            .map_err(|error| refused(self.told(error)))?;
        let takes_trailers = headers::takes_trailers(&head.headers) && head.version == http::Version::HTTP_11;
        let method = head.method.clone();
        let (answer, hold) = self.forward(head, body, rule, hold).await?;
        Ok(self.deliver(answer, &method, rule, hold, takes_trailers))
    }

    fn reserve(&self, admitted: &Admitted<'_>, head: &request::Parts) -> ReserveCredits {
        let rule = admitted.rule;
        let config = &self.shared.config;
        let longest = (config.upstream_timeout + config.body_timeout).as_secs() + SETTLE_SECONDS;
        ReserveCredits {
            payer: Payer::Key(admitted.key),
            reservation: clock::fresh_reservation_id(),
            endpoint: rule.endpoint.clone(),
            quantity: rule.quantity_max,
            price: Price {
                unit: rule.price,
                version: rule.version,
            },
            ttl_seconds: u32::try_from(longest).unwrap_or(u32::MAX),
            usage: caller::usage(&head.headers, self.client, &self.request_id),
        }
    }

    fn told(&self, error: SubmitError) -> Problem {
        match &error {
            SubmitError::Refused { refusal, .. } => tracing::debug!(request = %self.request_id, %refusal, "refused"),
            SubmitError::Busy | SubmitError::Unavailable | SubmitError::OutcomeUnknown | SubmitError::Broken => {
                tracing::warn!(request = %self.request_id, %error, "nothing is forwarded without the ledger");
            }
        }
        error.into()
    }

    /// Sends the request on and waits for the head of the answer. A hold that comes to nothing is released here.
    async fn forward(
        &self,
        head: request::Parts,
        body: Incoming,
        rule: &PriceRule,
        hold: Hold,
    ) -> Result<(Response<Incoming>, Hold), Problem> {
        let config = &self.shared.config;
        let (upload, fault) = Upload::new(body, config.request_body_bytes_max, config.idle_body_timeout);
        let host = &self.shared.host;
        let headers = headers::for_upstream(&head.headers, rule, &hold, host, self.client, &self.request_id);
        let uri = Uri::builder()
            .scheme("http")
            .authority(config.upstream.clone())
            .path_and_query(head.uri.path_and_query().map_or("/", |path| path.as_str()))
            .build();
        let mut request = Request::new(upload);
        *request.method_mut() = head.method;
        *request.headers_mut() = headers;
        *request.uri_mut() = uri.map_err(|_| Problem::new(BAD_REQUEST, "the path cannot be forwarded"))?;
        let answered = tokio::select! {
            biased;
            () = hold.key_deleted() => Err(Problem::from(Refusal::KeyDeleted)),
            answered = self.ask(request) => answered,
        };
        match answered {
            Ok(answer) => Ok((answer, hold)),
            Err(problem) => {
                let cause = match fault.get() {
                    Some(UploadFault::Broken) => ReleaseCause::ClientGone,
                    Some(UploadFault::TooLarge | UploadFault::Stalled) | None => ReleaseCause::Error,
                };
                hold.settle(Settlement::Release(cause));
                Err(fault.get().map_or(problem, |fault| not_uploaded(*fault, config)))
            }
        }
    }

    /// The upstream's answer, if it comes in time and can be passed on.
    async fn ask(&self, request: Request<Upload>) -> Result<Response<Incoming>, Problem> {
        let patience = self.shared.config.upstream_timeout;
        let answer = match tokio::time::timeout(patience, self.shared.client.request(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(request = %self.request_id, error, "the upstream did not answer");
                return Err(Problem::new(UPSTREAM_UNREACHABLE, "the data API did not answer"));
            }
            Err(_) => {
                tracing::warn!(request = %self.request_id, "the upstream did not answer in time");
                return Err(Problem::new(UPSTREAM_TIMEOUT, "the data API did not answer in time"));
            }
        };
        match odd(&answer) {
            None => Ok(answer),
            Some(why) => {
                tracing::warn!(request = %self.request_id, why, "the upstream's answer cannot be passed on");
                Err(Problem::new(
                    UPSTREAM_UNREACHABLE,
                    "the data API's answer was not well-formed",
                ))
            }
        }
    }

    /// Passes the answer on. What is to be charged is charged when the body has left; anything else goes back now.
    fn deliver(
        &self,
        answer: Response<Incoming>,
        method: &Method,
        rule: &PriceRule,
        hold: Hold,
        takes_trailers: bool,
    ) -> Response<Body> {
        let (head, body) = answer.into_parts();
        let mut told = headers::for_client(&head.headers);
        let payment = match verdict(method, head.status, || ends_visibly(&head.headers, &body)) {
            Settlement::Release(cause) => {
                told.extend(credits(&hold, 0));
                hold.settle(Settlement::Release(cause));
                None
            }
            Settlement::Charge { .. } => {
                let count = Count::begin(rule, &head.headers);
                let trailers = count.known().is_none() && takes_trailers;
                if let Some(quantity) = count.known() {
                    told.extend(credits(&hold, quantity));
                }
                if trailers {
                    told.remove(CONTENT_LENGTH);
                    headers::announce_trailers(&mut told);
                }
                self.line
                    .end_when(end_of_delivery(&hold, self.shared.config.body_timeout));
                let line = self.line.clone();
                Some(Payment {
                    hold,
                    count,
                    trailers,
                    line,
                })
            }
        };
        let delivery = Delivery::new(body, payment, self.shared.config.idle_body_timeout);
        let mut answer = Response::new(delivery.boxed_unsync());
        *answer.status_mut() = head.status;
        *answer.headers_mut() = told;
        answer
    }
}

/// What the client is told when its own body was what failed.
fn not_uploaded(fault: UploadFault, config: &GatewayConfig) -> Problem {
    match fault {
        UploadFault::TooLarge => too_large(config),
        UploadFault::Stalled => Problem::new(REQUEST_TIMEOUT, "the body stood still"),
        UploadFault::Broken => Problem::new(BAD_REQUEST, "the body broke off"),
    }
}

/// Counts a request that came to nothing before anything was held for it.
fn refused(problem: Problem) -> Problem {
    metrics::counter!("keyledger_gateway_requests_total", "outcome" => problem.code()).increment(1);
    problem
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

/// What an answer is worth, by its head alone. The quantity is counted later.
pub(super) fn verdict(method: &Method, status: StatusCode, ends_visibly: impl FnOnce() -> bool) -> Settlement {
    match status {
        StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION | StatusCode::PARTIAL_CONTENT => {
            // A HEAD has retrieved no data. A body that only ends with its connection may have been cut short.
            if method == Method::HEAD || !ends_visibly() {
                Settlement::Release(ReleaseCause::Error)
            } else {
                Settlement::Charge { quantity: 0 }
            }
        }
        StatusCode::ACCEPTED => Settlement::Release(ReleaseCause::Queued),
        _ => Settlement::Release(ReleaseCause::Error),
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
fn odd(answer: &Response<Incoming>) -> Option<&'static str> {
    let headers = answer.headers();
    let codings = headers.get_all(TRANSFER_ENCODING).iter();
    if answer.status().is_informational() || answer.status().as_u16() >= 600 {
        Some("its status is not final")
    } else if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        Some("it has a length and chunks")
    } else if codings
        .into_iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        Some("it has a transfer coding that is not ours to undo")
    } else {
        None
    }
}
