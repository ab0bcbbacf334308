//! Two services on one database: what one answers, the other keeps to.

use hyper::Method;
use keyledger_events::{Credits, CreditsExpired, Event, GrantId};
use serde_json::{Value, json};

use super::client::Client;
use super::process::{Customer, Site};
use crate::harness::until;
use crate::ledger::writers::whole_log;
use crate::projector::appended::append;

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

#[tokio::test]
async fn a_projection_that_one_service_halted_is_known_to_one_that_folds_nothing() {
    let site = Site::start().await;
    let folding = site.serve().await;
    let other = site.serve_as("api,gateway", "trace").await;
    let customer = Customer::open(&site.operator(&folding), "10").await;
    let nothing_like_it = CreditsExpired {
        grant: GrantId::from_parts(1, 1),
        amount: Credits::MAX,
        repays: Credits::ZERO,
    };
    let account = customer.account.parse().unwrap();
    let poison = append(&site.harness, account, vec![Event::from(nothing_like_it)]).await;
    let asked = Client::new(&other.api, "");
    let mut told = Value::Null;
    until("the other service knows of it", async || {
        told = asked.get("/readyz").await.json;
        told["checks"]["projection_balance"]["ok"] == json!(false)
    })
    .await;
    assert_eq!(
        told["ready"],
        json!(true),
        "what another process does is no reason to ask that one"
    );
    let detail = told["checks"]["projection_balance"]["detail"].as_str().unwrap();
    assert!(
        detail.starts_with(&format!("event {poison} cannot be folded: ")),
        "{detail}"
    );
    until("its figures say so too", async || {
        let figures = asked.get_text("/metrics").await;
        figures.lines().any(|line| {
            line.starts_with("keyledger_projection_halted{") && line.contains("\"balance\"") && line.ends_with(" 1")
        })
    })
    .await;
    let refused = Client::new(&folding.api, "").get("/readyz").await;
    assert_eq!(refused.status, 503, "the one that folds is not ready");
}

/// One of them leads and decides for the other: the key travels with the command.
#[tokio::test]
async fn what_two_services_are_asked_under_one_idempotency_key_happens_once() {
    let site = Site::start().await;
    let (here, there) = (site.serve().await, site.serve().await);
    let (one, other) = (site.operator(&here), site.operator(&there));
    for round in 0..20 {
        let key = format!("round-{round}");
        let key = [("idempotency-key", key.as_str())];
        let body = json!({ "name": "Globex" });
        let (a, b) = tokio::join!(
            one.post_with("/v1/accounts", &key, body.clone()),
            other.post_with("/v1/accounts", &key, body.clone()),
        );
        assert_eq!(
            (a.status.as_u16(), b.status.as_u16()),
            (201, 201),
            "{} {}",
            a.json,
            b.json
        );
        assert_eq!(a.json, b.json);
        let grants = format!("/v1/accounts/{}/grants", a.text("/id"));
        let grant = json!({ "amount": "5", "source": "purchase" });
        let (a, b) = tokio::join!(
            one.post_with(&grants, &key, grant.clone()),
            other.post_with(&grants, &key, grant.clone()),
        );
        assert_eq!(a.json, b.json);
        let another = json!({ "amount": "6", "source": "purchase" });
        let refused = other.post_with(&grants, &key, another).await;
        assert_eq!(
            (refused.status.as_u16(), refused.text("/code")),
            (422, "idempotency-mismatch".to_owned())
        );
    }
    let events = whole_log(&site.harness.log()).await;
    let granted = events.iter().filter(|e| matches!(e.event, Event::CreditsGranted(_)));
    let opened = events.iter().filter(|e| matches!(e.event, Event::AccountOpened(_)));
    assert_eq!((opened.count(), granted.count()), (20, 20));
}
