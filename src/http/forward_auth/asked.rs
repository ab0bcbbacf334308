//! Which request a proxy asks about, in the words of nginx, of Caddy and Traefik, or of Envoy.
//!
//! Promise: a request is told once. Two tellings that differ are refused: a client that slips a header past its proxy
//! cannot have a cheap path priced and a dear one served.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Method, Uri};

use crate::gateway::address_said;
use crate::problem::{BAD_REQUEST, Problem};

/// Everything after this is the original path, for proxies that put theirs behind a prefix.
const PREFIX: &str = "/v1/forward-auth";
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// How nginx configurations say it, and how Caddy and Traefik do.
const TELLINGS: [(HeaderName, HeaderName); 2] = [
    (
        HeaderName::from_static("x-original-method"),
        HeaderName::from_static("x-original-uri"),
    ),
    (
        HeaderName::from_static("x-forwarded-method"),
        HeaderName::from_static("x-forwarded-uri"),
    ),
];

/// The request that the client sent to the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Original {
    pub(super) method: Method,
    /// Path and query, undecoded.
    pub(super) target: String,
}

/// Finds the request that is asked about. `method` and `uri` are those of the asking itself.
pub(super) fn original(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Original, Problem> {
    let mut told = behind_prefix(method, uri);
    for (method, target) in &TELLINGS {
        let Some(other) = in_headers(headers, method, target)? else {
            continue;
        };
        match &told {
            Some(first) if *first != other => {
                let detail = "the original request is told twice, in different words";
                return Err(Problem::new(BAD_REQUEST, detail).field(target.as_str()));
            }
            Some(_) => {}
            None => told = Some(other),
        }
    }
    told.ok_or_else(|| {
        let detail = "X-Original-Method and X-Original-URI, or X-Forwarded-Method and X-Forwarded-Uri, are needed";
        Problem::new(BAD_REQUEST, detail).field("x-original-uri")
    })
}

fn behind_prefix(method: &Method, uri: &Uri) -> Option<Original> {
    let target = uri.path_and_query()?.as_str().strip_prefix(PREFIX)?;
    target.starts_with('/').then(|| Original {
        method: method.clone(),
        target: target.to_owned(),
    })
}

fn in_headers(headers: &HeaderMap, method: &HeaderName, target: &HeaderName) -> Result<Option<Original>, Problem> {
    let (said_method, said_target) = (once(headers, method)?, once(headers, target)?);
    let (said_method, said_target) = match (said_method, said_target) {
        (None, None) => return Ok(None),
        (Some(said_method), Some(said_target)) => (said_method, said_target),
        (None, Some(_)) => return Err(unreadable(method, "is needed beside the address")),
        (Some(_), None) => return Err(unreadable(target, "is needed beside the method")),
    };
    Ok(Some(Original {
        method: said_method.parse().map_err(|_| unreadable(method, "is no method"))?,
        target: said_target.to_owned(),
    }))
}

/// The text of a header that may be there once.
pub(super) fn once<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(unreadable(name, "was sent twice"));
    }
    let text = value
        .to_str()
        .map_err(|_| unreadable(name, "has other than visible ASCII"))?;
    Ok(Some(text))
}

pub(super) fn unreadable(name: &HeaderName, what: &str) -> Problem {
    Problem::new(BAD_REQUEST, format!("{name} {what}")).field(name.as_str())
}

/// The client's address: the last one, which the proxy itself wrote. The others are what the client says.
pub(super) fn client(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all(FORWARDED_FOR).iter().next_back()?;
    address_said(last.to_str().ok()?.rsplit(',').next()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn asked(method: &str, uri: &str, pairs: &[(&'static str, &'static str)]) -> Result<String, Option<String>> {
        original(&method.parse().unwrap(), &uri.parse().unwrap(), &headers(pairs))
            .map(|original| format!("{} {}", original.method, original.target))
            .map_err(|problem| problem.field)
    }

    #[test]
    fn every_proxy_tells_the_request_in_its_own_way() {
        let nginx = [("x-original-method", "POST"), ("x-original-uri", "/serp?q=a%20b")];
        assert_eq!(
            asked("GET", "/v1/forward-auth", &nginx).as_deref(),
            Ok("POST /serp?q=a%20b")
        );
        let caddy = [("x-forwarded-method", "PUT"), ("x-forwarded-uri", "/serp")];
        assert_eq!(asked("GET", "/v1/forward-auth", &caddy).as_deref(), Ok("PUT /serp"));
        let envoy = asked("DELETE", "/v1/forward-auth/serp/a%20b?q=1", &[]);
        assert_eq!(envoy.as_deref(), Ok("DELETE /serp/a%20b?q=1"));
        assert_eq!(asked("GET", "/v1/forward-auth/", &[]).as_deref(), Ok("GET /"));
    }

    #[test]
    fn a_request_that_is_told_in_two_ways_has_to_be_one() {
        let same = [
            ("x-original-method", "GET"),
            ("x-original-uri", "/a"),
            ("x-forwarded-method", "GET"),
            ("x-forwarded-uri", "/a"),
        ];
        assert_eq!(asked("GET", "/v1/forward-auth", &same).as_deref(), Ok("GET /a"));
        let differ = [same[0], same[1], same[2], ("x-forwarded-uri", "/b")];
        let field = Err(Some("x-forwarded-uri".to_owned()));
        assert_eq!(asked("GET", "/v1/forward-auth", &differ), field);
        let field = Err(Some("x-original-uri".to_owned()));
        assert_eq!(asked("GET", "/v1/forward-auth/b", &same[..2]), field);
        assert_eq!(asked("GET", "/v1/forward-auth", &[same[1], same[1], same[0]]), field);
        assert_eq!(asked("GET", "/v1/forward-auth", &[same[0]]), field);
        assert_eq!(asked("GET", "/v1/forward-auth", &[]), field);
    }

    #[test]
    fn a_clients_address_is_the_one_that_the_proxy_wrote() {
        let spoofed = headers(&[("x-forwarded-for", "198.51.100.1, 203.0.113.9")]);
        assert_eq!(client(&spoofed), "203.0.113.9".parse().ok());
        let with_port = headers(&[("x-forwarded-for", "198.51.100.1, 203.0.113.9:4711")]);
        assert_eq!(client(&with_port), "203.0.113.9".parse().ok());
        assert_eq!(client(&headers(&[("x-forwarded-for", "unknown")])), None);
        assert_eq!(client(&headers(&[])), None);
    }
}
