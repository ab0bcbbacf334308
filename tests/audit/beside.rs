//! What stands beside the log, and is not what the log says.

use std::process::Command;

use keyledger::projector::{Projector, ProjectorOptions};
use keyledger::relay::{Relay, RelayOptions};
use keyledger_events::Shard;
use serde_json::Value;

use super::stage::{Sealed, told, verifier};
use crate::harness::until;
use crate::service::process::KEYLEDGER;

/// `keyledger audit log` with everything that it can look at.
async fn audited(stage: &Sealed) -> (i32, Value) {
    let mut command = Command::new(KEYLEDGER);
    command
        .args(["audit", "log", "--json", "--key", &verifier(1).to_string()])
        .args(["--stream-prefix", &stage.harness.name])
        .env("DATABASE_URL", stage.harness.owner_url());
    told(command).await
}

#[tokio::test]
async fn views_and_the_bus_are_compared_with_the_log() {
    let stage = Sealed::open().await;
    let bus = stage.harness.bus().await;
    let relay = RelayOptions {
        log: stage.harness.log(),
        bus: bus.clone(),
        committed: None,
    };
    let relaying = stage.harness.stop.child_token();
    let relay = Relay::start(relay, relaying.clone());
    let projector = ProjectorOptions {
        log: stage.harness.log(),
        pool: stage.harness.another_pool(),
        bus: None,
    };
    let projector = Projector::start(projector, stage.harness.stop.child_token());
    let (_sealer, _) = stage.seal();
    stage.use_key(1_500).await;
    stage.sealed().await;
    let head = stage.head().await;
    until("relay and views have seen the end", async || {
        let level = projector.status().iter().all(|view| view.checkpoint.0 >= head);
        level && relay.status().last.0 >= head
    })
    .await;
    let (code, told) = audited(&stage).await;
    assert_eq!((code, &told["messages"]), (0, &Value::from(head)), "{told}");

    let mut owner = stage.harness.owner().await;
    sqlx::query("update views.key_list set uses = uses + 1")
        .execute(&mut owner)
        .await
        .unwrap();
    // The relay is gone, and somebody puts another message in the place of the next event.
    relaying.cancel();
    let subject = bus.subjects(Shard(0)).replace('>', "intruder");
    bus.jetstream()
        .publish(subject, "not an event".into())
        .await
        .unwrap()
        .await
        .unwrap();
    stage.use_key(1).await;
    stage.sealed().await;
    let (code, told) = audited(&stage).await;
    let findings = told["findings"].to_string();
    assert_eq!(
        (code, &told["last_good"]),
        (1, &Value::from(head + 1)),
        "the log itself is good: {told}"
    );
    assert!(
        findings.contains("of the view key_list are not what the log gives"),
        "{told}"
    );
    assert!(
        findings.contains(&format!("message {} of the stream is not event", head + 1)),
        "{told}"
    );
}
