//! Both servers at once, kept up until they are shut down.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::error::LocalError;
use super::nats::{NatsOptions, PrivateNats};
use super::postgres::{PostgresOptions, PrivatePostgres};

#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// Holds `postgres` and `nats`, each a server's own directory.
    pub data_dir: PathBuf,
    /// False for throw-away data: Postgres then trades safety for speed.
    pub durable: bool,
}

/// A private Postgres and a private NATS server. Either is started again when it dies by itself.
///
/// Dropping it asks both to end; `shutdown` also waits for it.
#[derive(Debug)]
pub struct LocalServers {
    postgres: Arc<PrivatePostgres>,
    nats: Arc<PrivateNats>,
    watchers: JoinSet<()>,
}

impl LocalServers {
    /// Starts both side by side; if one fails, the other is stopped.
    pub async fn start(options: LocalOptions) -> Result<LocalServers, LocalError> {
        let postgres = PostgresOptions {
            dir: options.data_dir.join("postgres"),
            durable: options.durable,
            port: None,
            slow_disk: None,
            settings: Vec::new(),
        };
        let nats = NatsOptions {
            dir: options.data_dir.join("nats"),
            port: None,
            binary: None,
        };
        let (postgres, nats) = match tokio::join!(PrivatePostgres::start(postgres), PrivateNats::start(nats)) {
            (Ok(postgres), Ok(nats)) => (Arc::new(postgres), Arc::new(nats)),
            (Ok(postgres), Err(error)) => {
                postgres.stop().await;
                return Err(error);
            }
            (Err(error), Ok(nats)) => {
                nats.stop().await;
                return Err(error);
            }
            (Err(error), Err(_)) => return Err(error),
        };
        let mut watchers = JoinSet::new();
        watchers.spawn(Arc::clone(&postgres).keep_up());
        watchers.spawn(Arc::clone(&nats).keep_up());
        Ok(LocalServers {
            postgres,
            nats,
            watchers,
        })
    }

    pub fn postgres_url(&self) -> String {
        self.postgres.url()
    }

    pub fn nats_url(&self) -> String {
        self.nats.url()
    }

    pub fn postgres(&self) -> &Arc<PrivatePostgres> {
        &self.postgres
    }

    pub fn nats(&self) -> &Arc<PrivateNats> {
        &self.nats
    }

    /// Stops both and waits until they are gone, 13 s at most.
    pub async fn shutdown(mut self) {
        self.watchers.shutdown().await;
        tokio::join!(self.postgres.stop(), self.nats.stop());
    }
}
