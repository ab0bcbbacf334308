//! Webhooks: what is worth telling reaches the platform, signed, in order and again until it is taken.

mod api;
mod outages;
pub mod receiver;
mod stale;
mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use keyledger::clock;
use keyledger::config::WebhookConfig;
use keyledger::webhooks::{self, WebhooksOptions};
use keyledger_events::{Shard, Timestamp};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::http::stage::Stage;

/// A clock that is as far from the machine's as a test wants.
#[derive(Clone, Default)]
pub struct Shifted(Arc<AtomicI64>);

impl Shifted {
    pub fn by_seconds(seconds: i64) -> Shifted {
        let clock = Shifted::default();
        clock.go(seconds);
        clock
    }

    pub fn go(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(clock::now().micros() + self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// Starts couriers as a process would. They end with the token.
pub fn couriers(stage: &Stage, receivers: &[WebhookConfig], clock: &Shifted) -> CancellationToken {
    let stop = stage.harness.stop.child_token();
    let clock = clock.clone();
    let options = WebhooksOptions {
        pool: stage.harness.another_pool(),
        shard: Shard(0),
        receivers: receivers.to_vec(),
        clock: Arc::new(move || clock.now()),
    };
    webhooks::start(options, &stop);
    stop
}

/// Waits until the couriers have begun: what happens from here on is told.
pub async fn registered(stage: &Stage, receiver: &str) {
    crate::harness::until("the receiver is registered", async || {
        let known = stage.operator.get("/v1/webhooks").await.json(200);
        known["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|known| known["name"] == receiver)
    })
    .await;
}

/// An account that is told of at 5 credits and has 6, under `/v1/accounts/…`, and its id.
pub async fn watched(stage: &Stage) -> (String, String) {
    let (account, _) = stage.customer("6").await;
    let path = format!("{account}/thresholds");
    stage.operator.put(&path, json!({"thresholds": ["5"]})).await.json(200);
    let id = account.rsplit('/').next().unwrap().to_owned();
    (account, id)
}

/// Brings a watched account down to its threshold, and up again, so many times. Each tells once.
pub async fn cross(stage: &Stage, id: &str, times: usize) {
    for _ in 0..times {
        let charge = json!({"account": id, "endpoint": "serp", "quantity": 2});
        stage.operator.post("/v1/charges", charge).await.json(201);
        let grant = json!({"amount": "1", "source": "purchase"});
        stage
            .operator
            .post(&format!("/v1/accounts/{id}/grants"), grant)
            .await
            .json(201);
    }
}
