//! How many sockets this process may have open: as many as the system lets it. Shells and service managers give 1,024 unless told
//! otherwise, for the sake of programs that cannot count further.

use keyledger::config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The API's connections, those to Postgres and NATS, and files.
const BESIDE_THE_GATEWAY: u64 = 4_500;

/// Takes what the system lets us have, and says where that is less than the config file speaks of.
pub fn take_all(config: &Config) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    // `None` is no limit.
    let has = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            current
        }
    };
    let needed = needed(config);
    if let Some(has) = has.filter(|has| *has < needed) {
        tracing::warn!(
            has,
            needed,
            "fewer files may be open than there may be connections: raise the hard limit (ulimit -Hn, LimitNOFILE)"
        );
    }
}

fn needed(config: &Config) -> u64 {
    let gateway = config.gateway.iter().map(|gateway| {
        let upstreams = gateway.upstreams.iter().map(|upstream| upstream.connections_max);
        upstreams.fold(gateway.clients.connections_max, usize::saturating_add)
    });
    let gateway = gateway.fold(0, usize::saturating_add);
    u64::try_from(gateway)
        .unwrap_or(u64::MAX)
        .saturating_add(BESIDE_THE_GATEWAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_is_counted() {
        let file = "[gateway]\nupstream = \"http://a\"\nupstream_connections_max = 20\nconnections_max = 300\n";
        assert_eq!(needed(&Config::parse(file).unwrap()), 4_820);
        assert_eq!(needed(&Config::default()), 4_500);
    }
}
