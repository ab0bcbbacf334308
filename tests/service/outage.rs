//! Postgres away for longer than anybody waits: every answer is a 503 that may be retried, and the service comes back by
//! itself.

use std::os::unix::fs::PermissionsExt as _;

use hyper::Method;
use keyledger::clock;
use keyledger::local::{PostgresOptions, PrivatePostgres};
use serde_json::json;

use super::client::Client;
use super::process::{Customer, Site};
use crate::harness::{Harness, until};

#[tokio::test]
async fn kill_of_postgres_is_answered_503_and_the_same_request_succeeds_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let dir = directory.path().join("postgres");
    let postgres = PrivatePostgres::start(PostgresOptions {
        dir,
        durable: true,
        port: None,
        slow_disk: None,
        settings: vec![],
    })
    .await;
    let postgres = postgres.unwrap();
    keyledger::migrate::migrate(&postgres.url()).await.unwrap();
    let nats_url = std::env::var("NATS_URL").expect("run it with `make test`");
    let site = Site::on(Harness::on(crate::harness::unique("t"), postgres.url(), nats_url), "").await;
    let service = site.serve().await;
    let operator = site.operator(&service);
    let customer = Customer::open(&operator, "10").await;

    postgres.kill_9().await;
    let reserve =
        json!({ "id": clock::fresh_reservation_id().to_string(), "secret": customer.secret, "endpoint": "serp" });
    let refused = operator.post("/v1/reservations", reserve.clone()).await;
    assert_eq!(refused.status, 503);
    assert!(
        ["unavailable", "outcome-unknown"].contains(&refused.text("/code").as_str()),
        "{}",
        refused.json
    );
    assert_eq!(refused.headers["retry-after"], "1");
    let gateway = Client::new(&service.gateway, &customer.secret);
    assert_eq!(
        gateway.get("/serp?q=rust").await.status,
        503,
        "no ledger, no pass-through"
    );
    assert_eq!(Client::new(&service.api, "").get("/readyz").await.status, 503);

    postgres.start_again().await.unwrap();
    until("the same request succeeds", async || {
        let again = operator
            .try_call(Method::POST, "/v1/reservations", Some(reserve.clone()))
            .await;
        again.is_some_and(|again| again.status == 201)
    })
    .await;
    until("the gateway serves again", async || {
        gateway.get("/serp?q=rust").await.status == 200
    })
    .await;
    until("it is ready again", async || {
        Client::new(&service.api, "").get("/readyz").await.status == 200
    })
    .await;
    until("one hold and one charge are in the balance", async || {
        // The view may still be behind, also behind the opening of the account.
        let balance = operator.get(&customer.path("/balance")).await;
        balance.status == 200 && balance.text("/reserved") == "0.5" && balance.text("/charged") == "0.5"
    })
    .await;
    service.kill_9().await;
    postgres.stop().await;
}
