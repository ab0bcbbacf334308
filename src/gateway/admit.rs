//! What a request must be before anything is held for it.
//!
//! Promise: a request that is refused here has cost no look-up of its own, no credit and no byte of its body.

use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::Authority;
use http::{HeaderMap, Version, request};
use keyledger_events::KeyDigest;

use super::{key, path};
use crate::config::GatewayConfig;
use crate::prices::{METHODS, PriceBook, PriceRule};
use crate::problem::{
    BAD_PATH, BAD_REQUEST, BODY_TOO_LARGE, METHOD_NOT_ALLOWED, Problem, UNPRICED, UPGRADE_REFUSED, URI_TOO_LONG,
};

/// Path and query together.
const URI_CHARS_MAX: usize = 4_096;

/// Who asks, and what it costs.
#[derive(Debug)]
pub(super) struct Admitted {
    pub key: KeyDigest,
    pub rule: Arc<PriceRule>,
}

pub(super) fn admit(
    head: &request::Parts,
    prices: &PriceBook,
    config: &GatewayConfig,
    key_prefix: &keyledger_events::KeyPrefix,
) -> Result<Admitted, Problem> {
    well_formed(head)?;
    let key = key::find(&head.headers, key_prefix)?;
    let rule = prices
        .route(head.method.as_str(), head.uri.path())
        .ok_or_else(|| Problem::new(UNPRICED, "no price is set for this method and path"))?;
    let declared = head
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|bytes: u64| bytes > config.request_body_bytes_max) {
        return Err(too_large(config));
    }
    let rule = Arc::clone(rule);
    Ok(Admitted { key, rule })
}

pub(super) fn too_large(config: &GatewayConfig) -> Problem {
    let most = config.request_body_bytes_max;
    Problem::new(BODY_TOO_LARGE, format!("a body has at most {most} bytes"))
}

/// Only the plain form `GET /path?query`, to one host, without a change of protocol.
fn well_formed(head: &request::Parts) -> Result<(), Problem> {
    if !METHODS.contains(&head.method.as_str()) {
        return Err(Problem::new(
            METHOD_NOT_ALLOWED,
            "the method is not one that is forwarded",
        ));
    }
    // HTTP/2 says the authority beside the path; `Host` must not say another (RFC 9113 section 8.3.1).
    let http2 = head.version == Version::HTTP_2;
    if !http2 && (head.uri.authority().is_some() || head.uri.scheme().is_some()) {
        return Err(Problem::new(
            BAD_REQUEST,
            "the request line names a path, not a whole address",
        ));
    }
    if head
        .uri
        .path_and_query()
        .is_some_and(|path| path.as_str().len() > URI_CHARS_MAX)
    {
        return Err(Problem::new(
            URI_TOO_LONG,
            format!("at most {URI_CHARS_MAX} characters are taken"),
        ));
    }
    if !path::is_plain(head.uri.path()) {
        return Err(Problem::new(
            BAD_PATH,
            "the path has a segment that servers read in different ways",
        ));
    }
    let hosts = head.headers.get_all(HOST).iter().count();
    let other = |authority: &Authority| {
        let host = head.headers.get(HOST);
        host.is_some_and(|host| !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()))
    };
    let lacks = hosts == 0 && head.uri.authority().is_none() && head.version != Version::HTTP_10;
    if hosts > 1 || lacks || (http2 && head.uri.authority().is_some_and(other)) {
        return Err(Problem::new(BAD_REQUEST, "exactly one Host header is needed"));
    }
    if has_other_coding(&head.headers) {
        return Err(Problem::new(
            BAD_REQUEST,
            "chunked is the only transfer coding that is taken",
        ));
    }
    if asks_to_upgrade(&head.headers) {
        return Err(Problem::new(UPGRADE_REFUSED, "the request asks to change the protocol"));
    }
    Ok(())
}

/// A coding that our server leaves on the body and that the upstream is not told of.
pub(super) fn has_other_coding(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

fn asks_to_upgrade(headers: &HeaderMap) -> bool {
    let listed = headers.get_all(CONNECTION).iter().any(|value| {
        let value = value.to_str().unwrap_or_default();
        value.split(',').any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
    });
    listed || headers.contains_key(UPGRADE)
}
