//! One request's way: admit, hold, forward, answer. The body of the answer settles on its way out.
//!
//! In: a request. Out: the upstream's answer with what it costs, or a problem of ours.
//!
//! Promise: nothing is forwarded before credits are held; no ledger, no pass-through. Whatever happens to this future,
//! the hold that it made is settled.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version, request};
use http_body::Body as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use keyledger_events::{KeyPrefix, ReleaseCause};
use tracing::Instrument as _;

use super::admit::{Admitted, admit, too_large};
use super::count::Count;
use super::delivery::{Delivery, DeliveryFault, Payment, credits};
use super::headers;
use super::hold::{Hold, Settlement, Settler};
use super::limits::{self, Limits, Pass, Quota};
use super::line::Line;
use super::parcel::{Parcel, Stream};
use super::seen::Seen;
use super::trace::Trace;
use super::upload::{Upload, UploadFault};
use super::upstream::{Place, Upstream, Upstreams};
use super::{caller, headers::REQUEST_ID, key, once};
use crate::clock;
use crate::config::GatewayConfig;
use crate::ledger::{Held, Payer, Price, Refusal, ReserveCredits, SubmitError, Usage};
use crate::prices::{PriceBook, PriceRule};
use crate::problem::{BAD_REQUEST, KEY_INVALID, Problem, REQUEST_TIMEOUT, UPSTREAM_TIMEOUT, UPSTREAM_UNREACHABLE};

pub(super) type Body = UnsyncBoxBody<Parcel, DeliveryFault>;

/// From the end of the body to the end of the hold: the time to settle in.
const SETTLE_SECONDS: u64 = 30;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub prices: Arc<PriceBook>,
    pub config: GatewayConfig,
    pub key_prefix: KeyPrefix,
    pub upstreams: Upstreams,
    pub settler: Arc<Settler>,
    pub limits: Arc<Limits>,
}

/// A request while it is under way, and whom to tell about its connection.
struct Exchange<'a> {
    shared: &'a Shared,
    client: IpAddr,
    line: Line,
    request_id: String,
    seen: Arc<Seen>,
    /// What limits the caller, once that is known.
    quotas: OnceLock<Vec<Quota>>,
}

/// Answers a request. Never fails: what goes wrong is a problem document.
pub(super) async fn exchange(
    shared: Arc<Shared>,
    client: IpAddr,
    line: Line,
    request: Request<Incoming>,
) -> Response<Body> {
    let prefix = &shared.key_prefix;
    let request_id = caller::request_id(request.headers(), |sent| key::is_shown(prefix, sent));
    let trace = Trace::of(request.headers());
    let seen = Seen::begin(&request_id, trace, request.method(), request.uri().path(), prefix);
    let exchange = Exchange {
        shared: &shared,
        client,
        line,
        request_id,
        seen: Arc::clone(&seen),
        quotas: OnceLock::new(),
    };
    let answering = exchange.answer(request).instrument(seen.span());
    let mut answer = answering.await.unwrap_or_else(|problem| {
        seen.refused(problem.code());
        let answer: Response<Full<Parcel>> = problem.into_http::<Parcel>().map(Full::new);
        answer.map(|body| body.map_err(|never| match never {}).boxed_unsync())
    });
    headers::set(answer.headers_mut(), REQUEST_ID, &exchange.request_id);
    limits::tell(exchange.quotas.get().map_or(&[], Vec::as_slice), answer.headers_mut());
    let status = answer.status();
    answer.map(|body| seen.answers(status, body).boxed_unsync())
}

impl Exchange<'_> {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let (head, body) = request.into_parts();
        let shared = self.shared;
        let admitted = admit(&head, &shared.prices, &shared.config, &shared.key_prefix)
            .map_err(|problem| self.not_admitted(problem))?;
        let rule = admitted.rule;
        self.seen.priced(&rule.endpoint);
        let pass = self.pass(&admitted)?;
        let upstream = shared.upstreams.named(rule.upstream.as_deref())?;
        upstream.may_be_asked()?;
        let reserve = self.reserve(&admitted, &head, upstream);
        let cut = !shared.config.let_deleted_keys_finish;
        let hold = shared.settler.hold(reserve, cut).await;
        pass_told(pass, hold.as_ref().map(Hold::held));
        let hold = hold.map_err(|error| self.told(error))?.seen_by(&self.seen);
        let takes_trailers = headers::takes_trailers(&head.headers) && head.version >= Version::HTTP_11;
        let method = head.method.clone();
        let hold = hold.priced_by(rule);
        let place = match upstream.enter() {
            Ok(place) => place,
            Err(problem) => {
                hold.settle(Settlement::Release(ReleaseCause::Error));
                return Err(problem);
            }
        };
        let paid = hold.held().paid;
        let (answer, hold) = self.forward(head, body, rule, upstream, hold).await?;
        if paid && worth_data(answer.status()) {
            return Ok(give(answer, hold, takes_trailers, (upstream, place)));
        }
        Ok(self.deliver(answer, &method, rule, hold, takes_trailers, (upstream, place)))
    }

    fn reserve(&self, admitted: &Admitted<'_>, head: &request::Parts, upstream: &Upstream) -> ReserveCredits {
        let rule = admitted.rule;
        let config = &upstream.config;
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
            usage: self.usage(&head.headers),
            once: once::mark(rule, &admitted.key, head.method.as_str(), head.uri.path()),
        }
    }

    /// What a client says of itself is kept, but no key that it wrote there.
    fn usage(&self, headers: &HeaderMap) -> Usage {
        let mut usage = caller::usage(headers, self.client, &self.request_id);
        let prefix = &self.shared.key_prefix;
        usage.user_agent = usage.user_agent.filter(|text| !key::is_shown(prefix, text));
        usage
    }

    /// A text that cannot be a key counts as a failed one.
    fn not_admitted(&self, problem: Problem) -> Problem {
        if problem.kind == KEY_INVALID {
            self.shared.limits.bad_key(self.client).unwrap_or(problem)
        } else {
            problem
        }
    }

    fn pass(&self, admitted: &Admitted<'_>) -> Result<Pass, Problem> {
        let taken = self.shared.limits.take(admitted.key, admitted.rule, self.client);
        // Set once a request.
        let _ = self.quotas.set(taken.quotas);
        taken.pass
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
        upstream: &Upstream,
        hold: Hold,
    ) -> Result<(Response<Incoming>, Hold), Problem> {
        let config = &self.shared.config;
        let (upload, fault) = Upload::new(body, config.request_body_bytes_max, upstream.config.idle_body_timeout);
        let host = &upstream.host;
        let mut headers = headers::for_upstream(&head.headers, rule, &hold, host, self.client, &self.request_id);
        self.seen.trace().pass_on(&mut headers);
        let uri = Uri::builder()
            .scheme(upstream.config.scheme.clone())
            .authority(upstream.config.authority.clone())
            .path_and_query(head.uri.path_and_query().map_or("/", |path| path.as_str()))
            .build();
        let mut request = Request::new(upload);
        *request.method_mut() = head.method;
        *request.headers_mut() = headers;
        *request.uri_mut() = uri.map_err(|_| Problem::new(BAD_REQUEST, "the path cannot be forwarded"))?;
        let answered = tokio::select! {
            biased;
            () = hold.key_deleted() => Err(Problem::from(Refusal::KeyDeleted)),
            answered = self.ask(upstream, request) => answered,
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
    async fn ask(&self, upstream: &Upstream, request: Request<Upload>) -> Result<Response<Incoming>, Problem> {
        let patience = upstream.config.upstream_timeout;
        let answer = match tokio::time::timeout(patience, upstream.send(request)).await {
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
        mut hold: Hold,
        takes_trailers: bool,
        (upstream, place): (&Upstream, Place),
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
                hold.delivers(body.size_hint().exact(), count.known().map(|counted| counted.quantity));
                let trailers = count.known().is_none() && takes_trailers;
                if let Some(counted) = count.known() {
                    told.extend(credits(&hold, counted));
                }
                if trailers {
                    told.remove(CONTENT_LENGTH);
                }
                let line = self.line.clone();
                let end = end_of_delivery(&hold, upstream.config.body_timeout);
                let stream = if line.has_streams() {
                    Some(Stream::new(line.clone(), end))
                } else {
                    line.end_when(end);
                    None
                };
                Some(Payment {
                    hold,
                    count,
                    trailers,
                    line,
                    stream,
                })
            }
        };
        if takes_trailers {
            let ours = payment.as_ref().is_some_and(|payment| payment.trailers);
            headers::announce_trailers(&mut told, &head.headers, ours);
        }
        let delivery =
            Delivery::new(body, payment, upstream.config.idle_body_timeout, place).with_trailers(takes_trailers);
        let mut answer = Response::new(delivery.boxed_unsync());
        *answer.status_mut() = head.status;
        *answer.headers_mut() = told;
        answer
    }
}

/// Passes on a result that was paid before.
fn give(
    answer: Response<Incoming>,
    hold: Hold,
    takes_trailers: bool,
    (upstream, place): (&Upstream, Place),
) -> Response<Body> {
    let (head, body) = answer.into_parts();
    let mut told = headers::for_client(&head.headers);
    told.extend(credits(&hold, 0));
    hold.settle(Settlement::Release(ReleaseCause::Requested));
    if takes_trailers {
        headers::announce_trailers(&mut told, &head.headers, false);
    }
    let delivery = Delivery::new(body, None, upstream.config.idle_body_timeout, place).with_trailers(takes_trailers);
    let mut answer = Response::new(delivery.boxed_unsync());
    *answer.status_mut() = head.status;
    *answer.headers_mut() = told;
    answer
}

/// What the client is told when its own body was what failed.
fn not_uploaded(fault: UploadFault, config: &GatewayConfig) -> Problem {
    match fault {
        UploadFault::TooLarge => too_large(config),
        UploadFault::Stalled => Problem::new(REQUEST_TIMEOUT, "the body stood still"),
        UploadFault::Broken => Problem::new(BAD_REQUEST, "the body broke off"),
    }
}

/// What the ledger said of a key bears on its later calls.
pub(super) fn pass_told(pass: Pass, said: Result<&Held, &SubmitError>) {
    match said {
        Ok(held) => pass.let_through(held),
        Err(SubmitError::Refused { refusal, .. }) => pass.refused(refusal),
        Err(SubmitError::Busy | SubmitError::Unavailable | SubmitError::OutcomeUnknown | SubmitError::Broken) => {}
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
    match status {
        StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION | StatusCode::PARTIAL_CONTENT => {
            // A HEAD has retrieved no data. A body that only ends with its connection may have been cut short.
            if method == Method::HEAD || !ends_visibly() {
                Settlement::Release(ReleaseCause::Error)
            } else {
                Settlement::Charge { quantity: 0, more: 0 }
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
