//! The gateway: a reverse proxy in front of a data API that checks keys, holds credits, and charges what was delivered.
//!
//! In: HTTP/1.1 and HTTP/2 requests with an API key, with TLS or without. Out: the upstream's answers, and settled holds.
//!
//! Promise: data that did not arrive whole is not charged; without the ledger nothing is forwarded; the upstream never
//! sees an API key, and believes no client about who it is.
//!
//! Not here: the rules about credits, and certificates (the config file's).
//!
//! | file | does |
//! | --- | --- |
//! | `admit`, `key`, `path` | refuse what needs no ledger to be refused |
//! | `hold` | credits held, and settled exactly once |
//! | `exchange` | one request's way |
//! | `headers`, `caller` | what passes, and what is kept of the client |
//! | `upload`, `delivery`, `count`, `json_count`, `idle` | bodies, up and down, counted as they stream |
//! | `upstream`, `connector` | the data APIs: connections, bounds, whether they can be reached |
//! | `connection` | a client's connection: TLS, HTTP/1.1 or HTTP/2 |
//! | `line`, `parcel` | the client's socket and what it takes: when bytes have left, and when it must end |

mod admit;
mod caller;
mod connection;
mod connector;
mod count;
mod delivery;
mod exchange;
mod headers;
mod hold;
mod idle;
mod json_count;
mod key;
mod line;
mod parcel;
mod path;
mod upload;
mod upstream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keyledger_events::KeyPrefix;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::GatewayConfig;
use crate::ledger::Ledger;
use crate::prices::PriceBook;

use connection::Connection;
use exchange::Shared;
use hold::Settler;
use upstream::Upstreams;

/// What a gateway is made of.
#[derive(Debug, Clone)]
pub struct GatewayOptions {
    pub ledger: Ledger,
    pub prices: Arc<PriceBook>,
    pub config: GatewayConfig,
    pub key_prefix: KeyPrefix,
}

/// A gateway that is ready to serve.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
}

/// At the end: for answers under way, and after that for settlements.
const PATIENCE_AT_END: Duration = Duration::from_secs(10);
/// When the process is out of sockets, trying again at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Gateway {
    /// Makes a gateway. Has to be called within a runtime, in which its settlements will run.
    pub fn new(options: GatewayOptions) -> Gateway {
        let shared = Shared {
            prices: options.prices,
            upstreams: Upstreams::new(options.config.upstreams.clone()),
            config: options.config,
            key_prefix: options.key_prefix,
            settler: Arc::new(Settler::new(options.ledger)),
        };
        Gateway {
            shared: Arc::new(shared),
        }
    }

    /// Serves until `stop` is cancelled, then lets answers under way end and settles what is left, for 10 s each. The
    /// ledger has to outlive this.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(self.shared.config.connections_max));
        let connections = TaskTracker::new();
        let give_up = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = accept(&listener, &room) => accepted,
            };
            match accepted {
                Ok((socket, peer, place)) => {
                    let connection = Connection {
                        shared: Arc::clone(&self.shared),
                        tasks: connections.clone(),
                        stop: stop.clone(),
                        give_up: give_up.clone(),
                    };
                    connections.spawn(async move {
                        connection.serve(socket, peer).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        connections.close();
        if tokio::time::timeout(PATIENCE_AT_END, connections.wait()).await.is_err() {
            give_up.cancel();
            connections.wait().await;
        }
        self.shared.settler.drain(PATIENCE_AT_END).await;
    }
}

/// Waits for room first, so that what cannot be served stays in the kernel's queue and costs nothing here.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (socket, peer) = listener.accept().await?;
    Ok((socket, peer, place))
}
