//! Rebuilding a view: the same rows, never half of them, and the live view goes on meanwhile.

use std::sync::mpsc;
use std::time::Duration;

use futures_util::StreamExt as _;
use keyledger::clock;
use keyledger::ledger::{Charged, Payer, RefundCharge, ReserveCredits};
use keyledger::projector::{RebuildError, Rebuilt, View, rebuild};
use keyledger::views::ViewName;
use sqlx::Connection as _;
use tokio::task::JoinHandle;

use super::appended::{append, uses};
use super::credits::{everything, reason};
use super::{history, level, project, views_equal_replay};
use crate::harness::{Harness, until};
use crate::ledger::customer::{Customer, by_system};

#[tokio::test]
async fn a_rebuilt_view_is_the_same_also_while_events_arrive() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    project(&harness, None);
    history(&ledger, 2).await;
    everything(&harness, &ledger).await;
    level(&harness).await;
    // What somebody broke by hand is right again after a rebuild.
    let mut owner = harness.owner().await;
    for statement in [
        "update views.balance set charged = charged + 1, thresholds = '{}'",
        "update views.grants set endpoints = null, started = true",
        "delete from views.plans",
        "delete from views.key_list",
        "delete from views.charges",
        "update views.reservations set endpoint = 'other'",
        "update views.usage set uses = uses + 1",
        "delete from views.notices",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    let busy = tokio::spawn(async move { history(&ledger, 3).await });
    for view in View::ALL {
        let mut told = 0;
        let rebuilt = rebuild(harness.owner_url(), view, |_, _| told += 1).await.unwrap();
        assert!(
            rebuilt.events > 0 && rebuilt.rows_changed > 0 && told > 0,
            "{rebuilt:?}"
        );
    }
    busy.await.unwrap();
    views_equal_replay(&harness).await;
    for view in View::ALL {
        let rebuilt = rebuild(harness.owner_url(), view, |_, _| {}).await.unwrap();
        assert_eq!(rebuilt.rows_changed, 0, "{view}: a view that is right is left alone");
    }
}

/// A rebuild that waits after its first page of 5,000 events until it is let go.
struct Paused {
    rebuilding: JoinHandle<Result<Rebuilt, RebuildError>>,
    go_on: mpsc::Sender<()>,
}

impl Paused {
    async fn start(harness: &Harness, view: View) -> Paused {
        let (told, there) = tokio::sync::oneshot::channel();
        let (go_on, wait) = mpsc::channel();
        let url = harness.owner_url().to_owned();
        let mut told = Some(told);
        let rebuilding = tokio::spawn(async move {
            rebuild(&url, view, move |_, _| {
                if let Some(told) = told.take() {
                    told.send(()).unwrap();
                    let _ = tokio::task::block_in_place(|| wait.recv());
                }
            })
            .await
        });
        there.await.unwrap();
        Paused { rebuilding, go_on }
    }
}

/// A customer whose key was used more often than a rebuild folds at once.
async fn much_used(harness: &Harness) -> Customer {
    let customer = Customer::open(&harness.ledger(), "100").await;
    append(harness, customer.account, uses(customer.key, 6_000)).await;
    level(harness).await;
    customer
}

async fn uses_shown(harness: &Harness, customer: &Customer) -> u64 {
    let key = harness.views().key(customer.account, customer.key).await.unwrap();
    key.value.unwrap().uses
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_view_goes_on_while_a_rebuild_folds() {
    let harness = Harness::start().await;
    project(&harness, None);
    let customer = much_used(&harness).await;
    let paused = Paused::start(&harness, View::KeyList).await;
    let head = append(&harness, customer.account, uses(customer.key, 10)).await;
    harness
        .views()
        .wait_for(ViewName::KeyList, head, Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!(
        uses_shown(&harness, &customer).await,
        6_010,
        "readers see the live rows"
    );
    paused.go_on.send(()).unwrap();
    assert_eq!(paused.rebuilding.await.unwrap().unwrap().rows_changed, 0);
    append(&harness, customer.account, uses(customer.key, 1)).await;
    views_equal_replay(&harness).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_killed_changes_nothing_and_can_be_run_again() {
    let harness = Harness::start().await;
    project(&harness, None);
    let customer = much_used(&harness).await;
    let paused = Paused::start(&harness, View::KeyList).await;
    paused.rebuilding.abort();
    drop(paused.go_on);
    assert!(paused.rebuilding.await.unwrap_err().is_cancelled());
    assert_eq!(uses_shown(&harness, &customer).await, 6_000);
    rebuild(harness.owner_url(), View::KeyList, |_, _| {}).await.unwrap();
    views_equal_replay(&harness).await;
    let left: i64 = sqlx::query_scalar(
        "select (select count(*) from views_next.checkpoints)
              + (select count(*) from pg_tables where schemaname = 'views_next' and tablename <> 'checkpoints')",
    )
    .fetch_one(&mut harness.owner().await)
    .await
    .unwrap();
    assert_eq!(left, 0, "nothing of the killed one is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_rebuild_leaves_is_removed_and_what_one_under_way_makes_is_not() {
    let harness = Harness::start().await;
    project(&harness, None);
    much_used(&harness).await;
    let views = harness.views();
    let paused = Paused::start(&harness, View::KeyList).await;
    assert_eq!(views.forget_left_generations().await.unwrap(), 0);
    paused.go_on.send(()).unwrap();
    assert_eq!(paused.rebuilding.await.unwrap().unwrap().rows_changed, 0);
    let paused = Paused::start(&harness, View::KeyList).await;
    paused.rebuilding.abort();
    drop(paused.go_on);
    assert!(paused.rebuilding.await.unwrap_err().is_cancelled());
    // As soon as the server has noticed that nobody is there.
    until("its table is removed", async || {
        views.forget_left_generations().await.unwrap() == 1
    })
    .await;
    views_equal_replay(&harness).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_rebuilds_the_earlier_one_ends_and_the_view_is_right() {
    let harness = Harness::start().await;
    project(&harness, None);
    much_used(&harness).await;
    let first = Paused::start(&harness, View::KeyList).await;
    rebuild(harness.owner_url(), View::KeyList, |_, _| {}).await.unwrap();
    first.go_on.send(()).unwrap();
    let ended = first.rebuilding.await.unwrap();
    assert!(matches!(ended, Err(RebuildError::Superseded { .. })), "{ended:?}");
    views_equal_replay(&harness).await;
}

#[tokio::test]
async fn a_view_that_claims_more_than_the_log_has_is_brought_back_to_it() {
    let harness = Harness::start().await;
    history(&harness.ledger(), 1).await;
    sqlx::query("update views.checkpoints set position = 1000000 where projection = 'charges'")
        .execute(&mut harness.owner().await)
        .await
        .unwrap();
    rebuild(harness.owner_url(), View::Charges, |_, _| {}).await.unwrap();
    let head = harness.log().head().await.unwrap().position;
    assert_eq!(harness.views().checkpoint(ViewName::Charges).await.unwrap(), head);
    project(&harness, None);
    views_equal_replay(&harness).await;
}

/// Every index and every constraint of the views, as they are made.
async fn indexes(harness: &Harness) -> Vec<String> {
    sqlx::query_scalar(
        "select indexdef from pg_indexes where schemaname = 'views'
         union all
         select conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) from pg_constraint
         where connamespace = 'views'::regnamespace
         order by 1",
    )
    .fetch_all(&mut harness.owner().await)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_large_view_that_was_lost_has_its_rows_and_its_indexes_again() {
    const HOLDS: u64 = 10_000;
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    project(&harness, None);
    let customer = Customer::open(&ledger, "10000").await;
    let holding = (0..HOLDS).map(|_| {
        let hold = ReserveCredits {
            payer: Payer::Account(customer.account),
            ..customer.reserve(clock::fresh_reservation_id())
        };
        ledger.submit(hold, by_system())
    });
    for held in futures_util::future::join_all(holding).await {
        held.unwrap();
    }
    level(&harness).await;
    let before = indexes(&harness).await;
    let mut owner = harness.owner().await;
    let mut reader = harness.owner().await;
    for (somebody_reads, key_is_needed) in [(false, false), (true, false), (false, true)] {
        sqlx::query("truncate views.reservations")
            .execute(&mut owner)
            .await
            .unwrap();
        let mut reading = reader.begin().await.unwrap();
        if somebody_reads {
            sqlx::query("select from views.reservations")
                .execute(&mut *reading)
                .await
                .unwrap();
        }
        if key_is_needed {
            // That `amount` is one for each group follows from the key, and so the SQL view depends on it.
            sqlx::query(
                "create view public.somebodys as
                 select account_id, reservation_id, amount from views.reservations group by account_id, reservation_id",
            )
            .execute(&mut owner)
            .await
            .unwrap();
        }
        let rebuilt = rebuild(harness.owner_url(), View::Reservations, |_, _| {})
            .await
            .unwrap();
        reading.rollback().await.unwrap();
        assert_eq!(rebuilt.rows_changed, HOLDS);
        assert_eq!(indexes(&harness).await, before);
        views_equal_replay(&harness).await;
    }
    let seen: i64 = sqlx::query_scalar("select count(*) from public.somebodys")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(seen.unsigned_abs(), HOLDS);
}

#[tokio::test]
async fn refunds_of_charges_that_a_rebuild_has_written_before_meet_them() {
    // More than a rebuild keeps in memory.
    const CHARGES: usize = 5_100;
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    let customer = Customer::open(&ledger, "10000").await;
    let account = customer.account;
    let charging = (0..CHARGES).map(|_| async {
        let held = customer.reserve_fresh(&ledger).await.unwrap().reply.reservation;
        (held, customer.charge(&ledger, held).await.unwrap().position)
    });
    // Fewer at once than one key may hold.
    let charges: Vec<_> = futures_util::stream::iter(charging)
        .buffer_unordered(500)
        .collect()
        .await;
    project(&harness, None);
    // In two parts: the second meets a table whose rows are told apart already.
    for part in [0..2, 2..4] {
        for (held, at) in &charges[part] {
            let charged = Charged::read(&harness.log(), account, *held, *at)
                .await
                .unwrap()
                .unwrap();
            let refund = RefundCharge {
                charged,
                refund: clock::fresh_refund_id(),
                grant: clock::fresh_grant_id(),
                amount: None,
                reason: reason(),
            };
            ledger.submit(refund, by_system()).await.unwrap();
        }
        append(&harness, account, uses(customer.key, 5_000)).await;
    }
    level(&harness).await;
    let mut owner = harness.owner().await;
    for (broken, changed) in [
        ("select", 0),
        ("update views.charges set refunded = 0 where refunded > 0", 8),
        ("delete from views.charges", CHARGES),
    ] {
        sqlx::query(broken).execute(&mut owner).await.unwrap();
        let rebuilt = rebuild(harness.owner_url(), View::Charges, |_, _| {}).await.unwrap();
        assert_eq!(rebuilt.rows_changed, u64::try_from(changed).unwrap(), "{broken}");
        views_equal_replay(&harness).await;
    }
}
