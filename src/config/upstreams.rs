//! The data APIs that a gateway stands before: the one of `upstream = "…"`, and those of `[[gateway.upstreams]]`.
//!
//! Promise: every price names an upstream that there is, by its name or by naming none where there is a usual one.

use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};
use toml::{Table, Value};

use super::section::{List, Section};
use super::tls::{self, ClientTls};
use crate::prices::PriceEntry;

/// One data API, and how much patience it gets.
#[derive(Debug, Clone)]
pub struct UpstreamConfig {
    /// The name in prices and figures; [`USUAL`] is the one of `[gateway] upstream`.
    pub name: String,
    pub scheme: Scheme,
    pub authority: Authority,
    /// There where the scheme is `https`.
    pub tls: Option<ClientTls>,
    /// `upstream_timeout_seconds`: from the hold to the head of the upstream's answer, the client's upload included.
    pub upstream_timeout: Duration,
    /// `body_timeout_seconds`: for the whole body of an answer, however slowly the client reads. With the timeout
    /// above it bounds the life of a hold, so that nobody reads on after the hold has gone back.
    pub body_timeout: Duration,
    /// `idle_body_timeout_seconds`: how long a body may stand still, up or down.
    pub idle_body_timeout: Duration,
    /// Requests at once, and so connections: more are refused.
    pub connections_max: usize,
}

/// The name of the upstream that a price means when it names none.
pub const USUAL: &str = "default";

const DAY_SECONDS: u64 = 24 * 60 * 60;
const UPSTREAM_TIMEOUT_SECONDS: u64 = 60;
const BODY_TIMEOUT_SECONDS: u64 = 300;
const IDLE_BODY_TIMEOUT_SECONDS: u64 = 15;
const CONNECTIONS_MAX: u64 = 10_000;
const UPSTREAMS_MAX: usize = 100;
const UPSTREAMS: List = List {
    name: "upstreams",
    written: "[[gateway.upstreams]]",
};

/// The names that prices may use, those of faulty entries included: one fault is one complaint.
#[derive(Debug, Clone, Default)]
pub struct UpstreamNames(Vec<String>);

impl UpstreamNames {
    /// Those that there are.
    pub fn of(upstreams: &[UpstreamConfig]) -> UpstreamNames {
        UpstreamNames(upstreams.iter().map(|upstream| upstream.name.clone()).collect())
    }

    /// What is wrong with a price's `upstream`, if anything is.
    pub fn fault(&self, named: Option<&str>) -> Option<&'static str> {
        let meant = named.unwrap_or(USUAL);
        if self.0.iter().any(|name| name == meant) {
            return None;
        }
        Some(match named {
            None => "is needed, since [gateway] has no `upstream`",
            Some(_) => NAMES_NONE,
        })
    }
}

const NAMES_NONE: &str = "names none of [[gateway.upstreams]]";

/// Time-outs as they are in a table, each with what it is where the table is silent.
#[derive(Debug, Clone, Copy)]
struct Patience {
    upstream: Duration,
    body: Duration,
    idle_body: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            upstream: Duration::from_secs(UPSTREAM_TIMEOUT_SECONDS),
            body: Duration::from_secs(BODY_TIMEOUT_SECONDS),
            idle_body: Duration::from_secs(IDLE_BODY_TIMEOUT_SECONDS),
        }
    }
}

/// Reads all upstreams of `[gateway]`. What cannot be used is complained of and left out.
pub(super) fn read(gateway: &mut Section<'_>) -> (Vec<UpstreamConfig>, UpstreamNames) {
    let entries = gateway.entries(UPSTREAMS);
    if entries.len() > UPSTREAMS_MAX {
        gateway.complain("upstreams", format!("has at most {UPSTREAMS_MAX} entries"));
    }
    let mut names = UpstreamNames::default();
    let url = match gateway.value("upstream") {
        None if !entries.is_empty() => None,
        None => Some(gateway.required_text("upstream")),
        Some(Value::String(url)) => Some(url),
        Some(other) => {
            let found = other.type_str();
            gateway.complain("upstream", format!("is a text in quotes, not a TOML {found}"));
            Some(String::new())
        }
    };
    let address = url
        .as_ref()
        .and_then(|url| read_url(gateway, ("upstream", "upstream_ca_file"), url));
    let patience = read_patience(gateway, Patience::default());
    let connections_max = gateway.count_within("upstream_connections_max", 1..=1_000_000, CONNECTIONS_MAX);
    if url.is_some() {
        names.0.push(USUAL.to_owned());
    }
    let mut upstreams = Vec::new();
    upstreams.extend(address.map(|address| upstream(USUAL.to_owned(), address, patience, connections_max)));
    for (index, entry) in entries.into_iter().take(UPSTREAMS_MAX).enumerate() {
        if let Some(section) = gateway.entry(UPSTREAMS, index, entry) {
            upstreams.extend(read_named(section, patience, &mut names));
        }
    }
    (upstreams, names)
}

/// Checks that each price means an upstream that there is.
pub(super) fn check_prices(file: &mut Section<'_>, entries: &[PriceEntry], names: Option<&UpstreamNames>) {
    for (index, entry) in entries.iter().enumerate() {
        let named = entry.upstream.as_deref();
        let fault = match names {
            Some(names) => names.fault(named),
            None => named.map(|_| NAMES_NONE),
        };
        if let Some(what) = fault {
            file.inner(format!("[[prices]] {}", index + 1), Table::new())
                .complain("upstream", what);
        }
    }
}

fn read_named(mut section: Section<'_>, usual: Patience, names: &mut UpstreamNames) -> Option<UpstreamConfig> {
    let name = section.name_among(&mut names.0, "upstream");
    let url = section.required_text("url");
    let address = read_url(&mut section, ("url", "ca_file"), &url);
    let patience = read_patience(&mut section, usual);
    let connections_max = section.count_within("connections_max", 1..=1_000_000, CONNECTIONS_MAX);
    section.end();
    Some(upstream(name, address?, patience, connections_max))
}

fn upstream(name: String, address: Address, patience: Patience, connections_max: u64) -> UpstreamConfig {
    let (scheme, authority, tls) = address;
    UpstreamConfig {
        name,
        scheme,
        authority,
        tls,
        upstream_timeout: patience.upstream,
        body_timeout: patience.body,
        idle_body_timeout: patience.idle_body,
        connections_max: usize::try_from(connections_max).unwrap_or(usize::MAX),
    }
}

fn read_patience(section: &mut Section<'_>, usual: Patience) -> Patience {
    let mut seconds =
        |name, most, usual: Duration| Duration::from_secs(section.count_within(name, 1..=most, usual.as_secs()));
    // Together with the time to settle they stay below the day that a hold may live.
    Patience {
        upstream: seconds("upstream_timeout_seconds", DAY_SECONDS / 4, usual.upstream),
        body: seconds("body_timeout_seconds", DAY_SECONDS / 2, usual.body),
        idle_body: seconds("idle_body_timeout_seconds", DAY_SECONDS / 2, usual.idle_body),
    }
}

type Address = (Scheme, Authority, Option<ClientTls>);

fn read_url(section: &mut Section<'_>, (name, ca_file): (&str, &str), url: &str) -> Option<Address> {
    let address = plain(url);
    if address.is_none() && !url.is_empty() {
        section.complain(
            name,
            "is http:// or https:// and a host, with a port or without, and nothing more",
        );
    }
    let encrypted = address.as_ref().is_some_and(|(scheme, _)| *scheme == Scheme::HTTPS);
    let tls = tls::read_client(section, ca_file, encrypted);
    address.map(|(scheme, authority)| (scheme, authority, tls))
}

/// The parts of `http://host[:port][/]`. A user, a path or a query would be silently dropped later: refused here.
fn plain(url: &str) -> Option<(Scheme, Authority)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri
        .scheme()
        .filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme))?;
    let authority = uri.authority()?;
    let plain = matches!(uri.path(), "" | "/")
        && uri.query().is_none()
        && !authority.as_str().contains('@')
        && !authority.host().is_empty();
    plain.then(|| (scheme.clone(), authority.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn complaints(text: &str) -> Vec<String> {
        let complaints = Config::parse(text).unwrap_err();
        complaints.iter().map(|complaint| complaint.place.clone()).collect()
    }

    #[test]
    fn an_upstream_is_a_host_and_nothing_more() {
        for bad in [
            "ftp://a",
            "http://",
            "a:80",
            "http://a/b",
            "http://a?x",
            "http://u:p@a",
            "unix:/x",
        ] {
            assert!(plain(bad).is_none(), "{bad}");
        }
        assert!(plain("http://api.internal").is_some() && plain("https://api.example:8443/").is_some());
    }

    #[test]
    fn an_upstream_takes_its_patience_from_the_gateway_unless_it_says_otherwise() {
        let text = r#"
            [gateway]
            upstream = "http://a"
            body_timeout_seconds = 7
            [[gateway.upstreams]]
            name = "slow"
            url = "http://b:81"
            upstream_timeout_seconds = 3600
            connections_max = 5
            [[prices]]
            endpoint = "serp"
            match = "GET /serp"
            price = "1"
            upstream = "slow"
        "#;
        let config = Config::parse(text).unwrap();
        let upstreams = config.gateway.unwrap().upstreams;
        let read: Vec<_> = upstreams
            .iter()
            .map(|one| {
                (
                    one.name.as_str(),
                    one.upstream_timeout.as_secs(),
                    one.body_timeout.as_secs(),
                    one.connections_max,
                )
            })
            .collect();
        assert_eq!(read, [("default", 60, 7, 10_000), ("slow", 3_600, 7, 5)]);
        let rule = config.prices.route("GET", "/serp").unwrap();
        assert_eq!(rule.upstream.as_deref(), Some("slow"));
    }

    #[test]
    fn names_are_told_when_nobody_has_them_or_two_do() {
        let text = r#"
            [[gateway.upstreams]]
            name = "a"
            url = "http://a"
            [[gateway.upstreams]]
            name = "a"
            url = "b"
            [[gateway.upstreams]]
            name = "B!"
            url = "http://c"
            connections = 5
            [[prices]]
            endpoint = "x"
            match = "GET /x"
            price = "1"
            upstream = "c"
            [[prices]]
            endpoint = "y"
            match = "GET /y"
            price = "1"
        "#;
        let expected = [
            "[[gateway.upstreams]] 2 name",
            "[[gateway.upstreams]] 2 url",
            "[[gateway.upstreams]] 3 name",
            "[[gateway.upstreams]] 3 connections",
            "[[prices]] 1 upstream",
            "[[prices]] 2 upstream",
        ];
        assert_eq!(complaints(text), expected);
    }
}
