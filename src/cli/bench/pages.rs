//! `keyledger bench pages`.

use std::time::Duration;

use clap::Args;
use keyledger::bench::{PagesBench, pages};
use keyledger::config::Config;
use keyledger::ledger::{LedgerOptions, Limits};
use keyledger::local::{LocalOptions, LocalServers};
use keyledger::service::{Roles, Service, ServiceOptions};

use super::ground::{remove, scratch};
use super::single::check;
use super::table::{head, line};
use crate::cli::telemetry;

#[derive(Debug, Args)]
pub struct PagesArgs {
    /// Keys of the account
    #[arg(long, default_value_t = 10_000)]
    keys: u64,
    /// Events of the account, those of its keys among them
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Visitors at once
    #[arg(long, default_value_t = 2)]
    visitors: usize,
    /// How long each page is measured
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

pub async fn run(asked: PagesArgs) -> anyhow::Result<()> {
    let directory = scratch("bench-pages")?;
    let servers = LocalServers::start(LocalOptions {
        data_dir: directory.clone(),
        durable: true,
    })
    .await?;
    let measured = measure(&servers, &asked).await;
    servers.shutdown().await;
    remove(&directory)?;
    measured
}

async fn measure(servers: &LocalServers, asked: &PagesArgs) -> anyhow::Result<()> {
    let database_url = servers.postgres_url();
    keyledger::migrate::migrate(&database_url).await?;
    let config = Config::parse("").map_err(|complaints| anyhow::anyhow!("{complaints:?}"))?;
    let limits = Limits {
        keys_per_account_max: u32::try_from(asked.keys)?.saturating_add(1),
        ..Limits::default()
    };
    let options = ServiceOptions {
        database_url: database_url.clone(),
        nats_url: servers.nats_url(),
        stream_prefix: "BENCH".to_owned(),
        config,
        api: ([127, 0, 0, 1], 0).into(),
        health: None,
        gateway: ([127, 0, 0, 1], 0).into(),
        roles: Roles::ALL,
        ledger: LedgerOptions {
            limits,
            account_bytes_max: 1 << 30,
            ..LedgerOptions::default()
        },
    };
    let service = Service::start(options, telemetry::metrics()?).await?;
    let bench = PagesBench {
        database_url: database_url.clone(),
        keys: asked.keys,
        events: asked.events,
        visitors: asked.visitors.max(1),
        each: Duration::from_secs(asked.seconds.max(1)),
    };
    head();
    let measured = pages(&service, bench, line).await;
    service.stop().await;
    measured?;
    check(&database_url).await
}
