//! Credits that come again and again.

use keyledger::clock;
use keyledger::ledger::SettleDue;
use keyledger_events::{AccountId, Event, Period, PlanId, PlanStarted, Recorded};
use serde_json::{Value, json};

use super::stage::{Stage, id_of};
use crate::ledger::customer::{by_system, credits};
use crate::ledger::writers::whole_log;
use crate::projector::appended::append;

fn account_of(address: &str) -> AccountId {
    address.rsplit('/').next().unwrap().parse().unwrap()
}

async fn list(stage: &Stage, account: &str, what: &str, after: &str) -> Value {
    let path = format!("{account}/{what}?after={after}");
    stage.operator.get(&path).await.json(200)["items"].clone()
}

#[tokio::test]
async fn a_plan_gives_at_once_is_listed_and_ends() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let path = format!("{account}/plans");
    let start = async |amount: &str| {
        let body = json!({"amount": amount, "period": "month", "rollover_cap": "50"});
        stage.operator.post_with(&path, &[("idempotency-key", "p")], body).await
    };
    let started = start("100").await;
    let after = started.position().to_owned();
    let started = started.json(201);
    assert_eq!(
        (&started["available"], &started["period"]),
        (&json!("100"), &json!("month"))
    );
    let again = start("100.0").await;
    assert_eq!(
        (again.header("idempotent-replayed"), again.json(201)),
        ("true", started.clone())
    );
    assert_eq!(start("99").await.problem(422), "idempotency-mismatch");
    let row = list(&stage, &account, "plans", &after).await[0].clone();
    assert_eq!(
        (&row["id"], &row["periods"], &row["ended_at"]),
        (&started["id"], &json!(1), &json!(null))
    );
    let grant = list(&stage, &account, "grants", &after).await[0].clone();
    assert_eq!(
        (&grant["source"], &grant["expires_at"]),
        (&json!("plan"), &row["next_at"])
    );
    let end = format!("{path}/{}", id_of(&started));
    let ended = stage.operator.delete(&end).await;
    let after = ended.position().to_owned();
    assert_eq!(ended.json(200)["available"], "100");
    let again = stage.operator.delete(&end).await;
    assert_eq!(
        (again.header("idempotent-replayed"), again.status.as_u16()),
        ("true", 200)
    );
    let row = list(&stage, &account, "plans", &after).await[0].clone();
    assert!(row["ended_at"].is_string() && row["next_at"].is_null(), "{row}");
    for bad in ["plan_01JDE5Z8W4M3X7Q2V9T6R1K0PA", "plan_1"] {
        let answer = stage.operator.delete(&format!("{path}/{bad}")).await;
        assert_eq!(answer.problem(404), "unknown-plan");
    }
    for (wrong, code, field) in [
        (json!({"amount": "0", "period": "day"}), "invalid-amount", "amount"),
        (json!({"amount": "1", "period": "year"}), "invalid-body", "period"),
        (
            json!({"amount": "1", "period": "day", "rollover_cap": "-1"}),
            "invalid-amount",
            "rollover_cap",
        ),
    ] {
        let answer = stage.operator.post(&path, wrong).await;
        assert_eq!(answer.problem(422), code);
        assert_eq!(answer.json(422)["field"], field);
    }
}

/// The race: processes that were all away while periods began come back at once, each with the same to give.
#[tokio::test]
async fn each_period_is_given_for_once_however_many_processes_come_back() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let id = account_of(&account);
    let plan = PlanId::from_parts(clock::now().ms(), clock::random_id_bits());
    let started = PlanStarted {
        plan,
        amount: credits("10"),
        period: Period::Day,
        starts_at: clock::now().minus_seconds(3 * 86_400 + 600),
        rollover_cap: credits("4"),
    };
    append(&stage.harness, id, vec![started.into()]).await;
    let processes = [stage.harness.ledger(), stage.harness.ledger(), stage.harness.ledger()];
    let tries = processes
        .iter()
        .map(|ledger| ledger.submit(SettleDue { account: id }, by_system()));
    for tried in futures_util::future::join_all(tries).await {
        tried.unwrap();
    }
    let log = whole_log(&stage.harness.log()).await;
    let given = |recorded: &Recorded| {
        if let Event::CreditsGranted(e) = &recorded.event {
            e.period.map(|period| (period.number, e.amount.to_string()))
        } else {
            None
        }
    };
    let given: Vec<_> = log.iter().filter_map(given).collect();
    let expected = [(1, "10"), (2, "14"), (3, "14"), (4, "14")].map(|(n, amount)| (n, amount.to_owned()));
    assert_eq!(given, expected);
    let last = log.last().unwrap().position;
    let row = list(&stage, &account, "plans", &format!("0:{last}")).await[0].clone();
    assert_eq!(row["periods"], 4);
    let balance = stage.operator.get(&format!("{account}/balance")).await.json(200);
    let sums = ["granted", "expired", "available"].map(|member| balance[member].as_str().unwrap());
    assert_eq!(sums, ["40", "26", "14"]);
}

#[tokio::test]
async fn the_sweeper_finds_a_plan_when_its_next_period_begins_and_not_before() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let body = json!({"amount": "1", "period": "day"});
    let started = stage.operator.post(&format!("{account}/plans"), body).await;
    list(&stage, &account, "plans", started.position()).await;
    let due = async |seconds: u32| {
        stage
            .harness
            .views()
            .due_accounts(clock::now().plus_seconds(seconds), 10, &[])
            .await
            .unwrap()
    };
    assert_eq!(due(86_000).await, []);
    assert_eq!(due(86_401).await, [account_of(&account)]);
}
