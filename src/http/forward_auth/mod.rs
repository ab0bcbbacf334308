//! Forward-auth: another proxy asks whether a request may pass, and tells later what became of it.
//!
//! In: nginx's `auth_request`, Caddy's and Traefik's `forwardAuth`, Envoy's HTTP `ext_authz`. Out: 200 with credits held,
//! or a refusal in a form that the proxy can hand on.
//!
//! Promise: decided as the gateway decides. No ledger, no 200. Only a proxy that shows its token is answered.
//!
//! Not here: the request's and the answer's bodies, which only the proxy sees.
//!
//! | file | does |
//! | --- | --- |
//! | `trust` | which proxies are believed |
//! | `asked` | which request they ask about |
//! | `hold` | credits held, and charged at once where the price says so |
//! | `told` | what they are told |
//! | `settle` | what they tell afterwards |

mod asked;
mod hold;
mod settle;
mod told;
mod trust;

use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, any, on};
use http::Method;
use http::request::Parts;
use keyledger_events::ReleaseCause;

pub(super) use settle::{__path_settle_forwarded, settle_forwarded};

use super::App;
use super::serve::Peer;
use super::words::TtlSeconds;
pub use crate::gateway::ForwardAuth;
use crate::gateway::{Admission, Asked, Quotas};
use crate::ledger::SubmitError;
use crate::prices::{Quantity, SettleAt};
use crate::problem::{Problem, UNPRICED};
use crate::shelf::LOOK_UPS_MAX;
use crate::tokens::Caller;
use hold::{Holding, Then, hold};

/// Decides about a request that a proxy is to forward, and holds credits for it.
///
/// The proxy shows an access token of role `metering` in `X-Keyledger-Forward-Auth`, and the client's own headers, its
/// key included, as they are. The original request is told in `X-Original-Method` and `X-Original-URI`, in
/// `X-Forwarded-Method` and `X-Forwarded-Uri`, or by sending it here under the prefix `/v1/forward-auth`, such as
/// `POST /v1/forward-auth/serp?q=a`. Every method is taken.
///
/// 200 held: forward the request without the key and with the `X-Keyledger-Account`, `-Key` and `-Reservation` of this
/// answer. 400 the original request is not told clearly, or is ambiguous. 401 the key is missing, unknown, deleted or
/// expired. 402 not enough is available. 403 the proxy is not known, or the key is not for this endpoint. 404 the request
/// has no price. 422 it would take from too many grants. 429 too many calls, with `Retry-After`, `RateLimit` and
/// `RateLimit-Policy` as the gateway tells them, or too many reservations are open. 503 the ledger is away; nothing may
/// be forwarded. With `X-Keyledger-Refuse-As: 403` or `?refuse=401-403`, for proxies that understand nothing else,
/// refusals other than 401 come as 403; the true status and code are always in `X-Keyledger-Status` and
/// `X-Keyledger-Code`.
#[utoipa::path(
    get, path = "/v1/forward-auth", tag = "metering",
    security(("forward_auth" = [])),
    params(
        ("X-Original-Method" = Option<String>, Header, description = "The original method, as nginx is told to send it.", example = "GET"),
        ("X-Original-URI" = Option<String>, Header, description = "The original path and query.", example = "/serp?q=a"),
        ("X-Forwarded-Method" = Option<String>, Header, description = "The same from Caddy and Traefik.", example = "GET"),
        ("X-Forwarded-Uri" = Option<String>, Header, description = "The same from Caddy and Traefik.", example = "/serp?q=a"),
        ("X-Keyledger-Refuse-As" = Option<String>, Header, description = "`403`: refusals other than 401 come as 403."),
        ("refuse" = Option<String>, Query, description = "`401-403`: the same, where no header can be set."),
    ),
    responses(
        (status = 200, description = "Held; the request may be forwarded.", headers(
            ("X-Keyledger-Account" = String, description = "Who pays."),
            ("X-Keyledger-Key" = String, description = "The key's id."),
            ("X-Keyledger-Environment" = String, description = "The key's: `live`, or `test`, whose work costs nothing."),
            ("X-Keyledger-Reservation" = String, description = "What is to be settled."),
            ("X-Keyledger-Quantity" = String, description = "Units of a plain answer: 1, or 0 where they have to be counted."),
            ("Credits-Held" = String, description = "What the request may cost."),
            ("Credits-Charged" = String, description = "What was charged, where the price says `at-once`."),
            ("Credits-Remaining" = String, description = "What is available for this endpoint beside."),
            ("RateLimit" = String, description = "What is left of the limits that the request falls under."),
            ("RateLimit-Policy" = String, description = "Those limits."),
        )),
        (status = 402, response = Problem),
        (status = 404, response = Problem),
        (status = 405, response = Problem),
        (status = 414, response = Problem),
        (status = 422, response = Problem),
        (status = 429, response = Problem),
    )
)]
pub(super) async fn forward_auth(State(app): State<App>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let Answer { quotas, holding } = answer(&app, &head).await.unwrap_or_else(Answer::from);
    let mut response = match holding {
        Ok((holding, counted)) => told::with_quantity(told::allowed(&holding), counted),
        Err(problem) => {
            metrics::counter!("keyledger_forward_auth_total", "outcome" => problem.code()).increment(1);
            let as_403 = told::refuse_as_403(&head);
            told::refused(problem, as_403)
        }
    };
    quotas.tell(response.headers_mut());
    response
}

/// Proxies ask with the original method, or with any that they like.
pub(super) fn other_methods() -> MethodRouter<App> {
    let others = MethodFilter::POST
        .or(MethodFilter::PUT)
        .or(MethodFilter::PATCH)
        .or(MethodFilter::DELETE)
        .or(MethodFilter::OPTIONS);
    on(others, forward_auth)
}

/// For proxies that put the original path behind ours.
pub(super) fn prefixed() -> MethodRouter<App> {
    any(forward_auth)
}

/// What a request came to, and what its client is told of its limits.
struct Answer {
    quotas: Quotas,
    holding: Result<(Holding, bool), Problem>,
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Answer {
        Answer {
            quotas: Quotas::default(),
            holding: Err(problem),
        }
    }
}

async fn answer(app: &App, head: &Parts) -> Result<Answer, Problem> {
    let peer = head.extensions.get::<Peer>().map(|peer| peer.0);
    let caller = trust::trusted(app, peer, &head.headers).await?;
    let original = asked::original(&head.method, &head.uri, &head.headers)?;
    let asked = Asked {
        method: &original.method,
        target: &original.target,
        headers: &head.headers,
        client: asked::client(&head.headers),
    };
    let ttl_seconds = TtlSeconds::DEFAULT.get();
    let admit = || {
        let hold = (app.ledger.fresh_reservation_id(None), ttl_seconds);
        app.forward_auth
            .admit(&asked, &app.prices.book(), &app.key_prefix, hold)
    };
    let (mut quotas, mut admission) = admit();
    // Another process may have published a price just now.
    if admission.as_ref().is_err_and(|problem| problem.kind == UNPRICED) {
        app.prices.look_again().await;
        (quotas, admission) = admit();
    }
    let holding = match admission {
        Ok(admission) => hold_for(app, caller, &asked, admission).await,
        Err(problem) => Err(problem),
    };
    Ok(Answer { quotas, holding })
}

async fn hold_for(
    app: &App,
    caller: Caller,
    asked: &Asked<'_>,
    mut admission: Admission,
) -> Result<(Holding, bool), Problem> {
    let (mut look_ups, mut told) = (1, None);
    let held = loop {
        let then = match admission.rule.settle {
            SettleAt::Later => Then::Wait,
            // A HEAD retrieves no data, whatever its answer says.
            SettleAt::AtOnce if *asked.method == Method::HEAD => Then::Release(ReleaseCause::Error),
            SettleAt::AtOnce => Then::Charge,
        };
        let held = hold(app, caller, admission.reserve.clone(), then).await;
        let Err(error) = &held else { break held };
        if told.is_none() && error.time_told().is_some() {
            told = error.time_told();
            admission.reserve.reservation = app.ledger.fresh_reservation_id(told);
            continue;
        }
        let Some(book) = app.prices.instead(error).await.filter(|_| look_ups < LOOK_UPS_MAX) else {
            break held;
        };
        look_ups += 1;
        admission.priced_by(asked, &book, &app.key_prefix)?;
    };
    let counted = admission.rule.quantity != Quantity::Fixed;
    admission.told(held.as_ref().map(|holding| &holding.held.reply));
    let holding = held.map_err(|error| {
        match &error {
            SubmitError::Refused { refusal, .. } => tracing::debug!(%refusal, "refused to a proxy"),
            SubmitError::Busy | SubmitError::Unavailable | SubmitError::OutcomeUnknown | SubmitError::Broken => {
                tracing::warn!(%error, "a proxy is told that nothing may be forwarded without the ledger");
            }
        }
        Problem::from(error)
    })?;
    Ok((holding, counted))
}
