//! What the gateway decides about a request that another proxy forwards: the same paths, prices, keys and table.
//!
//! In: a request's method, address and headers, and later what became of its answer. Out: what to hold, and how that ends.
//!
//! Promise: whoever asks here is told what the gateway itself would have done with the same request.
//!
//! Not here: holding and settling, and whether the proxy may be believed.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::header::UPGRADE;
use http::{HeaderMap, Method, StatusCode};
use keyledger_events::{KeyPrefix, ReleaseCause, ReservationId};

use super::answer::verdict;
use super::hold::Settlement;
use super::{caller, key, once, path};
use crate::ledger::{Payer, Price, ReserveCredits};
use crate::prices::{METHODS, PriceBook, PriceRule};
use crate::problem::{BAD_PATH, METHOD_NOT_ALLOWED, Problem, UNPRICED, UPGRADE_REFUSED, URI_TOO_LONG};

/// As the gateway itself takes.
const URI_CHARS_MAX: usize = 4_096;

/// A request as its client sent it to the other proxy.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub method: &'a Method,
    /// Undecoded, with the query.
    pub target: &'a str,
    pub headers: &'a HeaderMap,
    /// `None` where the proxy did not say.
    pub client: Option<IpAddr>,
}

/// How the body of an answer ended, as far as the proxy knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivered {
    Whole,
    ClientGone,
    Broken,
}

/// What is to be held for a request, or why it is refused before anything is looked up.
pub(super) fn decide(
    asked: &Asked<'_>,
    prices: &PriceBook,
    key_prefix: &KeyPrefix,
    (reservation, ttl_seconds): (ReservationId, u32),
) -> Result<(ReserveCredits, Arc<PriceRule>), Problem> {
    let method = asked.method.as_str();
    let path = asked.target.split('?').next().unwrap_or_default();
    if !METHODS.contains(&method) {
        let detail = "the method is not one that is forwarded";
        return Err(Problem::new(METHOD_NOT_ALLOWED, detail));
    }
    if asked.target.len() > URI_CHARS_MAX {
        let detail = format!("at most {URI_CHARS_MAX} characters are taken");
        return Err(Problem::new(URI_TOO_LONG, detail));
    }
    if !path::is_plain(path) {
        let detail = "the path has a segment that servers read in different ways";
        return Err(Problem::new(BAD_PATH, detail));
    }
    if asked.headers.contains_key(UPGRADE) {
        return Err(Problem::new(UPGRADE_REFUSED, "the request asks to change the protocol"));
    }
    let key = key::find(asked.headers, key_prefix)?;
    let rule = prices
        .route(method, path)
        .ok_or_else(|| Problem::new(UNPRICED, "no price is set for this method and path"))?;
    let request_id = caller::request_id(asked.headers, |sent| key::is_shown(key_prefix, sent));
    let client = asked.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let mut usage = caller::usage(asked.headers, client, &request_id);
    usage.network = usage.network.filter(|_| asked.client.is_some());
    usage.user_agent = usage.user_agent.filter(|text| !key::is_shown(key_prefix, text));
    let reserve = ReserveCredits {
        payer: Payer::Key(key),
        reservation,
        endpoint: rule.endpoint.clone(),
        quantity: rule.quantity_max,
        price: Price {
            unit: rule.price,
            version: rule.version,
        },
        ttl_seconds,
        usage,
        once: once::mark(rule, &key, method, path),
    };
    Ok((reserve, Arc::clone(rule)))
}

/// Why nothing is charged for an answer, by the gateway's own table. `None`: it is charged.
pub(crate) fn release_for(method: &Method, status: StatusCode, delivered: Delivered) -> Option<ReleaseCause> {
    match verdict(method, status, || true) {
        Settlement::Release(cause) => Some(cause),
        Settlement::Charge { .. } => match delivered {
            Delivered::Whole => None,
            Delivered::ClientGone => Some(ReleaseCause::ClientGone),
            Delivered::Broken => Some(ReleaseCause::Error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_data_that_was_delivered_whole_is_charged() {
        let cause = |status: u16, delivered| {
            release_for(&Method::GET, StatusCode::from_u16(status).unwrap(), delivered).map(|cause| cause.as_str())
        };
        for status in 200..600 {
            let expected = match status {
                200 | 203 | 206 => None,
                202 => Some("queued"),
                _ => Some("error"),
            };
            assert_eq!(cause(status, Delivered::Whole), expected, "{status}");
        }
        assert_eq!(cause(200, Delivered::ClientGone), Some("client-gone"));
        assert_eq!(cause(200, Delivered::Broken), Some("error"));
        assert_eq!(cause(202, Delivered::ClientGone), Some("queued"));
        assert!(release_for(&Method::HEAD, StatusCode::OK, Delivered::Whole).is_some());
    }
}
