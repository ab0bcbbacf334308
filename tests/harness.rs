//! A fresh database for every test, cloned from one migrated template, on the servers that `make test` started.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use keyledger::audit::tree::{TileStore, Tree};
use keyledger::bus::Bus;
use keyledger::ledger::{Ledger, LedgerOptions};
use keyledger::log::{Log, open_pool, service_options};
use keyledger::tokens::{Role, TokenSecret, Tokens};
use keyledger::views::Views;
use keyledger_events::{Shard, TokenId};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, PgPool};
use tokio_util::sync::CancellationToken;

/// One test's own database and bus prefix.
pub struct Harness {
    pub name: String,
    owner_url: String,
    nats_url: String,
    service_pool: PgPool,
    pub stop: CancellationToken,
}

const HOW: &str = "this test needs private servers: run it with `make test`";

fn url(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{HOW} ({variable} is not set)"))
}

/// The same servers, another database.
fn with_database(server_url: &str, database: &str) -> String {
    let (base, options) = server_url
        .split_once('?')
        .map_or((server_url, ""), |(base, options)| (base, options));
    let (server, _) = base.rsplit_once('/').expect("a database URL names a database");
    format!("{server}/{database}?{options}")
}

/// A name that no other test has.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}{:020x}", keyledger::clock::random_id_bits() >> 48)
}

/// An address at which nobody listens, now or later, but whom this test starts there: every test is a process and has a
/// loopback address of its own. At 127.0.0.1 the port could be drawn by another test a moment later.
pub fn nobody() -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    // A process id has at most 22 bits; the first of the octets keeps this apart from 127.0.0.1.
    let own = Ipv4Addr::new(127, 64 | high, middle, low);
    let listener = TcpListener::bind((own, 0)).expect("all of 127.0.0.0/8 is this machine");
    listener.local_addr().expect("it is bound")
}

impl Harness {
    pub async fn start() -> Harness {
        let server_url = url("DATABASE_URL");
        let name = unique("t");
        let mut server = PgConnection::connect(&server_url)
            .await
            .unwrap_or_else(|error| panic!("{HOW}: {error}"));
        let template = template(&mut server, &server_url).await;
        let clone = format!("create database {name} template {template} strategy file_copy");
        sqlx::query(AssertSqlSafe(clone)).execute(&mut server).await.unwrap();
        server.close().await.unwrap();
        let owner_url = with_database(&server_url, &name);
        Harness::on(name, owner_url, url("NATS_URL"))
    }

    /// On servers of the test's own, which it may kill. The database is migrated already.
    pub fn on(name: String, owner_url: String, nats_url: String) -> Harness {
        let service_pool = open_pool(service_options(&owner_url).unwrap(), 8);
        Harness {
            name,
            owner_url,
            nats_url,
            service_pool,
            stop: CancellationToken::new(),
        }
    }

    /// Another process on the same servers: nothing of the first one's memory.
    pub fn another(&self) -> Harness {
        Harness::on(self.name.clone(), self.owner_url.clone(), self.nats_url.clone())
    }

    /// Sends what is asked through [`Harness::service_pool`] by another wire to Postgres, over as many connections as the
    /// service has.
    pub fn by_wire(mut self, wire: SocketAddr) -> Harness {
        let options = service_options(&self.owner_url).unwrap();
        let options = options.host(&wire.ip().to_string()).port(wire.port());
        self.service_pool = open_pool(options, 16);
        self
    }

    /// Where Postgres listens.
    pub fn postgres(&self) -> SocketAddr {
        let options = service_options(&self.owner_url).unwrap();
        SocketAddr::new(options.get_host().parse().unwrap(), options.get_port())
    }

    /// The database, as its owner.
    pub fn owner_url(&self) -> &str {
        &self.owner_url
    }

    /// The shared NATS, under this test's own prefix.
    pub async fn bus(&self) -> Bus {
        Bus::connect(&self.nats_url, &self.name).await.unwrap()
    }

    pub fn views(&self) -> Views {
        Views::new(self.service_pool(), Shard(0))
    }

    /// A pool of the role that the service works under.
    pub fn service_pool(&self) -> PgPool {
        self.service_pool.clone()
    }

    /// A pool of its own, as another process would have.
    pub fn another_pool(&self) -> PgPool {
        open_pool(service_options(&self.owner_url).unwrap(), 8)
    }

    pub async fn owner(&self) -> PgConnection {
        PgConnection::connect(&self.owner_url).await.unwrap()
    }

    /// Ends every connection to the database, and lets none in any more.
    pub async fn close_database(&self) {
        let mut server = PgConnection::connect(&url("DATABASE_URL")).await.unwrap();
        let name = &self.name;
        let close = format!("alter database {name} allow_connections false");
        sqlx::query(AssertSqlSafe(close)).execute(&mut server).await.unwrap();
        sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
            .bind(name)
            .execute(&mut server)
            .await
            .unwrap();
    }

    pub fn log(&self) -> Log {
        Log::new(self.service_pool(), Shard(0))
    }

    /// What is sealed of the log.
    pub fn tree(&self) -> Tree {
        Tree::new(self.log(), TileStore::new(self.service_pool(), Shard(0)))
    }

    /// A writer as another process would have: its own pool, its own memory.
    pub fn ledger(&self) -> Ledger {
        let log = Log::new(self.another_pool(), Shard(0));
        Ledger::start(log, LedgerOptions::default(), self.stop.clone()).0
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Access tokens as there were before the log told of tokens: rows alone. So the log of a test begins with what the test does.
pub struct EarlierTokens {
    tokens: Tokens,
    pool: PgPool,
}

impl EarlierTokens {
    pub fn new(pool: PgPool) -> EarlierTokens {
        EarlierTokens {
            tokens: Tokens::new(pool.clone()),
            pool,
        }
    }

    pub async fn create(&self, role: Role, name: &str) -> Result<(TokenId, TokenSecret), sqlx::Error> {
        let token = keyledger::clock::fresh_token_id();
        let secret = TokenSecret::from_random(keyledger::clock::random_secret_bits());
        sqlx::query(
            "insert into access_tokens (token_id, digest, role, name, created_at) values ($1, $2, $3, $4, now())",
        )
        .bind(sqlx::types::Uuid::from_bytes(token.to_bytes()))
        .bind(secret.digest().as_bytes().as_slice())
        .bind(role.as_str())
        .bind(name)
        .execute(&self.pool)
        .await?;
        Ok((token, secret))
    }
}

impl std::ops::Deref for EarlierTokens {
    type Target = Tokens;

    fn deref(&self) -> &Tokens {
        &self.tokens
    }
}

/// The template of this version's migrations: made once a cluster, by whichever test comes first.
async fn template(server: &mut PgConnection, server_url: &str) -> String {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
    let mut texts: Vec<String> = files
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    texts.sort();
    let hash = keyledger_events::KeyDigest::of(&texts.concat()).to_string();
    let name = format!("template_{}", &hash[..16]);
    // Held until the connection says otherwise: the first test migrates, the others wait for it.
    sqlx::query("select pg_advisory_lock(7)")
        .execute(&mut *server)
        .await
        .unwrap();
    let made = sqlx::query("select 1 from pg_database where datname = $1 and not datallowconn").bind(&name);
    if made.fetch_optional(&mut *server).await.unwrap().is_none() {
        for statement in [
            format!("drop database if exists {name}"),
            format!("create database {name}"),
        ] {
            sqlx::query(AssertSqlSafe(statement))
                .execute(&mut *server)
                .await
                .unwrap();
        }
        keyledger::migrate::migrate(&with_database(server_url, &name))
            .await
            .unwrap();
        let close = format!("alter database {name} allow_connections false");
        sqlx::query(AssertSqlSafe(close)).execute(&mut *server).await.unwrap();
    }
    sqlx::query("select pg_advisory_unlock(7)")
        .execute(&mut *server)
        .await
        .unwrap();
    name
}

/// Waits until something is so, and says what was waited for when it never is.
pub async fn until<F: AsyncFnMut() -> bool>(what: &str, mut so: F) {
    for _ in 0..600 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited 30 s in vain until {what}");
}

/// For connections with the role but without a pool.
pub fn service_role(owner_url: &str) -> PgConnectOptions {
    service_options(owner_url).unwrap()
}
