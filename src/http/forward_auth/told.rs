//! What a proxy is told: headers to hand on, or a refusal in a form that it can hand on.

use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use keyledger_events::Credits;

use super::hold::Holding;
use crate::http::place::{LEDGER_POSITION, Place};
use crate::problem::Problem;

pub(super) const ACCOUNT: HeaderName = HeaderName::from_static("x-keyledger-account");
pub(super) const RESERVATION: HeaderName = HeaderName::from_static("x-keyledger-reservation");
pub(super) const QUANTITY: HeaderName = HeaderName::from_static("x-keyledger-quantity");
const KEY: HeaderName = HeaderName::from_static("x-keyledger-key");
const ENVIRONMENT: HeaderName = HeaderName::from_static("x-keyledger-environment");
const STATUS: HeaderName = HeaderName::from_static("x-keyledger-status");
const CODE: HeaderName = HeaderName::from_static("x-keyledger-code");
const TITLE: HeaderName = HeaderName::from_static("x-keyledger-title");
const REFUSE_AS: HeaderName = HeaderName::from_static("x-keyledger-refuse-as");
const CREDITS_HELD: HeaderName = HeaderName::from_static("credits-held");
const CREDITS_CHARGED: HeaderName = HeaderName::from_static("credits-charged");
const CREDITS_REMAINING: HeaderName = HeaderName::from_static("credits-remaining");

/// The request may pass. No body: proxies throw it away.
pub(super) fn allowed(holding: &Holding) -> Response {
    metrics::counter!("keyledger_forward_auth_total", "outcome" => "held").increment(1);
    let held = &holding.held.reply;
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    let place = Place {
        shard: holding.held.shard,
        position: holding.held.position,
    };
    set(headers, LEDGER_POSITION, &place.to_string());
    set(headers, ACCOUNT, &held.account.to_string());
    if let Some(key) = held.key {
        set(headers, KEY, &key.to_string());
    }
    set(headers, ENVIRONMENT, held.environment.as_str());
    set(headers, RESERVATION, &held.reservation.to_string());
    set(headers, CREDITS_HELD, &held.amount.to_string());
    let remaining: Credits = match &holding.charge {
        Some(charge) => {
            set(headers, CREDITS_CHARGED, &charge.charged.to_string());
            charge.available
        }
        None => held.available,
    };
    set(headers, CREDITS_REMAINING, &remaining.to_string());
    response
}

/// How many units an answer has that nobody counts: what cannot be counted is none.
pub(super) fn with_quantity(mut response: Response, counted: bool) -> Response {
    set(response.headers_mut(), QUANTITY, if counted { "0" } else { "1" });
    response
}

/// The request may not pass. The status and the code are in headers too, for proxies that throw the body away, or know
/// no other status than 401 and 403.
pub(super) fn refused(problem: Problem, as_403: bool) -> Response {
    let (status, code, title) = (problem.status, problem.code(), problem.kind.title);
    let mut response = problem.into_response();
    let headers = response.headers_mut();
    set(headers, STATUS, status.as_str());
    set(headers, CODE, code);
    set(headers, TITLE, title);
    if as_403 && status != StatusCode::UNAUTHORIZED {
        *response.status_mut() = StatusCode::FORBIDDEN;
    }
    response
}

/// Whether the proxy understands 401 and 403 and nothing else. Behind the prefix, the query is the original request's.
pub(super) fn refuse_as_403(head: &Parts) -> bool {
    let in_header = head
        .headers
        .get(REFUSE_AS)
        .is_some_and(|value| value.as_bytes() == b"403");
    let in_query = head.uri.path() == "/v1/forward-auth"
        && head
            .uri
            .query()
            .is_some_and(|query| query.split('&').any(|pair| pair == "refuse=401-403"));
    in_header || in_query
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Ids, amounts and our own words are visible ASCII, so none is ever left out.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
