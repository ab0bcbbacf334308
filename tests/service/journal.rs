//! The ledger away while data is delivered, and then the gateway killed: what was delivered is charged, once.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use keyledger::local::{PostgresOptions, PrivatePostgres};
use keyledger::log::Log;
use keyledger_events::{Event, Shard};

use super::client::Client;
use super::process::{Customer, Site};
use crate::harness::{Harness, unique, until};
use crate::ledger::writers::whole_log;

const DELIVERIES: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn kill_of_gateway_and_ledger_charges_what_was_delivered_exactly_once() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let postgres = PrivatePostgres::start(PostgresOptions {
        dir: directory.path().join("postgres"),
        durable: true,
        port: None,
        slow_disk: None,
        settings: Vec::new(),
    })
    .await
    .unwrap();
    keyledger::migrate::migrate(&postgres.url()).await.unwrap();
    let nats_url = std::env::var("NATS_URL").expect("private servers: run it with `make test`");
    let kept_in = directory.path().join("settlements");
    let more = format!("journal_dir = {kept_in:?}");
    let site = Site::on(Harness::on(unique("t"), postgres.url(), nats_url), &more).await;
    let service = site.serve().await;
    let customer = Customer::open(&site.operator(&service), "1000").await;

    // Half of the answers are cut by the data API: they are owed a release.
    let asking: Vec<_> = (0..DELIVERIES)
        .map(|number| {
            let client = Client::new(&service.gateway, &customer.secret);
            let cut = number % 2;
            tokio::spawn(async move {
                let slow = format!("/serp?q=a&stream=1&chunks=5&chunk_ms=300&cut={cut}");
                client.try_call(hyper::Method::GET, &slow, None).await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(800)).await;
    postgres.kill_9().await;
    let mut delivered = 0;
    for answer in asking {
        delivered += usize::from(answer.await.unwrap().is_some_and(|answer| answer.status == 200));
    }
    assert_eq!(delivered, DELIVERIES / 2);
    let file = kept_in.join("settlements.journal");
    until("every settlement is on disk", async || {
        std::fs::read_to_string(&file).unwrap_or_default().lines().count() >= DELIVERIES
    })
    .await;
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("sk_live_") && !text.contains(&customer.secret[8..20]));
    service.kill_9().await;

    postgres.start_again().await.unwrap();
    let again = site.serve().await;
    until("everything is settled", async || {
        settled(&site).await.len() >= DELIVERIES
    })
    .await;
    // And a third time: what is done does not come back.
    again.kill_9().await;
    let _third = site.serve().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let settled = settled(&site).await;
    assert_eq!(settled.len(), DELIVERIES, "each once");
    assert_eq!(settled.iter().filter(|charged| **charged).count(), delivered);
    postgres.stop().await;
}

/// Whether each settlement in the log was a charge.
async fn settled(site: &Site) -> Vec<bool> {
    let settlement = |event: &Event| {
        if matches!(event, Event::CreditsCharged(_)) {
            Some(true)
        } else if matches!(event, Event::CreditsReleased(_)) {
            Some(false)
        } else {
            None
        }
    };
    // The connections of the test's own pool died with the server.
    let log = whole_log(&Log::new(site.harness.another_pool(), Shard(0))).await;
    log.iter().filter_map(|recorded| settlement(&recorded.event)).collect()
}
