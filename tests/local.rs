//! Private servers: what a developer's or a test's servers survive, and that nothing survives them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod command;

use keyledger::local::{
    LocalError, LocalOptions, LocalServers, NatsOptions, PostgresOptions, PrivateNats, PrivatePostgres,
};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

#[tokio::test]
async fn a_fresh_directory_becomes_a_database_that_answers() {
    let dir = dir();
    let postgres = start_postgres(dir.path(), false).await;
    assert_eq!(ask(&postgres.url(), "select 1").await, 1);
    assert_eq!(
        ask(
            &postgres.url(),
            "select count(*)::int from pg_settings where name = 'fsync' and setting = 'off'"
        )
        .await,
        1
    );
    postgres.stop().await;
    assert_eq!(postgres.pid(), None);
}

#[tokio::test]
async fn the_url_stays_the_same_from_run_to_run() {
    let dir = dir();
    let first = start_postgres(dir.path(), false).await;
    let url = first.url();
    tell(&url, "create table kept (n int)").await;
    first.stop().await;
    drop(first);

    let second = start_postgres(dir.path(), false).await;
    assert_eq!(second.url(), url);
    assert_eq!(ask(&url, "select count(*)::int from kept").await, 0);
}

#[tokio::test]
async fn psql_takes_the_url() {
    let dir = dir();
    let postgres = start_postgres(dir.path(), false).await;
    let output = std::process::Command::new("psql")
        .args(["-At", "-c", "select 7", "-d", &postgres.url()])
        .output();
    assert_eq!(String::from_utf8_lossy(&output.unwrap().stdout), "7\n");
}

#[tokio::test]
async fn a_directory_in_use_is_refused_in_one_sentence() {
    let dir = dir();
    let _first = start_postgres(dir.path(), false).await;
    let second = PrivatePostgres::start(postgres_options(dir.path(), false))
        .await
        .unwrap_err();
    assert!(matches!(second, LocalError::InUse { .. }));
    assert!(second.to_string().ends_with(
        "postgres is in use by another running keyledger: stop that one first, or choose another directory"
    ));
}

#[tokio::test]
async fn a_cluster_of_another_version_is_refused_and_left_alone() {
    let dir = dir();
    start_postgres(dir.path(), false).await.stop().await;
    let version = dir.path().join("postgres/cluster/PG_VERSION");
    fs::write(&version, "9\n").unwrap();
    let refused = PrivatePostgres::start(postgres_options(dir.path(), false))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, LocalError::OtherVersion { found: 9, .. }),
        "{refused}"
    );
    assert_eq!(fs::read_to_string(version).unwrap(), "9\n");
}

#[tokio::test]
async fn an_initdb_that_was_cut_short_is_not_taken_for_a_cluster() {
    let dir = dir();
    fs::create_dir_all(dir.path().join("postgres/cluster.new/base")).unwrap();
    fs::write(dir.path().join("postgres/cluster.new/PG_VERSION"), "15\n").unwrap();
    let postgres = start_postgres(dir.path(), false).await;
    assert_eq!(ask(&postgres.url(), "select 1").await, 1);
}

#[tokio::test]
async fn a_wrong_password_is_not_let_in() {
    let dir = dir();
    let postgres = start_postgres(dir.path(), false).await;
    let (before, after) = postgres
        .url()
        .split_once('@')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let forged = format!("{}x@{after}", before);
    assert!(PgConnection::connect(&forged).await.is_err());
}

#[tokio::test]
async fn kill_9_of_a_durable_postgres_loses_no_commit() {
    let dir = dir();
    let postgres = start_postgres(dir.path(), true).await;
    let url = postgres.url();
    tell(&url, "create table kept (n int)").await;
    for n in 0..20 {
        tell(&url, &format!("insert into kept values ({n})")).await;
    }
    // A session in the middle of a statement must not keep the next server from starting.
    let busy = tokio::spawn({
        let url = url.clone();
        async move {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            sqlx::raw_sql("select pg_sleep(600)").execute(&mut connection).await
        }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;

    postgres.kill_9().await;
    assert!(busy.await.unwrap().is_err());
    assert_eq!(postgres.pid(), None);
    postgres.start_again().await.unwrap();
    assert_eq!(postgres.url(), url);
    assert_eq!(ask(&url, "select count(*)::int from kept").await, 20);
    postgres.stop().await;
}

#[tokio::test]
async fn kill_9_of_nats_keeps_its_streams_and_a_wipe_does_not() {
    for binary in nats_binaries() {
        let dir = dir();
        let options = NatsOptions {
            dir: dir.path().join("nats"),
            port: None,
            binary: Some(binary),
        };
        let nats = PrivateNats::start(options).await.unwrap();
        let url = nats.url();
        publish(&url, "first").await;

        nats.kill_9().await;
        nats.start_again().await.unwrap();
        assert_eq!(nats.url(), url);
        assert_eq!(stored(&url).await, Some(1));

        assert!(matches!(nats.wipe_store(), Err(LocalError::StillRunning { .. })));
        nats.stop().await;
        nats.wipe_store().unwrap();
        nats.start_again().await.unwrap();
        assert_eq!(stored(&url).await, None);
    }
}

#[tokio::test]
async fn nats_needs_its_token() {
    let dir = dir();
    let options = NatsOptions {
        dir: dir.path().join("nats"),
        port: None,
        binary: None,
    };
    let nats = PrivateNats::start(options).await.unwrap();
    let port = nats.url().rsplit_once(':').unwrap().1.to_owned();
    assert!(connect_nats(&format!("nats://127.0.0.1:{port}")).await.is_err());
    assert!(connect_nats(&format!("nats://guessed@127.0.0.1:{port}")).await.is_err());
    assert!(connect_nats(&nats.url()).await.is_ok());
}

#[tokio::test]
async fn a_server_that_dies_by_itself_comes_back_and_one_that_was_killed_stays_down() {
    let dir = dir();
    let options = LocalOptions {
        data_dir: dir.path().to_owned(),
        durable: true,
    };
    let servers = LocalServers::start(options).await.unwrap();
    let pids = || [servers.postgres().pid(), servers.nats().pid()];
    let before = pids();
    for pid in before {
        signal(pid.unwrap(), Signal::KILL);
    }
    until("both are back", || {
        pids()
            .iter()
            .zip(before)
            .all(|(now, before)| now.is_some() && *now != before)
    })
    .await;
    assert_eq!(ask(&servers.postgres_url(), "select 1").await, 1);
    assert!(connect_nats(&servers.nats_url()).await.is_ok());

    servers.nats().kill_9().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(servers.nats().pid(), None);
    servers.nats().start_again().await.unwrap();
    assert!(connect_nats(&servers.nats_url()).await.is_ok());
    servers.shutdown().await;
}

#[tokio::test]
async fn a_server_left_over_by_a_killed_run_is_ended_first() {
    let dir = dir();
    let first = start_postgres(dir.path(), true).await;
    let pid = first.pid().unwrap();
    // Dropped without being stopped: it may still be shutting down when the next one comes.
    drop(first);
    let second = start_postgres(dir.path(), true).await;
    assert_ne!(second.pid(), Some(pid));
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    second.stop().await;
}

/// The server's user must be able to pass through it.
fn dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    dir
}

fn postgres_options(dir: &Path, durable: bool) -> PostgresOptions {
    PostgresOptions {
        dir: dir.join("postgres"),
        durable,
        port: None,
        slow_disk: None,
        settings: Vec::new(),
    }
}

async fn start_postgres(dir: &Path, durable: bool) -> PrivatePostgres {
    PrivatePostgres::start(postgres_options(dir, durable)).await.unwrap()
}

async fn ask(url: &str, question: &'static str) -> i32 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar(question).fetch_one(&mut connection).await.unwrap()
}

async fn tell(url: &str, statement: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
}

/// The current server where `make setup` found it, and the system's; both have to work.
fn nats_binaries() -> Vec<PathBuf> {
    let found: Vec<PathBuf> = [
        ".keyledger/bin/nats-server",
        "/usr/sbin/nats-server",
        "/usr/local/bin/nats-server",
    ]
    .map(PathBuf::from)
    .into_iter()
    .filter(|binary| binary.exists())
    .collect();
    assert!(!found.is_empty(), "no nats-server is installed: run `make setup`");
    found
}

/// The client does not look at the user part of a URL by itself.
async fn connect_nats(url: &str) -> Result<async_nats::Client, async_nats::ConnectError> {
    let address: async_nats::ServerAddr = url.parse().unwrap();
    let options = async_nats::ConnectOptions::new();
    match address.username().map(str::to_owned) {
        Some(token) => options.token(token).connect(address).await,
        None => options.connect(address).await,
    }
}

async fn publish(url: &str, text: &'static str) {
    let jetstream = async_nats::jetstream::new(connect_nats(url).await.unwrap());
    let config = async_nats::jetstream::stream::Config {
        name: "KEPT".to_owned(),
        subjects: vec!["kept".to_owned()],
        ..Default::default()
    };
    jetstream.create_stream(config).await.unwrap();
    jetstream.publish("kept", text.into()).await.unwrap().await.unwrap();
}

async fn stored(url: &str) -> Option<u64> {
    let jetstream = async_nats::jetstream::new(connect_nats(url).await.unwrap());
    Some(jetstream.get_stream("KEPT").await.ok()?.cached_info().state.messages)
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Polls for half a minute, so that a slow machine is slow and not wrong.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "not within ten seconds: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
