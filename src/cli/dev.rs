//! `keyledger dev`: everything on this machine with one command, with a demo customer and a demo data API.

mod demo;
mod ready;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use demo_data_api::DemoOptions;
use keyledger::config::Config;
use keyledger::ledger::LedgerOptions;
use keyledger::local::{LocalOptions, LocalServers, default_data_dir};
use keyledger::service::{Roles, Service, ServiceOptions};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use demo::Demo;
use ready::Ready;

#[derive(Debug, Args)]
pub struct Dev {
    /// Where Postgres and NATS keep their data [default: .keyledger/data]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Where the API listens; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where the gateway listens; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:8081")]
    gateway: SocketAddr,
    /// Write where everything is, and the demo's secrets, as JSON to this file when all is ready
    #[arg(long)]
    ready_file: Option<PathBuf>,
    /// Put the gateway before another data API, with its own prices, instead of the demo
    #[arg(long)]
    config: Option<PathBuf>,
}

/// What the checkpoints of a log on this machine are called.
const SEALED_AS: &str = "keyledger.localhost";
/// The demo's prices are the ones that the customers' help page names.
const DEMO_CONFIG: &str = include_str!("../../examples/keyledger.toml");

pub async fn run(dev: Dev) -> anyhow::Result<()> {
    let told = super::signals::told_to_stop()?;
    let data_dir = match &dev.data_dir {
        Some(directory) => directory.clone(),
        None => default_data_dir()?,
    };
    // A file of an earlier start would make a script go on before anything is ready.
    dev.ready_file.as_deref().map_or(Ok(()), super::ready_file::remove)?;
    eprintln!("starting Postgres and NATS in {}", data_dir.display());
    let starting = LocalServers::start(LocalOptions {
        data_dir: data_dir.clone(),
        durable: true,
    });
    let Some(servers) = told.run_until_cancelled(starting).await else {
        return Ok(());
    };
    let servers = servers?;
    let stop_demo = CancellationToken::new();
    let outcome = match told
        .run_until_cancelled(start(&dev, &data_dir, &servers, &stop_demo))
        .await
    {
        None => Ok(()),
        Some(Err(error)) => Err(error),
        Some(Ok(service)) => {
            told.cancelled().await;
            eprintln!("\nstopping");
            service.stop().await;
            Ok(())
        }
    };
    stop_demo.cancel();
    servers.shutdown().await;
    outcome
}

/// Starts every role and the demo, and says where they are.
async fn start(
    dev: &Dev,
    data_dir: &Path,
    servers: &LocalServers,
    stop_demo: &CancellationToken,
) -> anyhow::Result<Service> {
    let database_url = servers.postgres_url();
    keyledger::migrate::migrate(&database_url).await?;
    let mut config = match &dev.config {
        Some(path) => super::config::read(path)?,
        None => demo_config(dev.gateway, stop_demo).await?,
    };
    if let Some(gateway) = &mut config.gateway {
        gateway.journal_dir.get_or_insert_with(|| data_dir.join("settlements"));
    }
    if config.audit.keys.is_empty() {
        let key = super::audit::read_or_make(&data_dir.join("audit.key"), SEALED_AS)?;
        config.audit.keys = std::sync::Arc::new(vec![key]);
        config.audit.state_dir = Some(data_dir.to_owned());
    }
    super::sockets::take_all(&config);
    let service = Service::start(
        ServiceOptions {
            database_url,
            nats_url: servers.nats_url(),
            stream_prefix: "KEYLEDGER".to_owned(),
            config,
            api: dev.http,
            health: None,
            gateway: dev.gateway,
            roles: Roles::ALL,
            ledger: LedgerOptions::default(),
        },
        super::telemetry::metrics()?,
    )
    .await
    .context("the service does not start; if an address is taken, see --http and --gateway")?;
    let demo = Demo::open(&service, data_dir)
        .await
        .context("the demo customer cannot be set up")?;
    let ready = Ready::new(&service, servers, demo)?;
    if let Some(path) = &dev.ready_file {
        super::ready_file::write(path, &ready)?;
    }
    ready.tell(dev.config.is_none());
    Ok(service)
}

/// Starts the demo data API, and gives the prices that the help page names with the gateway before it.
async fn demo_config(gateway: SocketAddr, stop_demo: &CancellationToken) -> anyhow::Result<Config> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let upstream = format!("http://{}", listener.local_addr()?);
    tokio::spawn(demo_data_api::serve(
        listener,
        DemoOptions::default(),
        stop_demo.clone().cancelled_owned(),
    ));
    let mut config = super::config::parse(&DEMO_CONFIG.replace("http://127.0.0.1:9000", &upstream))?;
    // What the pages show to copy works here; a port that is not known yet cannot be shown.
    if gateway.port() != 0 {
        config.pages.example_url = format!("http://{gateway}/serp?q=rust");
    }
    Ok(config)
}
