//! Postgres and NATS die under a projector and a relay, and come back: nobody has to be restarted.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use keyledger::bus::Bus;
use keyledger::local::{NatsOptions, PostgresOptions, PrivateNats, PrivatePostgres};

use super::{project, relay, views_equal_replay};
use crate::harness::{Harness, until};
use crate::ledger::customer::Customer;

async fn servers(directory: &Path) -> (PrivatePostgres, PrivateNats) {
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o711)).unwrap();
    let postgres = PostgresOptions {
        dir: directory.join("postgres"),
        durable: true,
        port: None,
        slow_disk: None,
        settings: Vec::new(),
    };
    let nats = NatsOptions {
        dir: directory.join("nats"),
        port: None,
        binary: None,
    };
    (
        PrivatePostgres::start(postgres).await.unwrap(),
        PrivateNats::start(nats).await.unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_of_postgres_and_nats_under_a_projector_heals_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let (postgres, nats) = servers(directory.path()).await;
    keyledger::migrate::migrate(&postgres.url()).await.unwrap();
    let harness = Harness::on("KEYLEDGER".to_owned(), postgres.url(), nats.url());
    let ledger = harness.ledger();
    let bus = Bus::connect(&nats.url(), "KEYLEDGER").await.unwrap();
    relay(&harness, bus.clone(), &ledger);
    project(&harness, Some(bus.clone()));
    project(&harness, Some(bus));
    let customer = Customer::open(&ledger, "100000").await;
    let using = {
        let (ledger, customer) = (ledger.clone(), customer.clone());
        tokio::spawn(async move {
            for _ in 0..600 {
                // What fails during an outage is not what this is about.
                if let Ok(held) = customer.reserve_fresh(&ledger).await {
                    let _ = customer.charge(&ledger, held.reply.reservation).await;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        postgres.kill_9().await;
        postgres.start_again().await.unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
        nats.kill_9().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        nats.start_again().await.unwrap();
    }
    using.await.unwrap();
    until("commands succeed", async || {
        customer.reserve_fresh(&ledger).await.is_ok()
    })
    .await;
    views_equal_replay(&harness).await;
    postgres.stop().await;
    nats.stop().await;
}
