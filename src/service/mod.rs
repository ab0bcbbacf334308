//! The service: every room put together in one process, each role by itself if so wished.
//!
//! In: where Postgres and NATS are, the price book, where to listen. Out: running roles, and one way to stop them.
//!
//! Promise: what is started here is stopped here, faces first, then the lead, then the writer, so that no answered command is lost and
//! no waiting one is left without an answer.

mod denials;
mod halts;
mod health;
mod lookout;
mod sealing;
mod sweeper;
mod upkeep;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keyledger_events::Shard;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::audit::sealer::SealerHandle;
use crate::audit::tree::{TileStore, Tree};
use crate::bus::Bus;
use crate::config::{Config, UpstreamNames};
use crate::forward::{self, ForwardOptions};
use crate::gateway::{Gateway, GatewayOptions};
use crate::http;
use crate::ledger::{Ledger, LedgerOptions};
use crate::log::{Log, open_pool, service_options};
use crate::pages::{self, PagesOptions};
use crate::projector::{Projector, ProjectorHandle, ProjectorOptions};
use crate::relay::{Relay, RelayHandle, RelayOptions};
use crate::replay;
use crate::requests::Requests;
use crate::sessions::Sessions;
use crate::shelf::Shelf;
use crate::tokens::Tokens;
use crate::views::Views;
use crate::webhooks::{self, Deliveries, WebhooksOptions};
use health::Parts;
pub use lookout::Watchtower;

/// What a process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    pub api: bool,
    pub gateway: bool,
    pub relay: bool,
    pub projector: bool,
    /// The customer's pages: on the API's listener, where there is one.
    pub pages: bool,
    /// Tells those whom the config file names.
    pub webhooks: bool,
    /// Signs the log, where the config file has a key.
    pub sealer: bool,
}

impl Roles {
    pub const ALL: Roles = Roles {
        api: true,
        gateway: true,
        relay: true,
        projector: true,
        pages: true,
        webhooks: true,
        sealer: true,
    };

    /// Reads `api,gateway,relay,projector,pages,webhooks,sealer`, any of them.
    pub fn parse(text: &str) -> Option<Roles> {
        let mut roles = Roles {
            api: false,
            gateway: false,
            relay: false,
            projector: false,
            pages: false,
            webhooks: false,
            sealer: false,
        };
        for word in text.split(',') {
            match word.trim() {
                "all" => roles = Roles::ALL,
                "api" => roles.api = true,
                "gateway" => roles.gateway = true,
                "relay" => roles.relay = true,
                "projector" => roles.projector = true,
                "pages" => roles.pages = true,
                "webhooks" => roles.webhooks = true,
                "sealer" => roles.sealer = true,
                _ => return None,
            }
        }
        Some(roles)
    }
}

/// Where everything is.
#[derive(Debug)]
pub struct ServiceOptions {
    pub database_url: String,
    pub nats_url: String,
    /// Begins the names of JetStream streams; two installations on one NATS need two.
    pub stream_prefix: String,
    pub config: Config,
    pub api: SocketAddr,
    /// Where health and figures are served by themselves.
    pub health: Option<SocketAddr>,
    pub gateway: SocketAddr,
    pub roles: Roles,
    pub ledger: LedgerOptions,
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    /// Where the API listens, if it has that role.
    pub api: Option<SocketAddr>,
    /// Where `/healthz`, `/readyz` and `/metrics` are, if anywhere.
    pub health: Option<SocketAddr>,
    /// Where the gateway listens, if it has that role.
    pub gateway: Option<SocketAddr>,
    pub ledger: Ledger,
    pub views: Views,
    pub tokens: Tokens,
    faces: CancellationToken,
    forwarding: CancellationToken,
    rest: CancellationToken,
    face_tasks: Vec<JoinHandle<()>>,
    forward: JoinHandle<()>,
    writer: JoinHandle<()>,
    couriers: Vec<JoinHandle<()>>,
    sealer: Option<SealerHandle>,
    _relay: Option<RelayHandle>,
    _projector: Option<ProjectorHandle>,
}

/// Connections: the writer needs two and those who read accounts and write snapshots for it some four, as many again while
/// what they gave up is not ended, and a few those who look where archived events are; the queries more, and slow queries must
/// not starve appends.
const WRITER_CONNECTIONS_MAX: u32 = 14;
const QUERY_CONNECTIONS_MAX: u32 = 16;
const PROJECTOR_CONNECTIONS_MAX: u32 = 8;
const WEBHOOK_CONNECTIONS_MAX: u32 = 3;
/// For what proxies' holds come to, after the last of them was answered.
const SETTLE_AT_END: Duration = Duration::from_secs(10);
/// At the start.
const LOG_ASKED_MAX: Duration = Duration::from_secs(2);
const NOTE_DENIALS: Duration = Duration::from_secs(1);
/// For all that has to end in order: longer than the faces take by themselves, which is answers under way and then settlements, and
/// shorter than the half minute that service managers wait before they kill.
const DRAIN: Duration = Duration::from_secs(27);
/// For each part after the faces in any case: they do not take long, and others wait for the lead.
const DRAIN_AT_LEAST: Duration = Duration::from_millis(500);

impl Service {
    /// Starts the roles. Postgres or NATS being away is no failure: the roles wait for them.
    pub async fn start(options: ServiceOptions, metrics: PrometheusHandle) -> anyhow::Result<Service> {
        let shard = Shard(0);
        // Better no service than one that cannot tell whose names it reads.
        crate::personal::check()?;
        if options.roles.gateway && options.roles != Roles::ALL && options.config.gateway.is_none() {
            anyhow::bail!("the role gateway needs a [gateway] in the config file");
        }
        let database = service_options(&options.database_url)?;
        let queries = open_pool(database.clone(), QUERY_CONNECTIONS_MAX);
        let (faces, rest) = (CancellationToken::new(), CancellationToken::new());
        let writer_log = Log::new(open_pool(database.clone(), WRITER_CONNECTIONS_MAX), shard);
        // What one of them has read of the archive is at hand for all.
        let reading_log = writer_log.through(queries.clone());
        let (ledger, outbox, writer) = Ledger::start_among_others(writer_log, options.ledger, rest.clone());
        let views = Views::new(queries.clone(), shard);
        let tokens = Tokens::new(queries.clone());
        let sessions = Sessions::new(queries.clone(), options.config.pages.lifetimes);

        let bus = Bus::connect(&options.nats_url, &options.stream_prefix).await?;
        let webhook_pool = open_pool(database.clone(), WEBHOOK_CONNECTIONS_MAX);
        let work_pool = open_pool(database, PROJECTOR_CONNECTIONS_MAX);
        let work_log = reading_log.through(work_pool.clone());
        let tree = Tree::new(work_log.clone(), TileStore::new(work_pool.clone(), shard));
        sealing::check_at_start(&options.config.audit, &tree, &bus).await?;
        let sealer = match options.roles.sealer {
            true => sealing::start(
                &options.config.audit,
                tree.clone(),
                bus.clone(),
                ledger.committed(),
                rest.clone(),
            )?,
            false => None,
        };
        let forwarding = CancellationToken::new();
        let forward = ForwardOptions {
            log: work_log.clone(),
            bus: bus.clone(),
            ledger: ledger.clone(),
            outbox,
        };
        let forward = forward::start(forward, forwarding.clone());
        let relay = options.roles.relay.then(|| {
            let committed = Some(ledger.committed());
            Relay::start(
                RelayOptions {
                    log: work_log.clone(),
                    bus: bus.clone(),
                    committed,
                },
                rest.clone(),
            )
        });
        let projector = options.roles.projector.then(|| {
            let pool = work_pool.clone();
            Projector::start(
                ProjectorOptions {
                    log: work_log.clone(),
                    pool,
                    bus: Some(bus.clone()),
                },
                rest.clone(),
            )
        });
        upkeep::start(metrics.clone(), rest.clone());
        halts::start(views.clone(), rest.clone());
        denials::start(ledger.clone(), faces.clone());
        if options.roles.projector {
            sweeper::start(ledger.clone(), views.clone(), tokens.clone(), rest.clone());
            tokio::spawn(replay::keep_marks(work_log.clone(), rest.clone()));
        }

        let receivers = if options.roles.webhooks {
            options.config.webhooks.clone()
        } else {
            Vec::new()
        };
        let webhooks = WebhooksOptions {
            // Of its own: what is told must not wait for what the views and the relay do, nor they for it.
            pool: webhook_pool,
            shard,
            receivers,
            clock: webhooks::wall_clock(),
        };
        let couriers = webhooks::start(webhooks, &rest);

        // Ids are made by the log's time. Where that cannot be asked, nothing can be decided either.
        ledger.knows_time(LOG_ASKED_MAX).await;
        let prices = Shelf::of_file(options.config.prices.clone());
        prices.follow(reading_log.clone(), ledger.key_signals().prices(), rest.clone());
        // Whoever comes first is not to be told that there is no price.
        match tokio::time::timeout(LOG_ASKED_MAX, prices.refresh()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "published prices are not read yet"),
            Err(_) => tracing::warn!("published prices could not be read in time at the start"),
        }
        let mut face_tasks = Vec::new();
        let key_prefix = options.config.key_prefix;
        let upstreams = options.config.gateway.as_ref();
        let upstreams = upstreams.map(|gateway| UpstreamNames::of(&gateway.upstreams));
        let rates = options.config.gateway.as_ref().map(|gateway| gateway.rate_limits);
        let front = match options.config.gateway {
            Some(config) if options.roles.gateway => {
                let journal_dir = config.journal_dir.clone();
                let gateway = Gateway::new(GatewayOptions {
                    ledger: ledger.clone(),
                    prices: prices.clone(),
                    config,
                    key_prefix: key_prefix.clone(),
                });
                Some((gateway, journal_dir))
            }
            Some(_) | None => None,
        };
        let parts = Arc::new(Parts {
            pool: queries.clone(),
            views: views.clone(),
            bus: bus.clone(),
            relay: relay.clone(),
            projector: projector.clone(),
            sealer: sealer.clone(),
        });
        let mut api = None;
        let mut health = None;
        if options.roles.api {
            let listener = TcpListener::bind(options.api).await?;
            api = Some(listener.local_addr()?);
            health = api;
            let config = options.config.forward_auth;
            let forward_auth = match &front {
                Some((gateway, _)) => gateway.forward_auth(config),
                None => http::ForwardAuth::new(&ledger, rates.unwrap_or_default(), config),
            };
            let mut router = http::router(http::Served {
                ledger: ledger.clone(),
                tree: Tree::new(reading_log.clone(), TileStore::new(queries.clone(), shard)),
                log: reading_log.clone(),
                views: views.clone(),
                prices: prices.clone(),
                upstreams,
                tokens: tokens.clone(),
                sessions: sessions.clone(),
                deliveries: Deliveries::new(queries.clone()),
                tail: http::Tail::new(reading_log.clone(), ledger.committed(), faces.clone()),
                requests: Requests::new(queries.clone()),
                pages_url: options.config.pages.public_url.clone(),
                key_prefix: key_prefix.clone(),
                health: parts.clone(),
                metrics: metrics.clone(),
                forward_auth: forward_auth.clone(),
            });
            if options.roles.pages {
                let lookout = Watchtower {
                    log: reading_log.clone(),
                    views: views.clone(),
                    bus: Some(bus),
                    relay: relay.clone(),
                };
                let pages = PagesOptions {
                    ledger: ledger.clone(),
                    tree: Tree::new(reading_log.clone(), TileStore::new(queries.clone(), shard)),
                    log: reading_log,
                    views: views.clone(),
                    prices,
                    sessions,
                    deliveries: Deliveries::new(queries.clone()),
                    key_prefix,
                    config: options.config.pages.clone(),
                    lookout: Arc::new(lookout),
                    stop: faces.clone(),
                };
                router = router.nest("/portal", pages::router(pages));
            }
            let stop = faces.clone();
            face_tasks.push(tokio::spawn(async move {
                http::serve(listener, router, stop).await;
                forward_auth.drain(SETTLE_AT_END).await;
            }));
        }
        if let Some(address) = options.health {
            let listener = TcpListener::bind(address).await?;
            health = Some(listener.local_addr()?);
            let probes = http::probes(parts, metrics);
            face_tasks.push(tokio::spawn(http::serve(listener, probes, faces.clone())));
        }
        let mut gateway = None;
        if let Some((running, journal_dir)) = front {
            let listener = TcpListener::bind(options.gateway).await?;
            gateway = Some(listener.local_addr()?);
            if let Some(directory) = journal_dir {
                running.keep_settlements(&directory)?;
            }
            face_tasks.push(tokio::spawn(running.serve(listener, faces.clone())));
        }
        Ok(Service {
            api,
            health,
            gateway,
            ledger,
            views,
            tokens,
            faces,
            forwarding,
            rest,
            face_tasks,
            forward,
            writer,
            couriers,
            sealer,
            _relay: relay,
            _projector: projector,
        })
    }

    /// How the log is sealed, where this process does it.
    pub fn sealer(&self) -> Option<&SealerHandle> {
        self.sealer.as_ref()
    }

    /// Stops taking requests, lets those under way end, and then stops the rest.
    pub async fn stop(self) {
        self.faces.cancel();
        let end = Instant::now() + DRAIN;
        let left = || (end - Instant::now()).max(DRAIN_AT_LEAST);
        for task in self.face_tasks {
            if tokio::time::timeout_at(end, task).await.is_err() {
                tracing::warn!("requests were still under way when the time to stop was over");
            }
        }
        // What was refused in the last minute, where it can be written down at once.
        let _ = tokio::time::timeout(NOTE_DENIALS, self.ledger.note_denials()).await;
        // The lead is given up while this process can still decide what came.
        self.forwarding.cancel();
        if tokio::time::timeout(left(), self.forward).await.is_err() {
            tracing::warn!("the lead was not given up when the time to stop was over");
        }
        self.rest.cancel();
        drop(self.ledger);
        let couriers = tokio::time::timeout(left(), futures_util::future::join_all(self.couriers));
        let (couriers, writer) = tokio::join!(couriers, tokio::time::timeout(left(), self.writer));
        if couriers.is_err() {
            tracing::warn!("webhooks were still under way when the time to stop was over");
        }
        if writer.is_err() {
            tracing::warn!("commands were still waiting when the time to stop was over");
        }
    }
}
