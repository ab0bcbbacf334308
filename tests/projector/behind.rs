//! Views that are far behind, each for itself, and views that hear together.

use std::time::Duration;

use keyledger::projector::{RebuildError, View, rebuild_views};
use keyledger::views::ViewName;
use keyledger_events::{Credits, CreditsExpired, Endpoint, Event, GrantId, KeyId, KeyUsed, ReservationId};
use sqlx::Connection as _;

use super::appended::{append, uses};
use super::{history, level, project, relay, views_equal_replay};
use crate::harness::{Harness, until};
use crate::ledger::customer::Customer;

/// More than is kept in memory, of newest events and of a rebuild's rows.
const MANY: usize = 21_000;

/// A use of each of very many endpoints: each is a row of its own.
fn endpoints_used(key: KeyId, count: usize) -> Vec<Event> {
    let used = |n| KeyUsed {
        key,
        endpoint: Endpoint::parse(&format!("e{n}")).unwrap(),
        reservation: ReservationId::from_parts(1, 1),
        request: None,
        network: None,
        user_agent: None,
        environment: keyledger_events::Environment::Live,
    };
    (0..count).map(|n| Event::from(used(n))).collect()
}

#[tokio::test]
async fn a_view_that_was_held_up_is_caught_up_with_from_the_log_and_keeps_nobody_waiting() {
    let harness = Harness::start().await;
    project(&harness, None);
    let customer = Customer::open(&harness.ledger(), "100").await;
    level(&harness).await;
    let mut owner = harness.owner().await;
    let mut slow = owner.begin().await.unwrap();
    sqlx::query("select from views.checkpoints where projection = 'usage' for update")
        .execute(&mut *slow)
        .await
        .unwrap();
    let head = append(&harness, customer.account, uses(customer.key, MANY)).await;
    until("the key list is level", async || {
        let at = harness.views().checkpoint(ViewName::KeyList).await;
        at.is_ok_and(|at| at == head)
    })
    .await;
    slow.rollback().await.unwrap();
    views_equal_replay(&harness).await;
}

#[tokio::test]
async fn a_rebuild_of_more_rows_than_memory_holds_gives_the_rows_that_the_projector_gave() {
    let harness = Harness::start().await;
    project(&harness, None);
    let customer = Customer::open(&harness.ledger(), "100").await;
    // The second time round rows change that the rebuild has written before.
    for count in [MANY, 1_000] {
        append(&harness, customer.account, endpoints_used(customer.key, count)).await;
    }
    history(&harness.ledger(), 1).await;
    views_equal_replay(&harness).await;
    let outcomes = rebuild_views(harness.owner_url(), &View::ALL, |_, _| {}).await.unwrap();
    let head = harness.log().head().await.unwrap().position;
    assert_eq!(outcomes.len(), View::ALL.len());
    for (view, outcome) in outcomes {
        let rebuilt = outcome.unwrap();
        assert_eq!((rebuilt.events, rebuilt.rows_changed), (head.0, 0), "{view}");
    }
    views_equal_replay(&harness).await;
}

#[tokio::test]
async fn a_view_that_cannot_be_rebuilt_keeps_nothing_from_the_others() {
    let harness = Harness::start().await;
    let customer = history(&harness.ledger(), 1).await.remove(0);
    let nothing_like_it = Event::from(CreditsExpired {
        grant: GrantId::from_parts(1, 1),
        amount: Credits::MAX,
        repays: Credits::ZERO,
    });
    let head = append(&harness, customer.account, vec![nothing_like_it]).await;
    let outcomes = rebuild_views(harness.owner_url(), &View::ALL, |_, _| {}).await.unwrap();
    for (view, outcome) in outcomes {
        if view == View::Balance {
            assert!(matches!(outcome, Err(RebuildError::RowsDoNotFit { .. })), "{outcome:?}");
        } else {
            assert_eq!(outcome.unwrap().events, head.0, "{view}");
        }
    }
    let views = harness.views();
    assert_eq!(views.checkpoint(ViewName::Charges).await.unwrap(), head);
    assert_eq!(views.checkpoint(ViewName::Balance).await.unwrap().0, 0);
}

#[tokio::test]
async fn all_views_hear_through_one_consumer() {
    let harness = Harness::start().await;
    let (ledger, bus) = (harness.ledger(), harness.bus().await);
    relay(&harness, bus.clone(), &ledger);
    history(&ledger, 1).await;
    project(&harness, Some(bus.clone()));
    let consumers = async || {
        let stream = bus.jetstream().get_stream(bus.stream_name(ledger.shard())).await;
        stream.map_or(0, |stream| stream.cached_info().state.consumer_count)
    };
    until("the bus is listened to", async || consumers().await > 0).await;
    views_equal_replay(&harness).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(consumers().await, 1);
}
