//! One request's way to the upstream: admit, hold, forward. The `answer` comes back by itself, and settles.
//!
//! In: a request. Out: the upstream's answer with what it costs, or a problem of ours.
//!
//! Promise: nothing is forwarded before credits are held; no ledger, no pass-through. Whatever happens to this future,
//! the hold that it made is settled.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use http::header::TRANSFER_ENCODING;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version, request};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use keyledger_events::{KeyPrefix, ReleaseCause, Timestamp};
use tracing::Instrument as _;

use super::admit::{Admitted, admit, too_large};
use super::answer::{Way, odd};
use super::delivery::DeliveryFault;
use super::headers;
use super::hold::{Hold, Settlement, Settler};
use super::limits::{self, Limits, Pass, Quota};
use super::line::{Line, UnderWay};
use super::parcel::Parcel;
use super::seen::Seen;
use super::stream::Stream;
use super::trace::Trace;
use super::upload::{self, Upload, UploadFault};
use super::upstream::{Upstream, Upstreams};
use super::{caller, headers::REQUEST_ID, key, once};
use crate::config::GatewayConfig;
use crate::ledger::{Held, Payer, Price, Refusal, ReserveCredits, SubmitError, Usage};
use crate::prices::PriceRule;
use crate::problem::{
    BAD_REQUEST, KEY_INVALID, Problem, REQUEST_TIMEOUT, UNPRICED, UPSTREAM_TIMEOUT, UPSTREAM_UNREACHABLE,
};
use crate::shelf::{LOOK_UPS_MAX, Shelf};

pub(super) type Body = UnsyncBoxBody<Parcel, DeliveryFault>;

/// From the end of the body to the end of the hold: the time to settle in.
const SETTLE_SECONDS: u64 = 30;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub prices: Shelf,
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
    peer: IpAddr,
    line: Line,
    under_way: UnderWay,
    request: Request<Incoming>,
) -> Response<Body> {
    let client = caller::client(&shared.config.clients.proxies, peer, request.headers());
    let prefix = &shared.key_prefix;
    let request_id = caller::request_id(request.headers(), |sent| key::is_shown(prefix, sent));
    let trace = Trace::of(request.headers());
    let seen = Seen::begin(&request_id, trace, request.method(), request.uri().path(), prefix);
    let head_only = request.method() == Method::HEAD;
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
        let answer = problem.into_http::<Parcel>();
        // Over HTTP/2 nobody else keeps a body from following the answer to a HEAD.
        let bodiless = head_only && exchange.line.has_streams();
        let answer = answer.map(|body| {
            if bodiless {
                Full::default()
            } else {
                Full::new(body.of(Stream::current()))
            }
        });
        answer.map(|body| body.map_err(|never| match never {}).boxed_unsync())
    });
    headers::set(answer.headers_mut(), REQUEST_ID, &exchange.request_id);
    limits::tell(exchange.quotas.get().map_or(&[], Vec::as_slice), answer.headers_mut());
    let status = answer.status();
    answer.map(|body| seen.answers(status, body, under_way).boxed_unsync())
}

impl Exchange<'_> {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let (head, body) = request.into_parts();
        let mut admitted = self.admit(&head).await.map_err(|problem| self.not_admitted(problem))?;
        self.seen.priced(&admitted.rule.endpoint);
        let pass = self.pass(&admitted)?;
        let (hold, upstream) = self.hold(&head, &mut admitted).await?;
        pass_told(pass, hold.as_ref().map(Hold::held));
        let hold = hold.map_err(|error| self.told(error))?.seen_by(&self.seen);
        let rule = admitted.rule.as_ref();
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
        let (answer, hold) = self.forward(head, body, rule, upstream, hold).await?;
        let way = Way {
            method: &method,
            rule,
            upstream: &upstream.config,
            takes_trailers,
            line: &self.line,
        };
        Ok(way.pass(answer, hold, place))
    }

    /// Where no price is known here, another process may have published one just now.
    async fn admit(&self, head: &request::Parts) -> Result<Admitted, Problem> {
        let shared = self.shared;
        let now = || admit(head, &shared.prices.book(), &shared.config, &shared.key_prefix);
        match now() {
            Err(problem) if problem.kind == UNPRICED => {
                shared.prices.look_again().await;
                now()
            }
            admitted => admitted,
        }
    }

    /// Holds at the price that holds. When the ledger says that another book does, the request is looked up in that one; when it
    /// says that the id is from another time, it gets one of that time.
    async fn hold(
        &self,
        head: &request::Parts,
        admitted: &mut Admitted,
    ) -> Result<(Result<Hold, SubmitError>, &Upstream), Problem> {
        let shared = self.shared;
        let cut = !shared.config.let_deleted_keys_finish;
        let (mut look_ups, mut told) = (1, None);
        loop {
            let upstream = shared.upstreams.named(admitted.rule.upstream.as_deref())?;
            upstream.may_be_asked()?;
            let reserve = self.reserve(admitted, head, upstream, told);
            let hold = shared.settler.hold(reserve, cut).await;
            let Err(error) = &hold else { return Ok((hold, upstream)) };
            if told.is_none() && error.time_told().is_some() {
                told = error.time_told();
                continue;
            }
            let Some(book) = shared.prices.instead(error).await.filter(|_| look_ups < LOOK_UPS_MAX) else {
                return Ok((hold, upstream));
            };
            look_ups += 1;
            *admitted = admit(head, &book, &shared.config, &shared.key_prefix)?;
            self.seen.priced(&admitted.rule.endpoint);
        }
    }

    fn reserve(
        &self,
        admitted: &Admitted,
        head: &request::Parts,
        upstream: &Upstream,
        told: Option<Timestamp>,
    ) -> ReserveCredits {
        let rule = &admitted.rule;
        let config = &upstream.config;
        let longest = (config.upstream_timeout + config.body_timeout).as_secs() + SETTLE_SECONDS;
        ReserveCredits {
            payer: Payer::Key(admitted.key),
            reservation: self.shared.settler.ledger.fresh_reservation_id(told),
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

    fn pass(&self, admitted: &Admitted) -> Result<Pass, Problem> {
        let taken = self.shared.limits.take(admitted.key, &admitted.rule, self.client);
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
        let (upload, fault) = self.upload(body, upstream);
        let uri = Uri::builder()
            .scheme(upstream.config.scheme.clone())
            .authority(upstream.config.authority.clone())
            .path_and_query(head.uri.path_and_query().map_or("/", |path| path.as_str()))
            .build();
        let uri = uri.map_err(|_| Problem::new(BAD_REQUEST, "the path cannot be forwarded"))?;
        let request = |upload: Upload| {
            let (host, client) = (&upstream.host, self.client);
            let mut headers = headers::for_upstream(&head.headers, rule, hold.held(), host, client, &self.request_id);
            if upload.has_no_length() {
                // Said, because a GET is otherwise sent without it.
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            self.seen.trace().pass_on(&mut headers);
            let mut request = Request::new(upload);
            *request.method_mut() = head.method.clone();
            *request.headers_mut() = headers;
            *request.uri_mut() = uri.clone();
            request
        };
        let answered = tokio::select! {
            biased;
            () = hold.key_deleted() => Err(Problem::from(Refusal::KeyDeleted)),
            answered = self.ask(upstream, request(upload), || request(Upload::nothing())) => answered,
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

    fn upload(&self, body: Incoming, upstream: &Upstream) -> (Upload, upload::Fault) {
        let bytes_max = self.shared.config.request_body_bytes_max;
        Upload::new(body, bytes_max, upstream.config.idle_body_timeout, self.line.clone())
    }

    /// The upstream's answer, if it comes in time and can be passed on.
    async fn ask(
        &self,
        upstream: &Upstream,
        request: Request<Upload>,
        again: impl FnOnce() -> Request<Upload>,
    ) -> Result<Response<Incoming>, Problem> {
        let patience = upstream.config.upstream_timeout;
        let answer = match tokio::time::timeout(patience, upstream.send(request, again)).await {
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
