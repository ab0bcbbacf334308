//! Comparing views with the log: what is right is called right while it changes, and what is wrong is named.

use keyledger::projector::{Checked, View, check_views};
use keyledger_events::{Credits, CreditsExpired, Event, GrantId};
use serde_json::Value;

use super::appended::append;
use super::{history, level, project, views_equal_replay};
use crate::harness::{Harness, until};
use crate::ledger::customer::Customer;
use crate::service::process::KEYLEDGER;

async fn check(harness: &Harness, view: View) -> Checked {
    let outcomes = check_views(harness.owner_url(), &[view], |_, _| {}).await.unwrap();
    outcomes.into_iter().next().unwrap().1.unwrap()
}

#[tokio::test]
async fn views_that_are_right_are_called_right_while_events_arrive() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    project(&harness, None);
    history(&ledger, 2).await;
    level(&harness).await;
    let busy = tokio::spawn(async move { history(&ledger, 4).await });
    for _ in 0..3 {
        for (view, outcome) in check_views(harness.owner_url(), &View::ALL, |_, _| {}).await.unwrap() {
            let checked = outcome.unwrap();
            assert_eq!((checked.rows_different, checked.first), (0, None), "{view}");
            assert!(checked.events > 0, "{view}");
        }
    }
    busy.await.unwrap();
    level(&harness).await;
    assert!(check(&harness, View::Charges).await.rows > 0);
    views_equal_replay(&harness).await;
}

#[tokio::test]
async fn a_row_that_was_broken_by_hand_is_named_and_left_as_it_is() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    project(&harness, None);
    history(&ledger, 2).await;
    level(&harness).await;
    let mut owner = harness.owner().await;
    // Of each: the view, what is done to it, and how that shows in the first difference.
    let broken = [
        (View::Balance, "update views.balance set charged = charged + 1", "wrong"),
        (View::KeyList, "update views.key_list set name = 'Other'", "wrong"),
        (View::Charges, "delete from views.charges", "missing"),
        (View::Usage, "update views.usage set uses = uses + 1", "wrong"),
        (
            View::Reservations,
            "insert into views.reservations select (r).* from (select jsonb_populate_record(r, '{\"reservation_id\": \"00000000-0000-0000-0000-000000000001\"}') as r from views.reservations r limit 1) made",
            "too many",
        ),
    ];
    for (view, statement, how) in broken {
        let changed = sqlx::query(statement)
            .execute(&mut owner)
            .await
            .unwrap()
            .rows_affected();
        assert!(changed > 0, "{view}");
        for _ in 0..2 {
            let checked = check(&harness, view).await;
            assert_eq!(checked.rows_different, changed, "{view}: nothing is repaired");
            let first = checked.first.unwrap();
            let seen = match (&first.view, &first.log) {
                (Some(view), Some(log)) => {
                    assert_eq!(view.keys().collect::<Vec<_>>(), log.keys().collect::<Vec<_>>());
                    assert_eq!(view.len(), 1, "{first:?}");
                    "wrong"
                }
                (None, Some(_)) => "missing",
                (Some(_), None) => "too many",
                (None, None) => "nothing",
            };
            assert_eq!(seen, how, "{view}: {first:?}");
        }
    }
}

#[tokio::test]
async fn a_view_that_stands_still_is_compared_where_it_stands() {
    let harness = Harness::start().await;
    let (handle, _stop) = project(&harness, None);
    let customer = Customer::open(&harness.ledger(), "100").await;
    level(&harness).await;
    let nobodys = CreditsExpired {
        grant: GrantId::from_parts(1, 1),
        amount: Credits::from_micros(1).unwrap(),
        repays: Credits::ZERO,
    };
    let fault = append(&harness, customer.account, vec![Event::from(nobodys)]).await;
    until("the balances have stopped", async || {
        handle
            .status()
            .iter()
            .any(|status| status.view == View::Balance && status.halted.is_some())
    })
    .await;
    let checked = check(&harness, View::Balance).await;
    assert_eq!((checked.events, checked.rows_different), (fault.0 - 1, 0));
}

#[tokio::test]
async fn the_command_says_it_by_its_exit_code() {
    let harness = Harness::start().await;
    project(&harness, None);
    history(&harness.ledger(), 1).await;
    level(&harness).await;
    let run = async |arguments: &[&str], url: &str| {
        let ran = tokio::process::Command::new(KEYLEDGER)
            .args(["views", "check"])
            .args(arguments)
            .env("DATABASE_URL", url)
            .output()
            .await
            .unwrap();
        (ran.status.code().unwrap(), String::from_utf8(ran.stdout).unwrap())
    };
    let (code, said) = run(&[], harness.owner_url()).await;
    assert_eq!((code, said.lines().count()), (0, View::ALL.len()), "{said}");
    assert!(said.lines().all(|line| line.contains(" is right: ")), "{said}");
    let mut owner = harness.owner().await;
    sqlx::query("update views.balance set charged = charged + 1")
        .execute(&mut owner)
        .await
        .unwrap();
    let (code, said) = run(&["balance", "usage"], harness.owner_url()).await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("balance is wrong: 1 rows differ") && said.contains("should have charged="),
        "{said}"
    );
    let (code, said) = run(&["balance", "--json"], harness.owner_url()).await;
    let line: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, line["view"].as_str(), line["rows_different"].as_u64()),
        (1, Some("balance"), Some(1))
    );
    assert!(line["first"]["view"]["charged"].is_number(), "{line}");
    assert_eq!(run(&[], "postgres://nobody@127.0.0.1:1/none").await.0, 2);
}
