//! W3C trace context: a client's trace is passed on as it is, and one is begun where there is none.
//!
//! In: `traceparent` and `tracestate` of a request. Out: the same for the upstream.
//!
//! Promise: what is passed on is well-formed. We export no spans, so a client's `traceparent` names its own span as the
//! parent of the upstream's, and no link of the trace is missing.

use http::{HeaderMap, HeaderName};

use super::headers::set;
use crate::clock;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The trace that a request belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trace {
    /// A whole `traceparent` of version 00.
    parent: String,
    /// Whether the client began it; only then its `tracestate` means anything.
    clients: bool,
}

impl Trace {
    /// The client's trace, or a new one where there is none, more than one, or one that is malformed.
    pub(super) fn of(headers: &HeaderMap) -> Trace {
        let mut sent = headers.get_all(TRACEPARENT).iter();
        let parent = match (sent.next(), sent.next()) {
            (Some(one), None) => one.to_str().ok().and_then(read),
            (None | Some(_), _) => None,
        };
        Trace {
            clients: parent.is_some(),
            parent: parent.unwrap_or_else(begin),
        }
    }

    /// The trace's id: 32 hex digits.
    pub(super) fn id(&self) -> &str {
        self.parent.get(3..35).unwrap_or_default()
    }

    /// Sets the headers for the upstream.
    pub(super) fn pass_on(&self, headers: &mut HeaderMap) {
        set(headers, TRACEPARENT, &self.parent);
        if !self.clients {
            headers.remove(TRACESTATE);
        }
    }
}

/// A trace of our own, marked as sampled: upstreams that follow their caller would otherwise record nothing of clients
/// that do not trace.
fn begin() -> String {
    // An id of zeros is none; one bit less of chance makes sure.
    let trace = clock::random_id_bits() | 1;
    let span = (clock::random_id_bits() >> 64) | 1;
    format!("00-{trace:032x}-{span:016x}-01")
}

/// Reads a `traceparent` and writes it as version 00. A later version may say more after the flags; we do not know
/// what, so it does not go on.
fn read(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('-').collect();
    let (&[version, trace, span, flags], more) = parts.split_first_chunk::<4>()?;
    let known = version != "ff" && (version != "00" || more.is_empty());
    let well_formed = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    let named = |id: &str| id.bytes().any(|digit| digit != b'0');
    (known && well_formed && named(trace) && named(span)).then(|| format!("00-{trace}-{span}-{flags}"))
}

fn hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn passed(parents: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(TRACEPARENT, HeaderValue::from_static(parent));
        }
        headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
        let trace = Trace::of(&headers);
        trace.pass_on(&mut headers);
        headers
    }

    #[test]
    fn a_trace_goes_on_unchanged() {
        let headers = passed(&[GOOD]);
        assert_eq!(
            (&headers[TRACEPARENT], &headers[TRACESTATE]),
            (&GOOD.parse().unwrap(), &"a=b".parse().unwrap())
        );
        let later = passed(&["01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"]);
        assert_eq!(later[TRACEPARENT], GOOD);
    }

    #[test]
    fn a_trace_that_is_malformed_or_not_one_begins_anew() {
        for bad in [
            &[] as &[&str],
            &[GOOD, GOOD],
            &[""],
            &["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"],
            &["00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"],
            &["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"],
        ] {
            let headers = passed(bad);
            let begun = headers[TRACEPARENT].to_str().unwrap();
            assert!(read(begun).is_some() && begun != GOOD, "{bad:?} became {begun}");
            assert!(!headers.contains_key(TRACESTATE) && headers.get_all(TRACEPARENT).iter().count() == 1);
        }
    }
}
