//! How many connections each client has, so that nobody takes the places of all.
//!
//! In: the address of a new connection. Out: a place for it, or none.
//!
//! Promise: one address, or one /64 of IPv6, has at most so many places at once. Addresses of proxies that are named in
//! the config file stand for many clients and have no bound of their own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limits;
use crate::config::{ClientsConfig, Network};

/// All places, by whom they are taken.
#[derive(Debug)]
pub(super) struct Places {
    each_max: usize,
    proxies: Vec<Network>,
    taken: Mutex<HashMap<IpAddr, Count>>,
}

#[derive(Debug, Default)]
struct Count {
    places: usize,
    /// The log has it that this client wanted more.
    told: bool,
}

/// One connection's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Taken {
    /// `None` where nobody counts.
    from: Option<(Arc<Places>, IpAddr)>,
}

impl Places {
    pub(super) fn new(config: &ClientsConfig) -> Arc<Places> {
        Arc::new(Places {
            each_max: config.connections_per_client_max,
            proxies: config.proxies.clone(),
            taken: Mutex::default(),
        })
    }

    /// A place for one more connection of this client, if it may have one.
    pub(super) fn take(self: &Arc<Self>, client: IpAddr) -> Option<Taken> {
        if self.proxies.iter().any(|proxy| proxy.contains(client)) {
            return Some(Taken { from: None });
        }
        let client = limits::network(client.to_canonical());
        let mut taken = self.taken();
        let count = taken.entry(client).or_default();
        if count.places >= self.each_max {
            let told = std::mem::replace(&mut count.told, true);
            drop(taken);
            self.refused(client, told);
            return None;
        }
        count.places += 1;
        drop(taken);
        Some(Taken {
            from: Some((Arc::clone(self), client)),
        })
    }

    fn refused(&self, client: IpAddr, told: bool) {
        metrics::counter!("keyledger_gateway_connections_refused_total").increment(1);
        if !told {
            let most = self.each_max;
            tracing::warn!(%client, most, "a client has as many connections as it may have; if it is a proxy, [gateway] proxies should name it");
        }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, Count>> {
        // Each change under the lock is whole.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some((places, client)) = &self.from else {
            return;
        };
        let mut taken = places.taken();
        if let Some(count) = taken.get_mut(client) {
            count.places = count.places.saturating_sub(1);
            if count.places == 0 {
                taken.remove(client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn places(more: &str) -> Arc<Places> {
        let text = format!("[gateway]\nupstream = \"http://a\"\nconnections_per_client_max = 2\n{more}");
        Places::new(&Config::parse(&text).unwrap().gateway.unwrap().clients)
    }

    fn at(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    #[test]
    fn a_client_has_so_many_places_and_gets_them_back() {
        let places = places("");
        let first = places.take(at("192.0.2.1"));
        let _second = places.take(at("::ffff:192.0.2.1")).unwrap();
        assert!(first.is_some() && places.take(at("192.0.2.1")).is_none());
        assert!(places.take(at("192.0.2.2")).is_some(), "others have their own");
        drop(first);
        assert!(places.take(at("192.0.2.1")).is_some());
        assert_eq!(places.taken().len(), 1, "who has none is forgotten");
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_client_and_a_proxy_is_many() {
        let places = places("proxies = [\"10.0.0.0/8\"]\n");
        let held: Vec<_> = (1..=3)
            .filter_map(|host| places.take(at(&format!("2001:db8:0:1::{host}"))))
            .collect();
        assert_eq!(held.len(), 2);
        let held: Vec<_> = (1..=9).filter_map(|_| places.take(at("10.1.2.3"))).collect();
        assert_eq!(held.len(), 9);
    }
}
