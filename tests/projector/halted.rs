//! An event that cannot be folded: its projection stops there and says so, and the others go on.

use keyledger::projector::{ProjectorHandle, View, rebuild};
use keyledger::views::Halted;
use keyledger_events::{Credits, CreditsExpired, Event, EventId, GrantId, Position};

use super::appended::append;
use super::{history, level, project, views_equal_replay};
use crate::harness::{Harness, until};
use crate::ledger::customer::{Customer, create_key};

fn why_halted(handle: &ProjectorHandle, view: View) -> Option<String> {
    let all = handle.status();
    all.into_iter().find(|status| status.view == view).unwrap().halted
}

/// What is known of a projection's halt to those who have not folded it.
async fn known_elsewhere(harness: &Harness, view: View) -> Option<Halted> {
    let all = harness.views().standings().await.unwrap();
    let one = all.into_iter().find(|standing| standing.projection == view.as_str());
    one.unwrap().halted
}

async fn id_at(harness: &Harness, position: Position) -> EventId {
    let stored = harness.log().read(Position(position.0 - 1), 1).await.unwrap();
    stored[0].decode().unwrap().id
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
        let known = known_elsewhere(&harness, status.view).await.unwrap();
        assert_eq!(
            (known.reason, known.event),
            (
                format!(
                    "event {} cannot be read: not a document of ours, from byte 2 on",
                    head.next()
                ),
                None
            )
        );
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
        repays: Credits::ZERO,
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
            == View::ALL.len() - 1
    })
    .await;
    let balance = harness.views().balance(customer.account).await.unwrap();
    assert_eq!(balance.position, before, "nothing of what came after is in the balance");
    for view in View::ALL.into_iter().filter(|view| *view != View::Balance) {
        assert_eq!(why_halted(&handle, view), None);
        assert_eq!(known_elsewhere(&harness, view).await, None);
    }
    let known = known_elsewhere(&harness, View::Balance).await.unwrap();
    assert_eq!(known.reason, why_halted(&handle, View::Balance).unwrap());
    assert_eq!(known.event, Some(id_at(&harness, poison).await));
    // Whoever meets it again tells it again, and since when is still so.
    let (again, _stop) = project(&harness, None);
    until("the next projector has stopped too", async || {
        why_halted(&again, View::Balance).is_some()
    })
    .await;
    assert_eq!(known_elsewhere(&harness, View::Balance).await, Some(known));
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
    assert!(known_elsewhere(&harness, View::KeyList).await.is_some());
    rebuild(harness.owner_url(), View::KeyList, |_, _| {}).await.unwrap();
    until("it is known to have gone on", async || {
        why_halted(&handle, View::KeyList).is_none()
    })
    .await;
    assert_eq!(known_elsewhere(&harness, View::KeyList).await, None);
    create_key(&ledger, customer.account).await;
    views_equal_replay(&harness).await;
}
