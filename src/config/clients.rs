//! What clients of the gateway may take: connections at once, in all and each, and how long they may take their time.

use std::time::Duration;

use toml::Value;

use super::network::{Network, read_networks};
use super::section::Section;

/// Bounds on clients' connections. Together they bound the memory that connections take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientsConfig {
    /// At once, in all; more wait in the kernel's queue.
    pub connections_max: usize,
    /// At once, from one address (IPv6: one /64); more are closed.
    pub connections_per_client_max: usize,
    /// `proxies`: networks of proxies and load balancers, whose addresses stand for many clients and have no bound of
    /// their own, and whose `X-Forwarded-For` is believed.
    pub proxies: Vec<Network>,
    /// `head_seconds`: for a TLS handshake, and from the first byte of a request's head to its last. Also until the
    /// first request of a connection begins.
    pub head: Duration,
    /// `idle_seconds`: how long a connection is kept on which nothing is under way.
    pub idle: Duration,
    /// `stall_seconds`: how long a client may take nothing of what waits for it.
    pub stall: Duration,
}

const CONNECTIONS_MAX: u64 = 10_000;
/// A tenth of all: it takes ten addresses to fill the gateway, and whoever stands behind one seldom needs as many.
const CONNECTIONS_PER_CLIENT_MAX: u64 = 1_000;
const HEAD_SECONDS: u64 = 5;
/// Longer than the minute that many HTTP clients keep their connections for, so that mostly they close first.
const IDLE_SECONDS: u64 = 75;
const STALL_SECONDS: u64 = 30;

pub(super) fn read(gateway: &mut Section<'_>) -> ClientsConfig {
    let connections_max = gateway.count_within("connections_max", 1..=1_000_000, CONNECTIONS_MAX);
    let per_client = gateway.count_within("connections_per_client_max", 1..=1_000_000, CONNECTIONS_PER_CLIENT_MAX);
    let proxies = match gateway.value("proxies") {
        None => None,
        Some(Value::Array(texts)) => Some(read_networks(gateway, "proxies", &texts)),
        Some(_) => {
            gateway.complain("proxies", "is a list of networks");
            None
        }
    };
    let mut seconds = |name, most, usual| Duration::from_secs(gateway.count_within(name, 1..=most, usual));
    ClientsConfig {
        connections_max: usize::try_from(connections_max).unwrap_or(usize::MAX),
        connections_per_client_max: usize::try_from(per_client).unwrap_or(usize::MAX),
        proxies: proxies.unwrap_or_default(),
        head: seconds("head_seconds", 60, HEAD_SECONDS),
        idle: seconds("idle_seconds", 3_600, IDLE_SECONDS),
        stall: seconds("stall_seconds", 600, STALL_SECONDS),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::Config;

    const UPSTREAM: &str = "[gateway]\nupstream = \"http://a\"\n";

    #[test]
    fn clients_have_bounds_and_may_be_given_others() {
        let clients = |more: &str| {
            let config = Config::parse(&format!("{UPSTREAM}{more}")).unwrap();
            config.gateway.unwrap().clients
        };
        let usual = clients("");
        assert_eq!(
            (usual.connections_max, usual.connections_per_client_max),
            (10_000, 1_000)
        );
        assert_eq!(
            [usual.head, usual.idle, usual.stall],
            [5, 75, 30].map(Duration::from_secs)
        );
        let own = clients("connections_per_client_max = 7\nproxies = [\"10.0.0.0/8\"]\nidle_seconds = 3600\n");
        assert_eq!((own.connections_per_client_max, own.idle.as_secs()), (7, 3_600));
        assert!(own.proxies[0].contains("10.9.8.7".parse().unwrap()));
    }

    #[test]
    fn bounds_that_cannot_be_meant_are_told() {
        let text = format!(
            "{UPSTREAM}connections_max = 0\nconnections_per_client_max = 0\nproxies = [\"10.0.0.1/8\", \"::1/128\"]\n\
             head_seconds = 61\nidle_seconds = 0\nstall_seconds = \"30\"\n"
        );
        let places: Vec<String> = Config::parse(&text).unwrap_err().into_iter().map(|c| c.place).collect();
        let expected = [
            "connections_max",
            "connections_per_client_max",
            "proxies",
            "head_seconds",
            "idle_seconds",
            "stall_seconds",
        ];
        assert_eq!(places, expected.map(|name| format!("[gateway] {name}")));
    }
}
