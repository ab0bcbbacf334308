//! Clocks that are wrong: an hour ahead, and back again. The log's own time never goes back, nothing is charged or freed
//! twice, nothing is freed early, and work goes on.

use std::collections::BTreeMap;

use keyledger::clock;
use keyledger_events::Timestamp;
use serde_json::{Value, json};

use super::client::Client;
use super::process::{Customer, Service, Site};
use crate::harness::until;
use crate::service::process::KEYLEDGER;

const HOUR: i64 = 3_600;

/// Stops in order, as for an update.
async fn stop(service: Service) {
    service.tell_to_stop();
    service.stopped().await;
}

async fn log(operator: &Client) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let from = all.len() + 1;
        let page = operator.get(&format!("/v1/events?limit=200&from={from}")).await;
        let items = page.json["items"].as_array().unwrap();
        all.extend(items.iter().cloned());
        if page.json["next_cursor"].is_null() {
            return all;
        }
    }
}

/// What settled each reservation.
fn settled(log: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut settled: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in log {
        let name = event["type"].as_str().unwrap();
        if name.contains("CreditsCharged") || name.contains("CreditsReleased") {
            let id = event["data"]["reservation"].as_str().unwrap().to_owned();
            let cause = event["data"]["cause"].as_str().unwrap_or("charged").to_owned();
            settled.entry(id).or_default().push(cause);
        }
    }
    settled
}

#[tokio::test]
async fn a_clock_that_jumps_an_hour_ahead_and_back_frees_nothing_early_and_charges_nothing_twice() {
    let site = Site::start().await;
    let (right, ahead) = (site.serve_by_clock(0).await, site.serve_by_clock(HOUR).await);
    let operator = site.operator(&right);
    let customer = Customer::open(&operator, "10").await;
    let fetch = async |service: &Service| {
        let gateway = Client::new(&service.gateway, &customer.secret);
        gateway.get("/serp?q=rust").await.status.as_u16()
    };
    let hold = async |operator: &Client, seconds: u32| {
        let body = json!({"secret": customer.secret, "endpoint": "serp", "ttl_seconds": seconds});
        let held = operator.post("/v1/reservations", body).await;
        assert_eq!(held.status, 201, "{}", held.json);
        held.text("/id")
    };
    let charge = async |operator: &Client, id: &str| {
        let path = customer.path(&format!("/reservations/{id}/charge"));
        operator.post(&path, json!({})).await
    };
    // The truth beside one that is an hour ahead, which takes the log with it.
    let is_ahead = async || {
        let log = log(&operator).await;
        let last: Timestamp = log.last().unwrap()["time"].as_str().unwrap().parse().unwrap();
        last > clock::now().plus_seconds(1_800)
    };
    assert_eq!(fetch(&right).await, 200);
    assert!(!is_ahead().await, "only the right clock has written");
    assert_eq!(fetch(&ahead).await, 200, "work goes on");
    assert!(is_ahead().await, "the wrong clock has written too");
    // Also before the right one has heard how late the log says it is, when the ids that it makes are too old at first.
    assert_eq!(fetch(&right).await, 200, "work goes on");
    for _ in 0..2 {
        assert_eq!(tokio::join!(fetch(&right), fetch(&ahead)), (200, 200), "work goes on");
    }
    stop(right).await;
    let operator = site.operator(&ahead);
    let (soon, later) = (hold(&operator, 60).await, hold(&operator, 3_000).await);
    let charged = charge(&operator, &hold(&operator, 60).await).await;
    assert_eq!(charged.status, 200);
    stop(ahead).await;

    // An hour back. By this clock everything so far is in the future.
    let behind = site.serve_by_clock(0).await;
    let operator = site.operator(&behind);
    assert_eq!(fetch(&behind).await, 200, "work goes on");
    let third = hold(&operator, 60).await;
    let first = charge(&operator, &soon).await;
    assert_eq!(first.status, 200, "a minute has not passed: {}", first.json);
    let again = charge(&operator, &soon).await;
    assert!([200, 409].contains(&again.status.as_u16()), "{}", again.json);
    let so_far = log(&operator).await;
    assert!(!settled(&so_far).contains_key(&later), "nothing is freed early");
    let path = customer.path(&format!("/reservations/{later}?after=0:{}", so_far.len()));
    let open = operator.get(&path).await;
    assert_eq!(open.status, 200, "it is held still: {}", open.json);
    stop(behind).await;

    // Two hours ahead: what is due is freed, once.
    let far = site.serve_by_clock(2 * HOUR).await;
    let operator = site.operator(&far);
    until("what is due is freed", async || {
        let settled = settled(&log(&operator).await);
        settled.contains_key(&later) && settled.contains_key(&third)
    })
    .await;
    let too_late = charge(&operator, &later).await;
    assert_eq!(
        (too_late.status.as_u16(), too_late.text("/code")),
        (409, "reservation-closed".to_owned())
    );
    assert_eq!(fetch(&far).await, 200);
    stop(far).await;

    // And back to the truth.
    let right = site.serve_by_clock(0).await;
    assert_eq!(fetch(&right).await, 200, "work goes on");
    let operator = site.operator(&right);
    until("all is settled", async || {
        let log = log(&operator).await;
        log.iter()
            .filter(|event| event["type"] == "keyledger.CreditsReserved.v1")
            .count()
            == settled(&log).len()
    })
    .await;
    let log = log(&operator).await;
    let times: Vec<&str> = log.iter().map(|event| event["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "the log's time never goes back");
    let settled = settled(&log);
    for (id, how) in &settled {
        assert_eq!(how.len(), 1, "{id} was settled by {how:?}");
    }
    assert_eq!(
        (&settled[&soon], &settled[&later]),
        (&vec!["charged".to_owned()], &vec!["expired".to_owned()])
    );
    // Ten fetches and two charges, at half a credit each.
    let head = log.len();
    let balance = operator.get(&customer.path(&format!("/balance?after=0:{head}"))).await;
    assert_eq!(
        (balance.text("/charged"), balance.text("/reserved")),
        ("6".to_owned(), "0".to_owned())
    );
    stop(right).await;
    let checked = tokio::process::Command::new(KEYLEDGER)
        .args(["views", "check"])
        .env("DATABASE_URL", site.harness.owner_url())
        .output()
        .await
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}
