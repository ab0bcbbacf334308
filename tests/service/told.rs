//! A receiver that a config file names, and a service that is killed before it was told.

use hyper::Method;
use serde_json::json;

use super::client::Client;
use super::process::{Customer, Site};
use crate::webhooks::receiver::{Receiver, SECRET};

#[tokio::test]
async fn what_crosses_a_threshold_through_the_gateway_is_told_also_by_the_next_process() {
    let site = Site::start().await;
    let receiver = Receiver::start().await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), SECRET).unwrap();
    site.add(&format!(
        "[[webhooks]]\nname = \"billing\"\nurl = \"http://{}/hooks\"\nsecret_file = \"{}\"\n",
        receiver.address,
        secret.path().display()
    ));
    let service = site.serve().await;
    let operator = site.operator(&service);
    let customer = Customer::open(&operator, "2").await;
    let path = customer.path("/thresholds");
    let thresholds = json!({"thresholds": ["1.5", "1"]});
    let set = operator.try_call(Method::PUT, &path, Some(thresholds)).await.unwrap();
    assert_eq!(set.status, 200);
    let gateway = Client::new(&service.gateway, &customer.secret);
    assert_eq!(gateway.get("/serp?q=rust").await.status, 200);
    let first = receiver.has_taken(1).await;
    assert_eq!(first[0].body["data"]["threshold"], "1.5");
    // Whoever would tell of the next one is killed.
    receiver.hang(true);
    assert_eq!(gateway.get("/serp?q=rust").await.status, 200);
    receiver.was_asked(2).await;
    service.kill_9().await;
    receiver.hang(false);
    let mut owner = site.harness.owner().await;
    sqlx::query("update webhook_receivers set leased_until = now()")
        .execute(&mut owner)
        .await
        .unwrap();
    let again = site.serve().await;
    let taken = receiver.has_taken(2).await;
    assert_eq!((&taken[1].body["data"]["threshold"], taken.len()), (&json!("1"), 2));
    again.tell_to_stop();
    again.stopped().await;
}
