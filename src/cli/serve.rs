//! `keyledger serve`: the service against a Postgres and a NATS that are there already.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use keyledger::ledger::LedgerOptions;
use keyledger::service::{Roles, Service, ServiceOptions};

#[derive(Debug, Args)]
pub struct Serve {
    /// The database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// The NATS server, with JetStream on
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    nats_url: String,
    /// The gateway's upstream and the prices, TOML
    #[arg(long, env = "KEYLEDGER_CONFIG")]
    config: PathBuf,
    /// Where settlements are kept that the ledger does not take at once; over the file's `journal_dir`
    #[arg(long, env = "KEYLEDGER_JOURNAL_DIR")]
    journal_dir: Option<PathBuf>,
    /// Where the API listens
    #[arg(long, env = "KEYLEDGER_LISTEN", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where `/healthz`, `/readyz` and `/metrics` are served by themselves, for a process without the role api; the API has them too
    #[arg(long, env = "KEYLEDGER_HEALTH_LISTEN")]
    health: Option<SocketAddr>,
    /// Where the gateway listens
    #[arg(long, env = "KEYLEDGER_GATEWAY_LISTEN", default_value = "127.0.0.1:8081")]
    gateway: SocketAddr,
    /// What this process does: api, gateway, relay, projector, pages (beside api), webhooks, sealer, or all
    #[arg(long, env = "KEYLEDGER_ROLES", default_value = "all", value_parser = roles)]
    roles: Roles,
    /// Begins the names of JetStream streams
    #[arg(long, env = "KEYLEDGER_STREAM_PREFIX", default_value = "KEYLEDGER")]
    stream_prefix: String,
    /// Write `{"api","gateway","health"}` as JSON to this file when all listen
    #[arg(long)]
    ready_file: Option<PathBuf>,
}

fn roles(text: &str) -> Result<Roles, String> {
    Roles::parse(text)
        .ok_or_else(|| "a list of api, gateway, relay, projector, pages, webhooks, sealer; or all".to_owned())
}

pub async fn run(serve: Serve) -> anyhow::Result<()> {
    let told = super::signals::told_to_stop()?;
    serve.ready_file.as_deref().map_or(Ok(()), super::ready_file::remove)?;
    let mut config = super::config::read(&serve.config)?;
    if let (Some(gateway), Some(directory)) = (&mut config.gateway, serve.journal_dir) {
        gateway.journal_dir = Some(directory);
    }
    super::sockets::take_all(&config);
    let metrics = super::telemetry::metrics()?;
    let service = Service::start(
        ServiceOptions {
            database_url: serve.database_url,
            nats_url: serve.nats_url,
            stream_prefix: serve.stream_prefix,
            config,
            api: serve.http,
            health: serve.health,
            gateway: serve.gateway,
            roles: serve.roles,
            ledger: LedgerOptions::default(),
        },
        metrics,
    )
    .await?;
    if let Some(api) = service.api {
        tracing::info!(%api, "the API listens");
    }
    if let Some(health) = service.health.filter(|health| Some(*health) != service.api) {
        tracing::info!(%health, "health and figures are served");
    }
    if let Some(gateway) = service.gateway {
        tracing::info!(%gateway, "the gateway listens");
    }
    if let Some(path) = &serve.ready_file {
        let url = |address: Option<SocketAddr>| address.map(|address| format!("http://{address}"));
        super::ready_file::write(
            path,
            &serde_json::json!({
                "api": url(service.api),
                "gateway": url(service.gateway),
                "health": url(service.health),
            }),
        )?;
    }
    told.cancelled().await;
    tracing::info!("stopping");
    service.stop().await;
    Ok(())
}
