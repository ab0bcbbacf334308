//! What is kept of a client's request in the ledger: enough to recognise it, bounded, and no more of an address than a
//! network.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::USER_AGENT;

use super::headers::{FORWARDED_FOR, REQUEST_ID};
use crate::clock;
use crate::config::Network;
use crate::ledger::Usage;

const REQUEST_ID_CHARS_MAX: usize = 128;
const USER_AGENT_CHARS_MAX: usize = 200;

/// The client's own id of the request if it is fit to be repeated and no secret, else a new one.
pub(super) fn request_id(headers: &HeaderMap, is_secret: impl Fn(&str) -> bool) -> String {
    let sent = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let fits =
        |id: &&str| (1..=REQUEST_ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    sent.filter(fits)
        .filter(|id| !is_secret(id))
        .map_or_else(|| format!("{:032x}", clock::random_id_bits()), str::to_owned)
}

/// Who asks: whoever is at the other end of the connection, or, where that is a proxy of ours, whom it says it asks for. What is
/// said before the last address that is not a proxy's is the client's own word, and nobody's to believe.
pub(super) fn client(proxies: &[Network], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let is_proxy = |address: IpAddr| proxies.iter().any(|network| network.contains(address));
    if !is_proxy(peer) {
        return peer;
    }
    let said = headers.get_all(FORWARDED_FOR).iter().rev();
    let said = said.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
    let mut client = peer;
    for address in said {
        let Some(address) = address_said(address) else {
            break;
        };
        client = address;
        if !is_proxy(client) {
            break;
        }
    }
    client
}

/// An address as a proxy writes it: by itself, or with the port that the connection came from (`1.2.3.4:5678`, `[2001:db8::1]:5678`).
pub(crate) fn address_said(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let alone = bare.parse::<IpAddr>().ok();
    let address = alone.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

pub(super) fn usage(headers: &HeaderMap, client: IpAddr, request_id: &str) -> Usage {
    let user_agent = headers.get(USER_AGENT).map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes());
        text.chars()
            .filter(|c| !c.is_control())
            .take(USER_AGENT_CHARS_MAX)
            .collect()
    });
    Usage {
        request: Some(request_id.to_owned()),
        network: Some(network(client)),
        user_agent,
    }
}

/// A /24 or a /48: says from where, not who.
fn network(client: IpAddr) -> String {
    match client {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            format!("{}/48", std::net::Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn whom_a_proxy_asks_for_is_whom_the_last_one_that_is_not_ours_says() {
        let proxies: Vec<Network> = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().unwrap()).into();
        let client = |peer: &str, said: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for said in said {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(said));
            }
            client(&proxies, peer.parse().unwrap(), &headers).to_string()
        };
        for (peer, said, expected) in [
            // Nobody else is believed, whatever they say.
            ("9.9.9.9", &["1.2.3.4"][..], "9.9.9.9"),
            ("10.0.0.1", &["1.2.3.4"], "1.2.3.4"),
            ("10.0.0.1", &["6.6.6.6, 1.2.3.4 ,10.0.0.2"], "1.2.3.4"),
            ("10.0.0.1", &["6.6.6.6", "1.2.3.4", "2001:db8::7"], "1.2.3.4"),
            ("2001:db8::1", &["::ffff:1.2.3.4"], "1.2.3.4"),
            // With the port of the connection, as some write it.
            ("10.0.0.1", &["1.2.3.4:5678"], "1.2.3.4"),
            ("10.0.0.1", &["[2001:db9::7]:80, 10.0.0.2:9"], "2001:db9::7"),
            ("10.0.0.1", &["[2001:db9::7]"], "2001:db9::7"),
            ("10.0.0.1", &["1.2.3.4:"], "10.0.0.1"),
            ("10.0.0.1", &["[1.2.3.4"], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // Where nothing can be made of it, the nearest that is known.
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1", &["1.2.3.4, _hidden, 10.0.0.2"], "10.0.0.2"),
        ] {
            assert_eq!(client(peer, said), expected, "{peer} {said:?}");
        }
    }

    #[test]
    fn an_address_is_kept_as_a_network() {
        assert_eq!(network("203.0.113.77".parse().unwrap()), "203.0.113.0/24");
        assert_eq!(network("2001:db8:1:2::77".parse().unwrap()), "2001:db8:1::/48");
    }

    #[test]
    fn a_request_id_that_is_not_fit_is_replaced() {
        let with = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(id).unwrap());
            request_id(&headers, |id| id == "secret")
        };
        assert_eq!(with("abc-1"), "abc-1");
        assert_eq!(with("a b").len(), 32);
        assert_eq!(with("secret").len(), 32);
        assert_eq!(with(&"x".repeat(129)).len(), 32);
    }
}
