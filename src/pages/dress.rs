//! What is around every answer of the pages: the headers that keep others out, and a face for faults.

use askama::Template;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};

use super::Pages;
use super::fault::{Fault, Told};
use super::frame::{Frame, Root};
use super::operator::Through;

#[derive(Template)]
#[template(path = "fault.html")]
struct FaultPage<'a> {
    frame: Frame<'a>,
    told: Told,
    /// Where a person can go on, and what that is called.
    on: (&'static str, &'static str),
}

const TO_KEYS: (&str, &str) = ("keys", "Go to API access");
const TO_ACCOUNTS: (&str, &str) = ("operator/accounts", "Go to the accounts");

const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Gives a fault its page and every answer its headers.
pub(super) async fn dress(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    let root = Root::of(request.uri().path());
    let on = if is_operators(&request) { TO_ACCOUNTS } else { TO_KEYS };
    let framed_by = frame_ancestors(&pages, &request).to_vec();
    let mut response = next.run(request).await;
    if let Some(fault) = response.extensions_mut().remove::<Fault>() {
        response = face(&pages, root, &fault, on);
    }
    let headers = response.headers_mut();
    let fixed = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (OPENER, "same-origin"),
        (RESOURCE, "same-origin"),
        // With `no-referrer` browsers would send `Origin: null` with our own forms.
        (REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if framed_by.is_empty() {
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    if !headers.contains_key(CONTENT_SECURITY_POLICY)
        && let Ok(policy) = HeaderValue::from_str(&policy(&framed_by))
    {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn is_operators(request: &Request) -> bool {
    request.uri().path().starts_with("/operator")
}

/// Who may frame the answer to a request. Operators' pages stand in nobody's frame, nor what operators see of others'.
fn frame_ancestors<'a>(pages: &'a Pages, request: &Request) -> &'a [String] {
    if is_operators(request) || request.extensions().get::<Through>().is_some() {
        &[]
    } else {
        &pages.config.frame_ancestors
    }
}

fn policy(frame_ancestors: &[String]) -> String {
    let ancestors = if frame_ancestors.is_empty() {
        "'none'".to_owned()
    } else {
        frame_ancestors.join(" ")
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"
    )
}

fn face(pages: &Pages, root: Root, fault: &Fault, on: (&'static str, &'static str)) -> Response {
    let told = fault.told();
    let status = told.status;
    let frame = Frame::outside(pages, root, &told.title);
    let text = FaultPage { frame, told, on }.render().unwrap_or_else(|error| {
        tracing::error!(%error, "a fault could not be told");
        "Something went wrong.".to_owned()
    });
    let mut response = (status, Html(text)).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// A page as an answer.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Result<Response, Fault> {
    let text = template.render().map_err(|error| {
        tracing::error!(%error, "a page could not be written");
        Fault::Internal
    })?;
    let kind = [(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))];
    Ok((status, kind, text).into_response())
}
