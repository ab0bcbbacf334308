//! `kill -9` in the middle of load, ten times.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::Method;
use keyledger_events::{Event, Recorded};
use serde_json::json;

use super::client::Client;
use super::process::{Customer, Site};
use crate::harness::until;
use crate::ledger::writers::whole_log;
use crate::projector::views_equal_replay;

#[derive(Default)]
struct Acknowledged {
    held: HashSet<String>,
    charged: HashSet<String>,
}

#[tokio::test]
async fn kill_of_the_service_under_load_ten_times_loses_and_doubles_nothing() {
    let site = Site::start().await;
    let first = site.serve().await;
    let customer = Arc::new(Customer::open(&site.operator(&first), "1000000").await);
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    let mut service = first;
    for _ in 0..10 {
        let load: Vec<_> = (0..8)
            .map(|_| {
                let (operator, customer) = (site.operator(&service), Arc::clone(&customer));
                tokio::spawn(load(operator, customer, Arc::clone(&acknowledged)))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(250)).await;
        service.kill_9().await;
        for worker in load {
            worker.await.unwrap();
        }
        service = site.serve().await;
    }
    // Holds that were left behind are released by time, by the service that runs now.
    let operator = site.operator(&service);
    let holds = customer.path("/reservations?limit=1");
    until("every hold left behind is released", async || {
        operator.get(&holds).await.json["items"] == json!([])
    })
    .await;

    let events = whole_log(&site.harness.log()).await;
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    assert!(
        acknowledged.charged.len() > 100,
        "there was load: {}",
        acknowledged.charged.len()
    );
    let held = ids(&events, |event| {
        if let Event::CreditsReserved(e) = event {
            Some(e.reservation.to_string())
        } else {
            None
        }
    });
    let charged = ids(&events, |event| {
        if let Event::CreditsCharged(e) = event {
            Some(e.reservation.to_string())
        } else {
            None
        }
    });
    assert!(
        acknowledged.held.is_subset(&held),
        "an acknowledged hold is not in the log"
    );
    assert!(
        acknowledged.charged.is_subset(&charged),
        "an acknowledged charge is not in the log"
    );
    views_equal_replay(&site.harness).await;
}

/// Every id that stands in the log, each proved to stand there once.
fn ids(events: &[Recorded], id: impl Fn(&Event) -> Option<String>) -> HashSet<String> {
    let all: Vec<String> = events.iter().filter_map(|recorded| id(&recorded.event)).collect();
    let once: HashSet<String> = all.iter().cloned().collect();
    assert_eq!(once.len(), all.len(), "an id is in the log twice");
    once
}

/// Reserves and charges until nobody answers any more. Every third hold is left behind.
async fn load(operator: Client, customer: Arc<Customer>, acknowledged: Arc<Mutex<Acknowledged>>) {
    for turn in 0u32.. {
        let reserve = json!({ "secret": customer.secret, "endpoint": "serp", "ttl_seconds": 2 });
        let Some(held) = operator.try_call(Method::POST, "/v1/reservations", Some(reserve)).await else {
            return;
        };
        if held.status != 201 {
            return;
        }
        let id = held.text("/id");
        acknowledged.lock().unwrap().held.insert(id.clone());
        if turn % 3 == 2 {
            continue;
        }
        let charge = customer.path(&format!("/reservations/{id}/charge"));
        match operator.try_call(Method::POST, &charge, Some(json!({}))).await {
            Some(charged) if charged.status == 200 => acknowledged.lock().unwrap().charged.insert(id),
            Some(_) | None => return,
        };
    }
}
