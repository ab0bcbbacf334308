//! A log that a version of before wrote, with every kind of event there was: it is read, folded and gone on with for ever.
//!
//! `tests/golden/log-*.ndjson` are never edited. A kind of event that is new goes into a file of its own, which
//! `cargo nextest run --workspace --run-ignored only -E 'test(/old_log/)'` writes from a log of today.

use std::collections::BTreeSet;

use keyledger::log::Batch;
use keyledger::projector::{View, check_views};
use keyledger_events::{DenyReason, Event, KeyUseDenied, Recorded};
use keyledger_projections::{BalanceRows, ChargesRows, KeyListRows, UsageRows, replay};
use serde_json::{Value, json};

use super::stage::{Stage, id_of, secret_of};
use crate::harness::Harness;
use crate::ledger::writers::whole_log_as_it_is;
use crate::pages::activity::account_of;
use crate::projector::appended::append;

/// Each log there was, and what it came to.
const LOGS: &[(&str, &str)] = &[
    (
        include_str!("../golden/log-1.ndjson"),
        include_str!("../golden/log-1.json"),
    ),
    // With who was let in.
    (
        include_str!("../golden/log-2.ndjson"),
        include_str!("../golden/log-2.json"),
    ),
    // With what it says of people sealed.
    (
        include_str!("../golden/log-3.ndjson"),
        include_str!("../golden/log-3.json"),
    ),
];

fn events(log: &str) -> Vec<Recorded> {
    log.lines()
        .map(|line| Recorded::decode(line.as_bytes()).expect("an old event is read"))
        .collect()
}

/// What the folds make of a log: sums of accounts, and how much there is of everything else.
fn came_to(events: &[Recorded]) -> Value {
    let balances: BalanceRows = replay(events).expect("an old log is folded");
    let accounts: serde_json::Map<String, Value> = balances
        .accounts
        .values()
        .map(|row| {
            let sums = &row.sums;
            let told = json!({
                "available": sums.available(), "reserved": sums.reserved, "granted": sums.granted,
                "charged": sums.charged, "refunded": sums.refunded, "expired": sums.expired,
            });
            (row.account.to_string(), told)
        })
        .collect();
    let keys: KeyListRows = replay(events).expect("an old log is folded");
    let deleted = keys.0.values().filter(|key| key.deleted.is_some()).count();
    let uses: i64 = keys.0.values().map(|key| key.uses).sum();
    let charges: ChargesRows = replay(events).expect("an old log is folded");
    let usage: UsageRows = replay(events).expect("an old log is folded");
    json!({
        "accounts": accounts, "grants": balances.grants.len(), "plans": balances.plans.len(), "keys": keys.0.len(),
        "keys_deleted": deleted, "uses": uses, "charges": charges.0.len(), "usage": usage.used.len(),
    })
}

#[test]
fn every_kind_of_event_is_in_an_old_log_and_comes_to_what_it_came_to() {
    let mut kinds = BTreeSet::new();
    for (log, expected) in LOGS {
        let events = events(log);
        kinds.extend(events.iter().map(|recorded| recorded.event.type_name()));
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(came_to(&events), expected);
        for (line, recorded) in log.lines().zip(&events) {
            assert_eq!(recorded.encode(), line.as_bytes(), "written again, it is the same");
        }
    }
    let all: BTreeSet<&str> = Event::TYPES.iter().copied().collect();
    assert_eq!(kinds, all, "a new kind of event goes into a log of its own");
}

#[tokio::test]
async fn an_old_log_is_gone_on_with() {
    for (log, expected) in LOGS {
        let harness = Harness::start().await;
        let mut batch = Batch::default();
        let old = events(log);
        for recorded in &old {
            batch.push(recorded, true);
        }
        harness.log().append(&batch).await.unwrap();
        let stage = Stage::on(harness, true).await;
        let expected: Value = serde_json::from_str(expected).unwrap();
        for (account, sums) in expected["accounts"].as_object().unwrap() {
            let path = format!("/v1/accounts/{account}");
            let balance = stage
                .operator
                .get(&format!("{path}/balance?after=0:{}", old.len()))
                .await
                .json(200);
            let charged: keyledger_events::Credits = balance["charged"].as_str().unwrap().parse().unwrap();
            assert_eq!(sums["charged"], charged.micros(), "{account}");
            if stage.operator.get(&path).await.json(200)["closed_at"].is_string() {
                continue;
            }
            // It lives: it is given credits, and they are spent and counted.
            let grant = json!({"amount": "5", "source": "purchase"});
            stage.operator.post(&format!("{path}/grants"), grant).await.json(201);
            let made = stage
                .operator
                .post(&format!("{path}/keys"), json!({"name": "New"}))
                .await
                .json(201);
            let hold = json!({"secret": secret_of(&made), "endpoint": "serp"});
            let held = stage.operator.post("/v1/reservations", hold).await.json(201);
            let charge = format!("{path}/reservations/{}/charge", id_of(&held));
            let done = stage.operator.post(&charge, json!({})).await;
            let after = done.position().to_owned();
            done.json(200);
            let balance = stage
                .operator
                .get(&format!("{path}/balance?after={after}"))
                .await
                .json(200);
            let more: keyledger_events::Credits = balance["charged"].as_str().unwrap().parse().unwrap();
            assert_eq!(more.micros() - charged.micros(), 500_000, "{account}");
        }
        for (view, checked) in check_views(stage.harness.owner_url(), &View::ALL, |_, _| {})
            .await
            .unwrap()
        {
            assert_eq!(checked.unwrap().rows_different, 0, "{view}");
        }
    }
}

/// Writes a log of today with every kind of event, and what it comes to, to the target directory.
#[tokio::test]
#[ignore = "writes files, for a new version's log"]
async fn write_a_log_of_today() {
    let stage = Stage::open().await;
    let post = async |path: &str, body: Value| stage.operator.post(path, body).await.json(201);
    let opened = json!({"name": "Acme", "external_ref": "crm/7", "credit_limit": "2"});
    let account = format!("/v1/accounts/{}", id_of(&post("/v1/accounts", opened).await));
    let of = |rest: &str| format!("{account}/{rest}");
    let changed = json!({"name": "Acme & Co", "external_ref": "crm/8", "credit_limit": "3"});
    stage.operator.patch(&account, changed).await.json(200);
    let soon = keyledger::clock::now().plus_seconds(1).to_string();
    for grant in [
        json!({"amount": "100", "source": "purchase", "reference": "inv-1"}),
        json!({"amount": "3", "source": "promotion", "expires_at": soon, "priority": 1}),
        json!({"amount": "5", "source": "promotion", "starts_at": soon}),
        json!({"amount": "5", "source": "promotion", "endpoints": ["serp"]}),
    ] {
        post(&of("grants"), grant).await;
    }
    let thresholds = json!({"thresholds": ["200", "1"]});
    stage.operator.put(&of("thresholds"), thresholds).await.json(200);
    let key = post(
        &of("keys"),
        json!({"name": "Looker", "scopes": ["serp", "echo"], "rate_limit": {"per_second": 5}}),
    )
    .await;
    let test = post(&of("keys"), json!({"name": "Trying", "environment": "test"})).await;
    let rotated = post(
        &of("keys"),
        json!({"name": "Old", "spending_limit": {"amount": "50", "per": "day"}}),
    )
    .await;
    let leaked = post(&of("keys"), json!({"name": "Leaked"})).await;
    let path = |key: &Value| of(&format!("keys/{}", id_of(&key["key"])));
    for change in [
        json!({"name": "Renamed"}),
        json!({"spending_limit": {"amount": "20", "per": "month"}}),
    ] {
        stage.operator.patch(&path(&key), change).await.json(200);
    }
    let rotate = stage
        .operator
        .post(&format!("{}/rotate", path(&rotated)), json!({"overlap_seconds": 0}))
        .await;
    rotate.json(201);
    stage
        .operator
        .post("/v1/leaks", json!({"keys": [secret_of(&leaked)]}))
        .await
        .json(200);
    for (n, secret) in [secret_of(&key), secret_of(&test)].iter().cycle().take(8).enumerate() {
        let hold = json!({"secret": secret, "endpoint": "serp", "quantity": 2});
        let held = post("/v1/reservations", hold).await;
        let settle = of(&format!("reservations/{}", id_of(&held)));
        if n % 3 == 0 {
            stage
                .operator
                .post(&format!("{settle}/release"), json!({"cause": "error"}))
                .await
                .json(200);
        } else if n % 3 == 1 {
            stage
                .operator
                .post(&format!("{settle}/charge"), json!({"quantity": 1}))
                .await
                .json(200);
        }
    }
    let at_once = json!({"account": account.rsplit('/').next().unwrap(), "endpoint": "serp", "quantity": 4});
    let charged = stage.operator.post("/v1/charges", at_once).await;
    let after = charged.position().to_owned();
    let refund = of(&format!("charges/{}/refund?after={after}", id_of(&charged.json(201))));
    post(&refund, json!({"amount": "0.5", "reason": "Stale"})).await;
    post(&of("corrections"), json!({"amount": "-1", "reason": "Counted twice"})).await;
    let plan = post(
        &of("plans"),
        json!({"amount": "10", "period": "month", "rollover_cap": "5"}),
    )
    .await;
    stage
        .operator
        .delete(&of(&format!("plans/{}", id_of(&plan))))
        .await
        .json(200);
    let book = json!({"prices": [{"endpoint": "serp", "match": "GET /serp", "price": "0.5"}]});
    stage.operator.put("/v1/prices", book).await.json(200);
    let token = post("/v1/tokens", json!({"role": "billing", "name": "Nightly run"})).await;
    let token = format!("/v1/tokens/{}", id_of(&token["token"]));
    stage.operator.delete(&token).await.json(200);
    post(&of("portal-sessions"), json!({"name": "Ada"})).await;
    post(&of("portal-sessions"), json!({"read_only": true})).await;
    for body in [json!({"name": "Grace"}), json!({})] {
        post("/v1/operator-sessions", body).await;
    }
    let denied = Event::from(KeyUseDenied {
        key: id_of(&key["key"]).parse().unwrap(),
        reason: DenyReason::Scope,
        count: 3,
    });
    append(&stage.harness, account_of(&account), vec![denied]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    // What is due comes with whatever is next.
    stage
        .operator
        .patch(&path(&test), json!({"name": "Trying out"}))
        .await
        .json(200);
    let (closing, _) = stage.customer("5").await;
    stage
        .operator
        .post(&format!("{closing}/close"), json!({"reason": "Asked for"}))
        .await
        .json(200);
    let erase = format!("{closing}/personal-data?reason=Asked%20for");
    stage.operator.delete(&erase).await.json(200);
    let log = whole_log_as_it_is(&stage.harness.log()).await;
    let kinds: BTreeSet<&str> = log.iter().map(|recorded| recorded.event.type_name()).collect();
    assert_eq!(kinds, Event::TYPES.iter().copied().collect());
    let lines: Vec<u8> = log
        .iter()
        .flat_map(|recorded| [recorded.encode(), b"\n".to_vec()].concat())
        .collect();
    let target = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::write(target.join("log.ndjson"), lines).unwrap();
    std::fs::write(
        target.join("log.json"),
        serde_json::to_string_pretty(&came_to(&log)).unwrap(),
    )
    .unwrap();
}
