//! Which headers pass: from the client to the upstream, and back.
//!
//! Promise: the upstream sees no API key, no header that only a gateway may set (however it is spelled), and none that
//! belongs to one connection. Ours are set last, so nothing that a client sends, `Connection` included, can remove or
//! replace them.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{ACCEPT_ENCODING, CONNECTION, COOKIE, HOST, IF_RANGE, RANGE, TE, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::ledger::Held;
use crate::prices::{PriceRule, Quantity};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const CREDITS_CHARGED: HeaderName = HeaderName::from_static("credits-charged");
pub(super) const CREDITS_REMAINING: HeaderName = HeaderName::from_static("credits-remaining");
const ACCOUNT: HeaderName = HeaderName::from_static("x-keyledger-account");
const KEY: HeaderName = HeaderName::from_static("x-keyledger-key");
const ENVIRONMENT: HeaderName = HeaderName::from_static("x-keyledger-environment");
const RESERVATION: HeaderName = HeaderName::from_static("x-keyledger-reservation");
pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Room for what is added to those that pass, the trace's included.
const OURS_MAX: usize = 9;

/// Belong to one connection (RFC 9110 section 7.6.1, and what older peers send).
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Never forwarded: the key, what we set ourselves, and what makes a framework believe in another request than the one
/// that was priced.
const NOT_FORWARDED: &[&str] = &[
    "authorization",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "x-api-key",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
];
const NOT_FORWARDED_BEGINNINGS: &[&str] = &["x-keyledger-", "x-forwarded-"];

const NOT_IN_TRAILERS: &[&str] = &[
    "age",
    "cache-control",
    "cookie",
    "date",
    "expires",
    "location",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "vary",
    "warning",
    "www-authenticate",
];
const NOT_IN_TRAILERS_BEGINNINGS: &[&str] = &["access-control-", "content-", "credits-", "if-", "x-keyledger-"];

/// The headers for the upstream.
pub(super) fn for_upstream(
    inbound: &HeaderMap,
    rule: &PriceRule,
    held: &Held,
    host: &HeaderValue,
    client: IpAddr,
    request_id: &str,
) -> HeaderMap {
    let mut headers = without_spoofed(inbound);
    if matches!(rule.quantity, Quantity::Json(_)) {
        // A part of a document, or an encoded one, cannot be counted.
        headers.remove(RANGE);
        headers.remove(IF_RANGE);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    join_cookies(&mut headers);
    headers.insert(HOST, host.clone());
    set(&mut headers, ACCOUNT, held.account.to_string());
    if let Some(key) = held.key {
        set(&mut headers, KEY, key.to_string());
    }
    set(&mut headers, ENVIRONMENT, held.environment.as_str());
    set(&mut headers, RESERVATION, held.reservation.to_string());
    set(&mut headers, FORWARDED_FOR, client.to_string());
    set(&mut headers, REQUEST_ID, request_id);
    headers
}

/// The upstream's headers for the client. Framing is our server's to write anew.
pub(super) fn for_client(upstream: &HeaderMap) -> HeaderMap {
    let listed = connection_listed(upstream);
    let passes = |name: &HeaderName| {
        let name = name.as_str();
        !HOP_BY_HOP.contains(&name)
            && !listed.iter().any(|other| other == name)
            && !name.starts_with("x-keyledger-")
            && ![CREDITS_CHARGED, CREDITS_REMAINING, REQUEST_ID]
                .iter()
                .any(|ours| ours == name)
    };
    kept(upstream, passes)
}

pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: impl TryInto<HeaderValue>) {
    // Ids, amounts and addresses are visible ASCII, so none is ever left out.
    if let Ok(value) = value.try_into() {
        headers.insert(name, value);
    }
}

/// Whether the client reads trailers: without `TE: trailers` a proxy may drop them, so we do not write them.
pub(super) fn takes_trailers(inbound: &HeaderMap) -> bool {
    inbound.get_all(TE).iter().any(|value| {
        let value = value.to_str().unwrap_or_default();
        value
            .split(',')
            .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
    })
}

/// Says which trailers will come: those of the upstream that pass, and ours where the head cannot say what is charged.
pub(super) fn announce_trailers(headers: &mut HeaderMap, upstream: &HeaderMap, ours: bool) {
    let announced = upstream.get_all(TRAILER).iter();
    let announced = announced.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    let mut names: Vec<HeaderName> = announced.filter_map(|name| name.trim().parse().ok()).collect();
    names.retain(may_be_trailer);
    if ours {
        names.extend([CREDITS_CHARGED, CREDITS_REMAINING]);
    }
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    if !names.is_empty() {
        set(headers, TRAILER, names.join(", "));
    }
}

/// The upstream's trailers for a client that takes them.
pub(super) fn trailers_for_client(upstream: &HeaderMap) -> HeaderMap {
    kept(upstream, may_be_trailer)
}

/// Nothing that frames, routes, identifies or steers what came before it (RFC 9110 section 6.5.1), and nothing that
/// only we may say.
fn may_be_trailer(name: &HeaderName) -> bool {
    let name = name.as_str();
    !HOP_BY_HOP.contains(&name)
        && !NOT_FORWARDED.contains(&name)
        && !NOT_IN_TRAILERS.contains(&name)
        && !NOT_IN_TRAILERS_BEGINNINGS
            .iter()
            .any(|beginning| name.starts_with(beginning))
}

/// HTTP/2 may send each cookie by itself; elsewhere there is one `Cookie` (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

fn without_spoofed(inbound: &HeaderMap) -> HeaderMap {
    let listed = connection_listed(inbound);
    let passes = |name: &HeaderName| {
        let name = name.as_str();
        // Frameworks that map headers to variables cannot tell `x_keyledger_key` from `x-keyledger-key`.
        let spelled = match name.contains('_') {
            true => Cow::Owned(name.replace('_', "-")),
            false => Cow::Borrowed(name),
        };
        let spelled = spelled.as_ref();
        !HOP_BY_HOP.contains(&spelled)
            && !NOT_FORWARDED.contains(&spelled)
            && !NOT_FORWARDED_BEGINNINGS
                .iter()
                .any(|beginning| spelled.starts_with(beginning))
            && !listed.iter().any(|other| other == name)
    };
    kept(inbound, passes)
}

fn kept(headers: &HeaderMap, passes: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(headers.len() + OURS_MAX);
    for (name, value) in headers.iter().filter(|(name, _)| passes(name)) {
        kept.append(name.clone(), value.clone());
    }
    kept
}

/// The names that `Connection` says belong to the connection, in lower case.
fn connection_listed(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn keys_spoofed_headers_and_those_of_the_connection_do_not_pass() {
        let inbound = headers(&[
            ("authorization", "Bearer x"),
            ("x-api-key", "x"),
            ("x_api_key", "x"),
            ("x-keyledger-account", "acct_x"),
            ("x_keyledger_key", "key_x"),
            ("x-keyledger_reservation", "x"),
            ("x-forwarded-for", "127.0.0.1"),
            ("forwarded", "for=127.0.0.1"),
            ("x-original-uri", "/free"),
            ("x-http-method-override", "DELETE"),
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("expect", "100-continue"),
            ("proxy-authorization", "x"),
            ("accept", "application/json"),
            ("cookie", "a=b"),
            ("cookie", "c=d"),
        ]);
        let passed = without_spoofed(&inbound);
        assert_eq!(names(&passed), ["accept", "cookie"]);
        assert_eq!(passed.get_all("cookie").iter().count(), 2);
    }

    #[test]
    fn an_upstream_cannot_speak_for_the_ledger() {
        let answer = headers(&[
            ("credits-charged", "0"),
            ("x-keyledger-account", "acct_x"),
            ("connection", "X-Hop"),
            ("x-hop", "1"),
            ("trailer", "Authorization"),
            ("content-type", "text/plain"),
            ("content-length", "5"),
        ]);
        assert_eq!(names(&for_client(&answer)), ["content-type", "content-length"]);
    }

    #[test]
    fn trailers_that_steer_or_speak_for_us_do_not_pass() {
        let sent = headers(&[
            ("x-checksum", "1"),
            ("set-cookie", "a=b"),
            ("content-length", "5"),
            ("credits-charged", "0"),
            ("transfer-encoding", "chunked"),
            ("authorization", "x"),
        ]);
        assert_eq!(names(&trailers_for_client(&sent)), ["x-checksum"]);
        let announced = headers(&[
            ("trailer", "X-Checksum, Set-Cookie"),
            ("trailer", "Credits-Charged, a b"),
        ]);
        let mut told = HeaderMap::new();
        announce_trailers(&mut told, &announced, true);
        assert_eq!(told["trailer"], "x-checksum, credits-charged, credits-remaining");
        let mut silent = HeaderMap::new();
        announce_trailers(&mut silent, &HeaderMap::new(), false);
        assert!(silent.is_empty());
    }

    #[test]
    fn trailers_are_for_those_who_ask() {
        assert!(takes_trailers(&headers(&[("te", "gzip, Trailers")])));
        assert!(!takes_trailers(&headers(&[("te", "gzip")])));
        assert!(!takes_trailers(&headers(&[])));
    }
}
