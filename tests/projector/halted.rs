//! An event that cannot be folded: its projection stops there and says so, and the others go on.

use keyledger::projector::{ProjectorHandle, View, rebuild};
use keyledger_events::{Credits, CreditsExpired, Event, GrantId};

use super::appended::append;
use super::{history, level, project, views_equal_replay};
use crate::harness::{Harness, until};
use crate::ledger::customer::{Customer, create_key};

fn why_halted(handle: &ProjectorHandle, view: View) -> Option<String> {
    let all = handle.status();
    all.into_iter().find(|status| status.view == view).unwrap().halted
}

#[tokio::test]
async fn an_event_that_cannot_be_read_stops_every_projection_there() {
    let harness = Harness::start().await;
    history(&harness.ledger(), 1).await;
    let head = harness.log().head().await.unwrap().position;
    let mut owner = harness.owner().await;
    for statement in [
        "update log_head set position = position + 1 where shard = 0",
        "insert into events (shard, position, account_id, seq, event_id, type, recorded_at, body)
         select 0, position, gen_random_uuid(), 1, gen_random_uuid(), 'x', now(), '\\x7b7d' from log_head",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    let (handle, _stop) = project(&harness, None);
    until("every projection has stopped", async || {
        handle.status().iter().all(|status| status.halted.is_some())
    })
    .await;
    for status in handle.status() {
        assert_eq!(status.checkpoint, head, "{}: what came before is folded", status.view);
        assert!(status.halted.unwrap().contains(&head.next().to_string()));
    }
    // A projector that starts there knows where it stands before it folds anything.
    let (handle, _stop) = project(&harness, None);
    until("the next projector has stopped too", async || {
        handle.status().iter().all(|status| status.halted.is_some())
    })
    .await;
    assert!(handle.status().iter().all(|status| status.checkpoint == head));
}

#[tokio::test]
async fn an_event_that_does_not_fit_one_view_stops_that_one_only() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    let (handle, _stop) = project(&harness, None);
    let customer = Customer::open(&ledger, "100").await;
    level(&harness).await;
    let before = harness.log().head().await.unwrap().position;
    let nothing_like_it = Event::from(CreditsExpired {
        grant: GrantId::from_parts(1, 1),
        amount: Credits::MAX,
    });
    let poison = append(&harness, customer.account, vec![nothing_like_it]).await;
    until("the balance has stopped", async || {
        why_halted(&handle, View::Balance).is_some_and(|why| why.contains(&format!("event {poison} ")))
    })
    .await;
    let renamed = append(&harness, customer.account, super::appended::uses(customer.key, 3)).await;
    until("the others have gone on", async || {
        handle
            .status()
            .iter()
            .filter(|status| status.checkpoint == renamed)
            .count()
            == 4
    })
    .await;
    let balance = harness.views().balance(customer.account).await.unwrap();
    assert_eq!(balance.position, before, "nothing of what came after is in the balance");
    for view in [View::KeyList, View::Charges, View::Reservations, View::Usage] {
        assert_eq!(why_halted(&handle, view), None);
    }
}

#[tokio::test]
async fn a_projection_that_stopped_at_a_broken_row_goes_on_after_a_rebuild() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    let (handle, _stop) = project(&harness, None);
    let customer = Customer::open(&ledger, "100").await;
    level(&harness).await;
    sqlx::query("delete from views.key_list")
        .execute(&mut harness.owner().await)
        .await
        .unwrap();
    append(&harness, customer.account, super::appended::uses(customer.key, 1)).await;
    until("the key list has stopped", async || {
        why_halted(&handle, View::KeyList).is_some()
    })
    .await;
    rebuild(harness.owner_url(), View::KeyList, |_, _| {}).await.unwrap();
    until("it is known to have gone on", async || {
        why_halted(&handle, View::KeyList).is_none()
    })
    .await;
    create_key(&ledger, customer.account).await;
    views_equal_replay(&harness).await;
}
