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
//! | `hold`, `settle` | credits held, and settled exactly once |
//! | `journal`, `journal_line` | settlements that the ledger has not taken yet, on disk |
//! | `handed_over` | charges for bodies whose last bytes are leaving, on disk |
//! | `top_up` | units that were delivered beyond those that were held for |
//! | `free_riders` | keys that keep hanging up just before the end |
//! | `once` | results that are paid once |
//! | `limits` | who may ask how often |
//! | `exchange`, `answer` | one request's way, there and back |
//! | `decide`, `forward` | the same decisions and limits for a proxy that forwards by itself |
//! | `headers`, `caller` | what passes, and what is kept of the client |
//! | `upload`, `delivery`, `count`, `json_count`, `idle` | bodies, up and down, counted as they stream |
//! | `seen`, `trace` | what operators see of it: figures, access log, traces |
//! | `upstream` | the data APIs: connections, bounds, whether they can be reached |
//! | `connection`, `lobby`, `http2` | a client's connection: TLS, HTTP/1.1 or HTTP/2, and waiting between requests |
//! | `places` | how many connections each client has |
//! | `line`, `watched`, `parcel`, `stream` | the client's socket and what it takes: when bytes have left, and when it must end |
//! | `bare` | answers to what is no request |

mod admit;
mod answer;
mod bare;
mod caller;
mod connection;
mod count;
mod decide;
mod delivery;
mod exchange;
mod forward;
mod free_riders;
mod handed_over;
mod headers;
mod hold;
mod http2;
mod idle;
mod journal;
mod journal_line;
mod json_count;
mod key;
mod limits;
mod line;
mod lobby;
mod once;
mod parcel;
mod path;
mod places;
mod seen;
mod settle;
mod stream;
mod top_up;
mod trace;
mod upload;
mod upstream;
mod watched;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keyledger_events::KeyPrefix;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::GatewayConfig;
use crate::ledger::Ledger;
use crate::shelf::Shelf;

pub(crate) use caller::address_said;
use connection::Connection;
pub(crate) use decide::{Asked, Delivered, release_for};
use exchange::Shared;
pub use forward::ForwardAuth;
pub(crate) use forward::{Admission, Quotas};
use hold::Settler;
use journal::Journal;
pub use journal::JournalError;
use limits::Limits;
use places::Places;
pub(crate) use top_up::tell as tell_of_more;
use upstream::Upstreams;

/// What a gateway is made of.
#[derive(Debug, Clone)]
pub struct GatewayOptions {
    pub ledger: Ledger,
    pub prices: Shelf,
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
        let free_riders = options.config.free_riders;
        let signals = Arc::clone(options.ledger.key_signals());
        let shared = Shared {
            limits: Arc::new(Limits::new(options.config.rate_limits, signals)),
            prices: options.prices,
            upstreams: Upstreams::new(options.config.upstreams.clone()),
            config: options.config,
            key_prefix: options.key_prefix,
            settler: Arc::new(Settler::new(options.ledger, free_riders)),
        };
        Gateway {
            shared: Arc::new(shared),
        }
    }

    /// Keeps settlements that the ledger does not take at once in this directory, and goes on with those that are there.
    /// Before `serve`, and once. The directory belongs to this process until the gateway is gone.
    pub fn keep_settlements(&self, directory: &Path) -> Result<(), JournalError> {
        let (journal, left) = Journal::open(directory)?;
        self.shared.settler.keep(journal, left);
        Ok(())
    }

    /// Serves until `stop` is cancelled, then lets answers under way end and settles what is left, for 10 s each. The
    /// ledger has to outlive this.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(self.shared.config.clients.connections_max));
        let places = Places::new(&self.shared.config.clients);
        let connections = TaskTracker::new();
        let give_up = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = accept(&listener, &room) => accepted,
            };
            match accepted {
                Ok((socket, peer, room)) => {
                    let Some(place) = places.take(peer.ip()) else {
                        continue;
                    };
                    let connection = Connection {
                        shared: Arc::clone(&self.shared),
                        tasks: connections.clone(),
                        stop: stop.clone(),
                        give_up: give_up.clone(),
                    };
                    connections.spawn(async move {
                        connection.serve(socket, peer).await;
                        drop((room, place));
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
