//! Two services on one database: what one answers, the other keeps to.

use hyper::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::process::{Customer, Site};

#[tokio::test]
async fn kill_a_key_in_one_service_and_it_is_dead_in_the_other_a_hundred_times() {
    let site = Site::start().await;
    let (here, there) = (site.serve().await, site.serve().await);
    let operator = site.operator(&here);
    let customer = Customer::open(&operator, "1000").await;
    for round in 0..100 {
        let made = operator
            .post(&customer.path("/keys"), json!({ "name": "Short-lived" }))
            .await;
        let (key, secret) = (made.text("/key/id"), made.text("/secret"));
        let gateways = [
            Client::new(&here.gateway, &secret),
            Client::new(&there.gateway, &secret),
        ];
        assert_eq!(
            gateways[1].get("/serp?q=rust").await.status,
            200,
            "round {round}: it works everywhere at first"
        );
        let in_flight: Vec<_> = gateways
            .iter()
            .cycle()
            .take(6)
            .cloned()
            .map(|gateway| tokio::spawn(async move { gateway.try_call(Method::GET, "/serp?q=rust", None).await }))
            .collect();
        assert_eq!(
            operator.delete(&customer.path(&format!("/keys/{key}"))).await.status,
            200
        );
        for gateway in &gateways {
            let refused = gateway.get("/serp?q=rust").await;
            assert_eq!(
                (refused.status.as_u16(), refused.text("/code")),
                (401, "key-deleted".to_owned()),
                "round {round}"
            );
        }
        for request in in_flight {
            // Before the deletion, refused, or cut: anything but a use after it, which the history would show.
            let _ = request.await.unwrap();
        }
        let history = operator
            .get(&customer.path(&format!("/keys/{key}/history?limit=200")))
            .await;
        let types: Vec<&str> = history.json["items"].as_array().unwrap().iter().map(type_of).collect();
        let deleted = types
            .iter()
            .position(|name| *name == "keyledger.KeyDeleted.v1")
            .expect("it was deleted");
        assert!(
            !types[deleted..].contains(&"keyledger.KeyUsed.v1"),
            "round {round}: {types:?}"
        );
        assert!(
            !types[deleted..].contains(&"keyledger.CreditsReserved.v1"),
            "round {round}: {types:?}"
        );
    }
}

fn type_of(event: &Value) -> &str {
    event["type"].as_str().unwrap()
}

#[tokio::test]
async fn what_one_service_writes_the_other_shows_at_that_position() {
    let site = Site::start().await;
    let (here, there) = (site.serve().await, site.serve().await);
    let customer = Customer::open(&site.operator(&here), "10").await;
    for spent in 1..=5u32 {
        let charge = json!({ "account": customer.account, "endpoint": "serp", "quantity": 1 });
        let charged = site.operator(&here).post("/v1/charges", charge).await;
        assert_eq!(charged.status, 201);
        let after = format!("/balance?after={}", charged.position());
        let balance = site.operator(&there).get(&customer.path(&after)).await;
        assert_eq!(
            balance.text("/charged"),
            ["0.5", "1", "1.5", "2", "2.5"][usize::try_from(spent).unwrap() - 1]
        );
    }
}
