//! Services of which one decides for all: what becomes of the others when it is killed, or stands still.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use keyledger_events::Event;
use serde_json::json;
use tokio::task::JoinHandle;

use super::client::Client;
use super::process::{Customer, Service, Site};
use crate::harness::until;
use crate::ledger::writers::whole_log;

/// Reserves and charges over HTTP so many times. What had no answer, or none that says how it ended, is sent again.
async fn spend(operator: Client, customer: Arc<Customer>, times: usize) -> Vec<String> {
    let mut charged = Vec::new();
    for _ in 0..times {
        let id = keyledger::clock::fresh_reservation_id().to_string();
        let reserve = json!({ "secret": customer.secret, "endpoint": "serp", "id": id });
        let charge = customer.path(&format!("/reservations/{id}/charge"));
        for (path, body) in [("/v1/reservations", reserve), (charge.as_str(), json!({}))] {
            loop {
                match operator.try_call(Method::POST, path, Some(body.clone())).await {
                    Some(reply) if matches!(reply.status.as_u16(), 200 | 201) => break,
                    Some(reply) => assert_eq!(reply.status, 503, "{}", reply.json),
                    None => {}
                }
            }
        }
        charged.push(id);
    }
    charged
}

/// Every acknowledged charge is in the log, once, and nothing else is.
async fn exactly(site: &Site, acknowledged: Vec<String>) {
    let events = whole_log(&site.harness.log()).await;
    let charge = |event: &Event| {
        if let Event::CreditsCharged(charged) = event {
            Some(charged.reservation.to_string())
        } else {
            None
        }
    };
    let charged: Vec<String> = events.iter().filter_map(|recorded| charge(&recorded.event)).collect();
    let once: HashSet<String> = charged.iter().cloned().collect();
    assert_eq!(once.len(), charged.len(), "something was charged twice");
    assert_eq!(
        once,
        acknowledged.into_iter().collect(),
        "acknowledged and logged differ"
    );
}

/// A figure of a service's own.
async fn answered_elsewhere(service: &Client) -> bool {
    let metrics = service.get_text("/metrics").await;
    let line = |line: &&str| line.starts_with("keyledger_forwarded_messages_total") && line.contains("answered");
    metrics.lines().any(|l| line(&l))
}

/// A leader, another service that has begun to send it commands, and what was charged meanwhile.
async fn leader_and_other(site: &Site) -> (Service, Service, Arc<Customer>, Vec<String>) {
    let leader = site.serve_logging("info").await;
    let other = site.serve_logging("info").await;
    let operator = site.operator(&other);
    let customer = Arc::new(Customer::open(&operator, "100000").await);
    let mut charged = Vec::new();
    until("the other sends its commands", async || {
        charged.extend(spend(operator.clone(), Arc::clone(&customer), 1).await);
        answered_elsewhere(&operator).await
    })
    .await;
    (leader, other, customer, charged)
}

fn load(operator: &Client, customer: &Arc<Customer>, times: usize) -> Vec<JoinHandle<Vec<String>>> {
    let one = |_| tokio::spawn(spend(operator.clone(), Arc::clone(customer), times));
    (0..8).map(one).collect()
}

#[tokio::test]
async fn kill_of_the_service_that_decides_for_all_loses_and_doubles_nothing_of_another_one() {
    let site = Site::start().await;
    let (leader, other, customer, mut acknowledged) = leader_and_other(&site).await;
    let workers = load(&site.operator(&other), &customer, 60);
    tokio::time::sleep(Duration::from_millis(150)).await;
    leader.kill_9().await;
    for worker in workers {
        acknowledged.extend(worker.await.unwrap());
    }
    exactly(&site, acknowledged).await;
}

#[tokio::test]
async fn stopped_in_its_tracks_a_service_that_decides_for_all_is_passed_over_and_doubles_nothing_when_it_wakes() {
    let site = Site::start().await;
    let (leader, other, customer, mut acknowledged) = leader_and_other(&site).await;
    leader.freeze();
    for worker in load(&site.operator(&other), &customer, 20) {
        acknowledged.extend(worker.await.unwrap());
    }
    leader.thaw();
    // It carries out what it had been sent, which is there already; then both go on.
    for service in [&leader, &other] {
        for worker in load(&site.operator(service), &customer, 5) {
            acknowledged.extend(worker.await.unwrap());
        }
    }
    exactly(&site, acknowledged).await;
}
