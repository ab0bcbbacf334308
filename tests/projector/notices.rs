//! What is to tell, in Postgres: as the fold of the log has it.

use keyledger::projector::View;
use keyledger_events::{DeleteReason, DenyReason, Event, KeyDeleted, KeyUseDenied, Recorded};
use keyledger_projections::{NoticesRows, replay};
use sqlx::Row as _;
use uuid::Uuid;

use super::appended::append;
use super::{project, views_equal_replay};
use crate::harness::{Harness, until};
use crate::ledger::customer::Customer;

/// Waits until the view has folded the whole log, and compares each row.
pub async fn equal_notices(harness: &Harness, events: &[Recorded]) {
    let head = events.last().unwrap().position;
    until("the notices are level", async || {
        let standings = harness.views().standings().await.unwrap();
        standings
            .iter()
            .any(|one| one.projection == View::Notices.as_str() && one.checkpoint >= head)
    })
    .await;
    let expected: NoticesRows = replay(events).unwrap();
    let mut owner = harness.owner().await;
    let rows = sqlx::query("select * from views.notices order by position")
        .fetch_all(&mut owner)
        .await
        .unwrap();
    assert_eq!(rows.len(), expected.told.len());
    for (row, (position, told)) in rows.iter().zip(&expected.told) {
        assert_eq!(row.get::<i64, _>("position"), i64::try_from(position.0).unwrap());
        assert_eq!(row.get::<&str, _>("kind"), told.what.kind());
        assert_eq!(row.get::<Option<String>, _>("once"), told.once());
        let id = |column: &str| row.get::<Option<Uuid>, _>(column).map(Uuid::into_bytes);
        assert_eq!(id("event_id"), Some(told.event.to_bytes()));
        assert_eq!(id("account_id"), Some(told.account.to_bytes()));
        assert_eq!(id("key_id"), told.what.key().map(|key| key.to_bytes()));
    }
}

#[tokio::test]
async fn a_key_that_is_refused_again_and_again_is_told_of_once_an_hour_in_any_batches() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    project(&harness, None);
    let customer = Customer::open(&ledger, "10").await;
    let denied = |reason| {
        Event::from(KeyUseDenied {
            key: customer.key,
            reason,
            count: 2,
        })
    };
    for _ in 0..3 {
        append(
            &harness,
            customer.account,
            vec![denied(DenyReason::Scope), denied(DenyReason::Scope)],
        )
        .await;
        views_equal_replay(&harness).await;
    }
    let leaked = KeyDeleted {
        key: customer.key,
        reason: DeleteReason::Leaked,
    };
    append(
        &harness,
        customer.account,
        vec![leaked.into(), denied(DenyReason::Deleted)],
    )
    .await;
    views_equal_replay(&harness).await;
    let mut owner = harness.owner().await;
    let kinds: Vec<String> = sqlx::query_scalar("select kind from views.notices order by position")
        .fetch_all(&mut owner)
        .await
        .unwrap();
    let scope = kinds.iter().filter(|kind| *kind == "key.denied").count() - 1;
    // The hour may end in between.
    assert!((1..=2).contains(&scope), "{kinds:?}");
    assert!(kinds.contains(&"key.leaked".to_owned()));
}
