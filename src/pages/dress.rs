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

#[derive(Template)]
#[template(path = "fault.html")]
struct FaultPage<'a> {
    frame: Frame<'a>,
    told: Told,
}

const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Gives a fault its page and every answer its headers.
pub(super) async fn dress(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    let root = Root::of(request.uri().path());
    let mut response = next.run(request).await;
    if let Some(fault) = response.extensions_mut().remove::<Fault>() {
        response = face(&pages, root, &fault);
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
    if pages.config.frame_ancestors.is_empty() {
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    if !headers.contains_key(CONTENT_SECURITY_POLICY)
        && let Ok(policy) = HeaderValue::from_str(&policy(&pages.config.frame_ancestors))
    {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
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

fn face(pages: &Pages, root: Root, fault: &Fault) -> Response {
    let told = fault.told();
    let status = told.status;
    let frame = Frame::outside(pages, root, &told.title);
    let text = FaultPage { frame, told }.render().unwrap_or_else(|error| {
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
