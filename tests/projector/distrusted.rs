//! A stream that is not a copy of this log: it can outlive the database that it was copied from.

use keyledger::relay::{Relay, RelayOptions};

use super::{history, level, project, relay, views_equal_replay};
use crate::harness::{Harness, until};

#[tokio::test]
async fn a_stream_of_another_database_is_not_believed() {
    let (old, new) = (Harness::start().await, Harness::start().await);
    let (ledger, bus) = (old.ledger(), old.bus().await);
    relay(&old, bus.clone(), &ledger);
    history(&ledger, 2).await;
    let head = old.log().head().await.unwrap().position;
    until("the old stream is level", async || {
        bus.jetstream()
            .get_stream(bus.stream_name(ledger.shard()))
            .await
            .is_ok_and(|stream| stream.cached_info().state.last_sequence == head.0)
    })
    .await;
    old.stop.cancel();

    let (handle, _stop) = project(&new, Some(bus.clone()));
    level(&new).await;
    // Time enough for the bus to bring what it has.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(new.views().accounts(10, None).await.unwrap().value.items.is_empty());
    history(&new.ledger(), 1).await;
    views_equal_replay(&new).await;
    assert!(handle.status().iter().all(|status| status.halted.is_none()));

    // And the relay says what is wrong.
    let options = RelayOptions {
        log: new.log(),
        bus,
        committed: None,
    };
    let relay = Relay::start(options, new.stop.child_token());
    until("the fault is named", async || relay.status().fault.is_some()).await;
}
