//! A ledger that is away, clients that dribble, and bytes that never leave.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use keyledger::ledger::{Ledger, LedgerOptions};
use keyledger::local::{PostgresOptions, PrivatePostgres};
use keyledger::log::{Log, open_pool, service_options};
use keyledger_events::Shard;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use super::raw::{Stub, connect};
use super::stage::{Stage, charged, demo_data_api, released};
use crate::harness::{Harness, until};
use crate::ledger::customer::Customer;

#[tokio::test(flavor = "multi_thread")]
async fn crash_of_the_log_forwards_nothing_and_charges_later_what_was_delivered() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let options = PostgresOptions {
        dir: directory.path().join("postgres"),
        durable: true,
        port: None,
        slow_disk: None,
        settings: Vec::new(),
    };
    let postgres = PrivatePostgres::start(options).await.unwrap();
    keyledger::migrate::migrate(&postgres.url()).await.unwrap();
    let log = Log::new(open_pool(service_options(&postgres.url()).unwrap(), 8), Shard(0));
    let stop = CancellationToken::new();
    let (ledger, _) = Ledger::start(log.clone(), LedgerOptions::default(), stop.clone());
    let stage = Stage::on(log, ledger, None, demo_data_api().await, "100").await;

    let under_way = stage.get("/serp?q=a&stream=1&chunks=5&chunk_ms=200");
    let dying = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        postgres.kill_9().await;
    };
    let (delivered, ()) = tokio::join!(under_way, dying);
    assert!(delivered.whole);
    let next = stage.get("/echo").await;
    assert_eq!(next.status, 503);
    assert!(
        matches!(next.code().as_str(), "unavailable" | "outcome-unknown"),
        "{}",
        next.code()
    );
    postgres.start_again().await.unwrap();
    // A hold whose outcome was unknown is asked for again in the background, and given back.
    let expected = if next.code() == "outcome-unknown" { 2 } else { 1 };
    let mut settled = stage.settled(expected).await;
    let charge = settled.iter().position(|one| *one == charged(1, "0.5"));
    settled.remove(charge.expect("what was delivered is charged"));
    assert!(settled.iter().all(|one| *one == released("error")), "{settled:?}");
    let seen = stage.get("/echo").await.json();
    assert_eq!(seen["requests"], 2, "the refused request was not forwarded");
    stop.cancel();
    postgres.stop().await;
}

#[tokio::test]
async fn a_client_that_dribbles_its_head_or_its_body_is_cut_off() {
    let stage = Stage::open().await;
    let began = Instant::now();
    let mut head = connect(stage.gateway).await;
    head.write_all(b"GET /serp HTTP/1.1\r\nHost: a\r\n").await.unwrap();
    let request = stage.request("POST", "/echo", "Content-Length: 100\r\n") + "ten bytes.";
    let body = stage.send(&request).await;
    assert!(matches!(body.status, 408 | 504), "{}", body.status);
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(stage.settled(1).await, [released("error")]);
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(8), head.read_to_end(&mut rest))
        .await
        .expect("it is closed");
}

/// An account that this process cannot read, until it can: what was delivered meanwhile is charged then.
#[tokio::test]
async fn an_account_that_cannot_be_read_is_charged_later_for_what_was_delivered() {
    let harness = Harness::start().await;
    let (log, mut owner) = (harness.log(), harness.owner().await);
    let options = LedgerOptions {
        account_bytes_max: 1,
        ..LedgerOptions::default()
    };
    let (ledger, _) = Ledger::start(harness.log(), options, harness.stop.child_token());
    let upstream = demo_data_api().await;
    let stage = Stage::on(log, ledger.clone(), Some(harness), upstream, "100").await;
    let other = Customer::open(&ledger, "10").await;

    let under_way = stage.get("/serp?q=a&stream=1&chunks=5&chunk_ms=200");
    let damaging = async {
        until("it is held", async || stage.holds().await == 1).await;
        let account = uuid::Uuid::from_bytes(stage.customer.account.to_bytes());
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "set session_replication_role = replica; create table kept as select * from events;
             update events set body = 'broken' where account_id = '{account}' and seq = 2"
        )))
        .execute(&mut owner)
        .await
        .unwrap();
        // A memory that holds one account has only this one now.
        other.reserve_fresh(&ledger).await.unwrap();
        other.reserve_fresh(&ledger).await.unwrap();
    };
    let (delivered, ()) = tokio::join!(under_way, damaging);
    assert!(delivered.whole);
    let next = stage.get("/echo").await;
    assert_eq!((next.status, next.code().as_str()), (500, "internal"));
    sqlx::raw_sql("update events e set body = k.body from kept k where k.position = e.position")
        .execute(&mut owner)
        .await
        .unwrap();
    assert_eq!(stage.settled(1).await, [charged(1, "0.5")]);
    until("it is read again", async || stage.get("/echo").await.status == 200).await;
}

/// What this machine's kernel takes from a sender whose peer does not read.
pub async fn bytes_the_kernel_takes() -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _deaf = deaf(listener.local_addr().unwrap()).await;
    let (mut sender, _) = listener.accept().await.unwrap();
    let mut taken = 0;
    let piece = [0; 1024];
    while let Ok(Ok(length)) = tokio::time::timeout(Duration::from_millis(300), sender.write(&piece)).await {
        taken += length;
    }
    taken
}

pub async fn deaf(to: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(to).await.unwrap()
}

/// The race: the HTTP server has taken the whole body, and the socket has not. An answer that counts as delivered when
/// the server took it is charged here although the client got a part.
#[tokio::test]
async fn bytes_that_never_left_the_gateway_are_not_charged() {
    let size = bytes_the_kernel_takes().await + (32 << 10);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{}", "x".repeat(size));
    let stub = Stub::answering(&answer).await;
    let stage = Stage::in_front_of(stub.address).await;
    let mut client = deaf(stage.gateway).await;
    client
        .write_all(stage.request("GET", "/serp", "").as_bytes())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(client);
    assert_eq!(stage.settled(1).await, [released("client-gone")]);
}
