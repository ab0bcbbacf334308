//! Where measurements run: a private Postgres that really writes to disk, or a database that was given.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use keyledger::local::{NatsOptions, PostgresOptions, PrivateNats, PrivatePostgres, default_data_dir};
use sqlx::{Connection as _, Executor as _, PgConnection};

/// Settings of a database server as somebody gives it who cares. None of them trades safety.
const SETTINGS: [(&str, &str); 4] = [
    ("shared_buffers", "1GB"),
    ("max_wal_size", "8GB"),
    ("min_wal_size", "1GB"),
    ("checkpoint_timeout", "15min"),
];

/// As many segments of 16 MiB as the server keeps to use again.
const WAL_SEGMENTS: usize = 64;

#[derive(Debug)]
pub struct Ground {
    postgres: Postgres,
    nats: Option<PrivateNats>,
    databases: u32,
}

#[derive(Debug)]
enum Postgres {
    Private {
        server: Box<PrivatePostgres>,
        directory: PathBuf,
    },
    Given {
        database_url: String,
    },
}

impl Ground {
    /// Takes what was given, or starts a server of its own in a directory that is empty before and gone afterwards.
    pub async fn prepare(database_url: Option<String>) -> anyhow::Result<Ground> {
        Ground::prepare_on(database_url, None).await
    }

    /// The same, each wait for the disk so much longer. Only a server of our own can be slowed down.
    pub async fn prepare_on(database_url: Option<String>, slow_disk: Option<Duration>) -> anyhow::Result<Ground> {
        anyhow::ensure!(
            database_url.is_none() || slow_disk.is_none(),
            "the disk of a server that is not ours cannot be slowed down"
        );
        let postgres = match database_url {
            Some(database_url) => Postgres::Given { database_url },
            None => {
                let directory = scratch(if slow_disk.is_some() { "bench-slow" } else { "bench" })?;
                let options = PostgresOptions {
                    dir: directory.clone(),
                    durable: true,
                    port: None,
                    slow_disk,
                    settings: SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
                };
                let server = Box::new(PrivatePostgres::start(options).await?);
                run_in(&server.url()).await?;
                Postgres::Private { server, directory }
            }
        };
        Ok(Ground {
            postgres,
            nats: None,
            databases: 0,
        })
    }

    /// A migrated database: on a server of our own a new one each time.
    pub async fn database(&mut self) -> anyhow::Result<String> {
        let url = match &self.postgres {
            Postgres::Given { database_url } => database_url.clone(),
            Postgres::Private { server, .. } => {
                self.databases += 1;
                let server = server.url();
                let (base, rest) = server.rsplit_once('/').context("a URL without a database")?;
                let (_, options) = rest.split_once('?').context("a URL without options")?;
                let name = format!("bench_{}", self.databases);
                let mut connection = PgConnection::connect(&server).await?;
                if self.databases > 1 {
                    let last = format!("drop database if exists bench_{} with (force)", self.databases - 1);
                    connection.execute(sqlx::AssertSqlSafe(last)).await?;
                }
                connection
                    .execute(sqlx::AssertSqlSafe(format!("create database {name}")))
                    .await?;
                // So that what was written before is no part of what is measured next.
                connection.execute("checkpoint").await?;
                format!("{base}/{name}?{options}")
            }
        };
        keyledger::migrate::migrate(&url).await?;
        Ok(url)
    }

    /// A NATS server with an empty store.
    pub async fn nats(&mut self) -> anyhow::Result<String> {
        self.stop_nats().await?;
        let options = NatsOptions {
            dir: scratch("bench-nats")?,
            port: None,
            binary: None,
        };
        let server = self.nats.insert(PrivateNats::start(options).await?);
        Ok(server.url())
    }

    async fn stop_nats(&mut self) -> anyhow::Result<()> {
        if let Some(server) = self.nats.take() {
            server.stop().await;
            drop(server);
            scratch("bench-nats")?;
        }
        Ok(())
    }

    /// The server's process, where it is ours.
    pub fn pid(&self) -> Option<u32> {
        match &self.postgres {
            Postgres::Private { server, .. } => server.pid(),
            Postgres::Given { .. } => None,
        }
    }

    pub async fn leave(mut self) -> anyhow::Result<()> {
        self.stop_nats().await?;
        if let Postgres::Private { server, directory } = self.postgres {
            server.stop().await;
            drop(server);
            remove(&directory)?;
        }
        Ok(())
    }
}

/// Brings a new server to where one is that has run for a while: it writes the WAL into segments that were there before. A new one
/// has to make each, which all appends wait for: tens of milliseconds, several times a second.
async fn run_in(url: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    for _ in 0..WAL_SEGMENTS {
        // A segment with nothing in it is not left.
        connection
            .execute("select pg_logical_emit_message(false, 'bench', '')")
            .await?;
        connection.execute("select pg_switch_wal()").await?;
    }
    connection.execute("checkpoint").await?;
    Ok(())
}

/// A directory beside the data of `keyledger dev`, empty.
pub fn scratch(name: &str) -> anyhow::Result<PathBuf> {
    let directory = default_data_dir()?.with_file_name(name);
    remove(&directory)?;
    Ok(directory)
}

pub fn remove(directory: &std::path::Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}
