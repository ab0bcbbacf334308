//! `[forward_auth]`: from which networks proxies may ask.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use toml::Value;

use super::section::Section;

/// Who may ask at `/v1/forward-auth`, beside showing a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardAuthConfig {
    /// `peers`: addresses that a proxy's own connection may come from. `None` where not said: any.
    pub peers: Option<Vec<Network>>,
}

/// An address and how many of its first bits count: `10.1.0.0/16`, `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is an address and a length, with no bit set after it: \"10.1.0.0/16\"")]
pub struct MalformedNetwork;

impl Network {
    /// Whether an address is in it. An IPv4 address written as an IPv6 one is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => first_v4(theirs, self.bits) == ours,
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => first_v6(theirs, self.bits) == ours,
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn first_v4(address: Ipv4Addr, bits: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

fn first_v6(address: Ipv6Addr, bits: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

impl FromStr for Network {
    type Err = MalformedNetwork;

    fn from_str(text: &str) -> Result<Network, MalformedNetwork> {
        let (address, bits) = text.split_once('/').ok_or(MalformedNetwork)?;
        let address: IpAddr = address.parse().map_err(|_| MalformedNetwork)?;
        let bits: u8 = bits.parse().map_err(|_| MalformedNetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let network = Network { address, bits };
        // A bit too many is a network that somebody else meant.
        if bits <= most && address.to_canonical() == address && network.contains(address) {
            Ok(network)
        } else {
            Err(MalformedNetwork)
        }
    }
}

pub(super) fn read(file: &mut Section<'_>) -> ForwardAuthConfig {
    let table = file.table("forward_auth");
    let mut section = file.inner("[forward_auth]", table);
    let peers = match section.value("peers") {
        None => None,
        Some(Value::Array(texts)) => Some(read_networks(&mut section, "peers", &texts)),
        Some(_) => {
            section.complain("peers", "is a list of networks");
            None
        }
    };
    section.end();
    ForwardAuthConfig { peers }
}

/// Reads a list of networks, and complains of each that is none.
pub(super) fn read_networks(section: &mut Section<'_>, name: &str, texts: &[Value]) -> Vec<Network> {
    let mut read = |value: &Value| {
        let network = value.as_str().ok_or(MalformedNetwork).and_then(str::parse);
        network
            .inspect_err(|malformed| section.complain(name, malformed.to_string()))
            .ok()
    };
    texts.iter().filter_map(&mut read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_network_holds_what_begins_as_it_does() {
        let holds = |network: &str, address: &str| {
            let network: Network = network.parse().unwrap();
            network.contains(address.parse().unwrap())
        };
        assert!(holds("127.0.0.1/32", "127.0.0.1") && !holds("127.0.0.1/32", "127.0.0.2"));
        assert!(holds("10.1.0.0/16", "10.1.255.255") && !holds("10.1.0.0/16", "10.2.0.0"));
        assert!(holds("0.0.0.0/0", "203.0.113.9") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1") && !holds("2001:db8::/32", "2001:db9::"));
        assert!(holds("::/0", "::1"));
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        for bad in [
            "",
            "10.0.0.1",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "::/129",
            "::ffff:10.0.0.0/104",
            "host/8",
            "::1/x",
        ] {
            assert_eq!(bad.parse::<Network>(), Err(MalformedNetwork), "{bad}");
        }
        let places =
            |text: &str| -> Vec<String> { Config::parse(text).unwrap_err().into_iter().map(|c| c.place).collect() };
        assert_eq!(places("[forward_auth]\npeers = [\"10.0.0.1\", 7]\nx = 1\n").len(), 3);
        assert_eq!(
            places("[forward_auth]\npeers = \"::1/128\"\n"),
            ["[forward_auth] peers"]
        );
        let config = Config::parse("[forward_auth]\npeers = [\"::1/128\"]\n").unwrap();
        assert_eq!(config.forward_auth.peers.unwrap().len(), 1);
        assert_eq!(Config::parse("").unwrap().forward_auth.peers, None);
    }
}
