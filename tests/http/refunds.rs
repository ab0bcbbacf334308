//! Charges that are taken back.

use keyledger::tokens::Role;
use keyledger_events::{Event, Recorded};
use serde_json::{Value, json};

use super::stage::{Stage, id_of, secret_of};

/// Charges the key for some units of half a credit; the charge's address.
async fn charge(stage: &Stage, account: &str, secret: &str, quantity: u64) -> String {
    let reserve = json!({"secret": secret, "endpoint": "ai_visibility", "quantity": quantity});
    let held = stage.operator.post("/v1/reservations", reserve).await.json(201);
    let path = format!("{account}/reservations/{}/charge", id_of(&held));
    stage.operator.post(&path, json!({})).await.json(200);
    format!("{account}/charges/{}", id_of(&held))
}

async fn balance(stage: &Stage, account: &str, after: &str) -> Value {
    let path = format!("{account}/balance?after={after}");
    stage.operator.get(&path).await.json(200)
}

#[tokio::test]
async fn a_charge_is_taken_back_in_parts_and_never_more_than_all_of_it() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let charge = charge(&stage, &account, secret_of(&made), 6).await;
    let refund = format!("{charge}/refund");
    let because = "The data was stale";
    // At once: whoever was told of a charge can take it back.
    let part = stage
        .operator
        .post(&refund, json!({"amount": "1", "reason": because}))
        .await;
    let part = part.json(201);
    assert!(id_of(&part).starts_with("refund_"));
    let told = ["amount", "left", "available", "reason"].map(|member| part[member].as_str().unwrap());
    assert_eq!(told, ["1", "2", "8", because]);
    let more = stage
        .operator
        .post(&refund, json!({"amount": "2.5", "reason": because}))
        .await;
    assert_eq!(more.problem(422), "refund-exceeds-charge");
    let rest = stage.operator.post(&refund, json!({"reason": because})).await;
    let after = rest.position().to_owned();
    assert_eq!(rest.json(201)["amount"], "2");
    let again = stage.operator.post(&refund, json!({"reason": because})).await;
    assert_eq!(again.problem(409), "charge-refunded");
    let sums = balance(&stage, &account, &after).await;
    let sums = ["available", "charged", "refunded", "granted"].map(|member| sums[member].as_str().unwrap());
    assert_eq!(sums, ["10", "3", "3", "10"]);
    let read = async |what: &str| {
        stage
            .operator
            .get(&format!("{account}/{what}after={after}"))
            .await
            .json(200)
    };
    let line = read("charges?").await["items"][0].clone();
    assert_eq!((&line["amount"], &line["refunded"]), (&json!("3"), &json!("3")));
    let used = read("usage?by=key&").await["items"][0].clone();
    assert_eq!((&used["charged"], &used["refunded"]), (&json!("3"), &json!("3")));
    let grant = read("grants?").await["items"][0].clone();
    assert_eq!(grant["remaining"], "10");
}

#[tokio::test]
async fn a_refund_under_one_idempotency_key_is_one_and_another_charges_is_another() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let first = charge(&stage, &account, secret_of(&made), 4).await;
    let other = charge(&stage, &account, secret_of(&made), 4).await;
    let refund = async |charge: &str, amount: &str| {
        let body = json!({"amount": amount, "reason": "stale"});
        let path = format!("{charge}/refund");
        stage.operator.post_with(&path, &[("idempotency-key", "r")], body).await
    };
    let once = refund(&first, "1").await.json(201);
    let again = refund(&first, "1.0").await;
    assert_eq!((again.header("idempotent-replayed"), again.json(201)), ("true", once));
    assert_eq!(refund(&first, "0.5").await.problem(422), "idempotency-mismatch");
    assert_eq!(refund(&other, "1").await.problem(422), "idempotency-mismatch");
}

#[tokio::test]
async fn what_was_never_charged_cannot_be_refunded() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let (neighbour, _) = stage.customer("10").await;
    let held = stage
        .operator
        .post(
            "/v1/reservations",
            json!({"secret": secret_of(&made), "endpoint": "serp"}),
        )
        .await
        .json(201);
    let charge = charge(&stage, &account, secret_of(&made), 1).await;
    let charge = charge.rsplit('/').next().unwrap();
    let body = || json!({"reason": "stale"});
    for path in [
        format!("{account}/charges/{}/refund", id_of(&held)),
        format!("{account}/charges/rsv_1/refund"),
        format!("{neighbour}/charges/{charge}/refund"),
    ] {
        assert_eq!(
            stage.operator.post(&path, body()).await.problem(404),
            "unknown-charge",
            "{path}"
        );
    }
    let nobody = format!("/v1/accounts/acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA/charges/{charge}/refund");
    assert_eq!(
        stage.operator.post(&nobody, body()).await.problem(404),
        "unknown-account"
    );
    let path = format!("{account}/charges/{charge}/refund");
    for (wrong, code) in [
        (json!({}), "invalid-body"),
        (json!({"reason": " "}), "invalid-body"),
        (json!({"reason": "x".repeat(201)}), "invalid-body"),
        (json!({"reason": "stale", "amount": "0"}), "invalid-amount"),
        (json!({"reason": "stale", "amount": "-1"}), "invalid-amount"),
    ] {
        assert_eq!(
            stage.operator.post(&path, wrong.clone()).await.problem(422),
            code,
            "{wrong}"
        );
    }
    for (role, status) in [(Role::Metering, 403), (Role::Auditor, 403), (Role::Billing, 201)] {
        let client = stage.client(role).await;
        assert_eq!(client.post(&path, body()).await.status, status, "{}", role.as_str());
    }
}

/// The race: both read the same charge, of which nothing is refunded yet, before either decides.
#[tokio::test]
async fn two_processes_never_refund_more_than_the_charge_together() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let charge = charge(&stage, &account, secret_of(&made), 8).await;
    let other = Stage::on(stage.harness.another(), true).await;
    let path = format!("{charge}/refund");
    let refund = |stage: &Stage| {
        let (client, path) = (stage.operator.clone(), path.clone());
        tokio::spawn(async move {
            client
                .post(&path, json!({"amount": "0.75", "reason": "stale"}))
                .await
                .status
        })
    };
    let tries: Vec<_> = (0..12)
        .map(|n| refund(if n % 2 == 0 { &stage } else { &other }))
        .collect();
    let mut statuses = Vec::new();
    for tried in tries {
        statuses.push(tried.await.unwrap());
    }
    statuses.sort();
    assert_eq!(statuses, [[201; 5].as_slice(), [422; 7].as_slice()].concat());
    let log = stage
        .harness
        .log()
        .read(keyledger_events::Position::START, 1_000)
        .await
        .unwrap();
    let refunded = log.iter().filter_map(|stored| {
        let recorded = Recorded::decode(&stored.body).unwrap();
        if let Event::CreditsRefunded(e) = recorded.event {
            Some(e.amount.micros())
        } else {
            None
        }
    });
    assert_eq!(refunded.sum::<i64>(), 3_750_000);
}

#[tokio::test]
async fn an_old_charge_is_refunded_by_a_process_that_has_forgotten_it() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("1").await;
    let charge = charge(&stage, &account, secret_of(&made), 2).await;
    // Its grant was used up and is no longer in any state; another process has never had it.
    let other = Stage::on(stage.harness.another(), true).await;
    let refunded = other
        .operator
        .post(&format!("{charge}/refund"), json!({"reason": "stale"}))
        .await;
    let after = refunded.position().to_owned();
    assert_eq!(refunded.json(201)["available"], "1");
    let held = json!({"secret": secret_of(&made), "endpoint": "ai_visibility", "quantity": 2});
    other.operator.post("/v1/reservations", held).await.json(201);
    let rows = other
        .operator
        .get(&format!("{account}/grants?after={after}"))
        .await
        .json(200);
    assert_eq!(rows["items"].as_array().unwrap().len(), 1, "no grant was made anew");
}
