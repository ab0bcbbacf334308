//! Prices that are published to one service hold in every other one, and after whatever happens to either.

use hyper::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::process::{Customer, Site};
use crate::harness::until;
use crate::ledger::priced::prices_are_those_that_held;
use crate::ledger::writers::whole_log;
use keyledger::clock;

fn book(price: &str) -> Value {
    json!({"prices": [
        {"endpoint": "serp", "match": "ANY /serp/{*rest}", "price": price},
        {"endpoint": "serp", "match": "ANY /serp", "price": price},
    ]})
}

async fn publish(operator: &Client, body: Value) -> u64 {
    let told = operator
        .try_call(Method::PUT, "/v1/prices", Some(body))
        .await
        .expect("an answer");
    assert_eq!(told.status, 200, "{}", told.json);
    told.json["version"].as_u64().unwrap()
}

#[tokio::test]
async fn what_one_service_publishes_is_charged_by_the_other_at_once() {
    let site = Site::start().await;
    let (here, there) = (site.serve().await, site.serve().await);
    let operator = site.operator(&here);
    let customer = Customer::open(&operator, "1000").await;
    let gateway = Client::new(&there.gateway, &customer.secret);
    let charged = async || {
        let answer = gateway.get("/serp?q=rust").await;
        assert_eq!(answer.status, 200, "{}", answer.json);
        answer.headers["credits-charged"].to_str().unwrap().to_owned()
    };
    assert_eq!(charged().await, "0.5");
    for round in 1..=10u64 {
        let price = round.to_string();
        assert_eq!(publish(&operator, book(&price)).await, round);
        assert_eq!(charged().await, price, "round {round}");
    }
    // A moment to come, on both sides of it, in both.
    let moment = clock::now().plus_seconds(2);
    let mut dated = book("20");
    dated["valid_from"] = json!(moment.to_string());
    publish(&site.operator(&there), dated).await;
    until("the next book holds in the one that did not publish it", async || {
        let charge = json!({ "account": customer.account, "endpoint": "serp" });
        let amount = site.operator(&here).post("/v1/charges", charge).await.text("/amount");
        assert!(amount == "10" || clock::now() >= moment, "{amount} too early");
        amount == "20"
    })
    .await;
    assert_eq!(charged().await, "20");
    prices_are_those_that_held(&whole_log(&site.harness.log()).await);
}

#[tokio::test]
async fn what_is_priced_by_one_service_is_served_by_every_other_at_once() {
    let site = Site::start().await;
    let (here, there) = (site.serve().await, site.serve().await);
    let customer = Customer::open(&site.operator(&here), "1000").await;
    let gateway = Client::new(&there.gateway, &customer.secret);
    let without = json!({"prices": [{"endpoint": "other", "match": "GET /other", "price": "1"}]});
    for round in 1..=10 {
        publish(&site.operator(&here), without.clone()).await;
        assert_eq!(gateway.get("/serp?q=rust").await.status, 404, "{round}");
        publish(&site.operator(&here), book("2")).await;
        let answer = gateway.get("/serp?q=rust").await;
        assert_eq!(answer.status, 200, "{round}: {}", answer.json);
        assert_eq!(answer.headers["credits-charged"], "2");
    }
}

#[tokio::test]
async fn a_service_that_is_killed_comes_back_with_the_prices_that_hold() {
    let site = Site::start().await;
    let first = site.serve().await;
    let operator = site.operator(&first);
    let customer = Customer::open(&operator, "1000").await;
    let held = json!({ "account": customer.account, "endpoint": "serp", "ttl_seconds": 3600 });
    let held = operator.post("/v1/reservations", held).await.text("/id");
    publish(&operator, book("2")).await;
    let mut dated = book("3");
    dated["valid_from"] = json!(clock::now().plus_seconds(3600).to_string());
    publish(&operator, dated).await;
    first.kill_9().await;

    let second = site.serve().await;
    let operator = site.operator(&second);
    let prices = operator.get("/v1/prices").await;
    assert_eq!(
        (&prices.json["version"], &prices.json["next"]["version"]),
        (&json!(1), &json!(2))
    );
    let answer = Client::new(&second.gateway, &customer.secret).get("/serp?q=rust").await;
    assert_eq!(answer.headers["credits-charged"], "2");
    // What was held before keeps its price.
    let settle = customer.path(&format!("/reservations/{held}/charge"));
    assert_eq!(operator.post(&settle, json!({})).await.text("/charged"), "0.5");
    prices_are_those_that_held(&whole_log(&site.harness.log()).await);
}

/// Hundreds of entries with long patterns: nearly 60 KiB, sent by the process that leads and by the one that does not.
#[tokio::test]
async fn the_largest_book_reaches_the_leader_the_bus_and_every_process() {
    let site = Site::start().await;
    let (here, there) = (site.serve().await, site.serve().await);
    let customer = Customer::open(&site.operator(&here), "1000").await;
    let long = (0..100)
        .map(|n| json!({"endpoint": format!("e{n}"), "match": format!("GET /{n}/{}", "x".repeat(480)), "price": "1"}));
    let mut prices: Vec<Value> = long.collect();
    prices.extend(book("7")["prices"].as_array().unwrap().clone());
    for (n, service) in [&here, &there].into_iter().enumerate() {
        let told = site
            .operator(service)
            .try_call(Method::PUT, "/v1/prices", Some(json!({ "prices": prices })))
            .await
            .expect("an answer");
        assert_eq!((told.status.as_u16(), &told.json["version"]), (200, &json!(n + 1)));
        for other in [&here, &there] {
            let answer = Client::new(&other.gateway, &customer.secret).get("/serp?q=rust").await;
            assert_eq!(answer.headers["credits-charged"], "7");
        }
        // What comes after it on the bus is in the views too.
        let after = format!("/balance?after={}", told.position());
        assert_eq!(site.operator(&here).get(&customer.path(&after)).await.status, 200);
    }
    prices_are_those_that_held(&whole_log(&site.harness.log()).await);
}
