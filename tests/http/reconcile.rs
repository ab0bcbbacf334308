//! `keyledger reconcile`: what is equal is called equal, what was tampered with is named, and so is what a platform's own file
//! says otherwise.

mod file;

use keyledger::ledger::{ReserveCredits, Usage};
use keyledger_events::{Endpoint, KeyPrefix, KeySecret, ReservationId};
use serde_json::{Value, json};

use super::stage::{Stage, secret_of};
use crate::ledger::customer::{by_system, reserve};
use crate::service::process::KEYLEDGER;

struct Said {
    code: i32,
    out: String,
    error: String,
}

impl Said {
    fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, code, "{}{}", self.out, self.error);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

async fn reconcile(stage: &Stage, arguments: &[&str]) -> Said {
    let ran = tokio::process::Command::new(KEYLEDGER)
        .arg("reconcile")
        .args(arguments)
        .env("DATABASE_URL", stage.harness.owner_url())
        .output()
        .await
        .unwrap();
    Said {
        code: ran.status.code().unwrap(),
        out: String::from_utf8(ran.stdout).unwrap(),
        error: String::from_utf8(ran.stderr).unwrap(),
    }
}

/// A charge of the ledger, as the platform's own file would tell it.
#[derive(Clone)]
struct Charged {
    id: String,
    request: String,
    account: String,
    credits: String,
    at: String,
}

/// Holds by a key for a client's request, as the gateway does.
async fn hold(stage: &Stage, secret: &str, request: &str, quantity: u64) -> ReservationId {
    let digest = KeySecret::parse(&KeyPrefix::default(), secret).unwrap().digest();
    let usage = Usage {
        request: Some(request.to_owned()),
        ..Usage::default()
    };
    let command = ReserveCredits {
        endpoint: Endpoint::parse("ai_visibility").unwrap(),
        quantity,
        usage,
        ..reserve(digest, keyledger::clock::fresh_reservation_id())
    };
    stage
        .ledger
        .submit(command, by_system())
        .await
        .unwrap()
        .reply
        .reservation
}

/// Holds and charges by a key, under a request's id.
async fn charge(stage: &Stage, account: &str, secret: &str, request: &str, quantity: u64) -> Charged {
    let id = hold(stage, secret, request, 8).await.to_string();
    let path = format!("{account}/reservations/{id}/charge");
    let charged = stage.operator.post(&path, json!({"quantity": quantity})).await;
    let after = charged.position().to_owned();
    let charged = charged.json(200);
    let row = stage
        .operator
        .get(&format!("{account}/charges?limit=1&after={after}"))
        .await
        .json(200);
    Charged {
        id,
        request: request.to_owned(),
        account: charged["account"].as_str().unwrap().to_owned(),
        credits: charged["charged"].as_str().unwrap().to_owned(),
        at: row["items"][0]["charged_at"].as_str().unwrap().to_owned(),
    }
}

/// Two customers with charges, one of them refunded in part, and what they were charged.
async fn busy(stage: &Stage) -> Vec<Charged> {
    let mut all = Vec::new();
    for customer in 0..2 {
        let (account, made) = stage.customer("100").await;
        for n in 1..=4 {
            let request = format!("req-{customer}-{n}");
            all.push(charge(stage, &account, secret_of(&made), &request, n).await);
        }
        let refund = format!("{account}/charges/{}/refund", all.last().unwrap().id);
        let refunded = stage
            .operator
            .post(&refund, json!({"amount": "0.5", "reason": "stale"}))
            .await;
        let after = refunded.position().to_owned();
        refunded.json(201);
        for view in ["charges", "usage", "balance"] {
            stage
                .operator
                .get(&format!("{account}/{view}?after={after}"))
                .await
                .json(200);
        }
    }
    all
}

#[tokio::test]
async fn what_is_equal_is_called_equal_for_all_and_for_one_in_any_period() {
    let stage = Stage::open().await;
    let charges = busy(&stage).await;
    let said = reconcile(&stage, &[]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.error);
    assert!(
        said.out.contains("are equal: 2 accounts, 12 lines and 8 charges"),
        "{}",
        said.out
    );
    let one = &charges[0].account;
    let all = reconcile(&stage, &["--json"]).await.json(0);
    assert_eq!(
        (&all["equal"], &all["lines"], &all["owned"]),
        (&json!(true), &json!(12), &json!("191"))
    );
    let middle = &charges[2].at;
    for (arguments, lines) in [
        (vec!["--account", one], 6),
        (vec!["--account", one, "--from", middle], 3),
        (vec!["--account", one, "--to", middle], 3),
        (vec!["--month", "2020-02"], 0),
    ] {
        let told = reconcile(&stage, &[&arguments[..], &["--json"]].concat()).await.json(0);
        assert_eq!(told["lines"], lines, "{arguments:?}");
    }
}

#[tokio::test]
async fn all_accounts_may_own_more_than_one_amount_can_be() {
    let stage = Stage::open().await;
    stage.customer("9000000000").await;
    stage.customer("9000000000").await;
    let said = reconcile(&stage, &[]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.error);
    assert!(said.out.contains("18000000000 credits are owned"), "{}", said.out);
    assert_eq!(
        reconcile(&stage, &["--json"]).await.json(0)["owned"],
        json!("18000000000")
    );
}

#[tokio::test]
async fn what_was_tampered_with_is_named_by_its_place() {
    let stage = Stage::open().await;
    busy(&stage).await;
    let mut owner = stage.harness.owner().await;
    // What is done, what undoes it, who is named, and a word of what is said.
    let tampered = [
        (
            "update views.charges set charged_at = charged_at - interval '1 year' where charged = 1500000",
            "update views.charges set charged_at = charged_at + interval '1 year' where charged = 1500000",
            "views.charges",
            "charged_at=20",
        ),
        (
            "update views.charges set charged = charged + 1, quantity = quantity + 1 where charged = 1500000",
            "update views.charges set charged = charged - 1, quantity = quantity - 1 where charged = 1500001",
            "views.charges",
            "charged=1.500001",
        ),
        (
            "update views.charges set refunded = refunded + 1 where refunded > 0",
            "update views.charges set refunded = refunded - 1 where refunded > 0",
            "views.charges",
            "500001 micro-credits refunded",
        ),
        (
            "update views.balance set expired = expired + 1",
            "update views.balance set expired = expired - 1",
            "views.balance",
            "expired=1",
        ),
        (
            "update views.usage set quantity = quantity + 1",
            "update views.usage set quantity = quantity - 1",
            "views.usage",
            "quantity=11",
        ),
        (
            "update views.usage_by_endpoint set refunded = refunded + 1",
            "update views.usage_by_endpoint set refunded = refunded - 1",
            "views.usage_by_endpoint",
            "refunded=500001",
        ),
        (
            "insert into statement_marks select 0, account_id, 3, 1, 7, 0, 0, 0, 0 from views.balance",
            "delete from statement_marks",
            "statement",
            "7",
        ),
    ];
    for (statement, undo, who, word) in tampered {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
        let told = reconcile(&stage, &["--json"]).await.json(1);
        let what = told["first"]["what"].as_str().unwrap();
        assert!(what.starts_with(who), "{statement}: {told}");
        assert!(
            told["first"]["other"].as_str().unwrap().contains(word),
            "{statement}: {told}"
        );
        sqlx::query(undo).execute(&mut owner).await.unwrap();
        assert_eq!(reconcile(&stage, &[]).await.code, 0, "{undo}");
    }
    // No statement reads a mark of another format: it says nothing that could differ.
    sqlx::query("insert into statement_marks select 0, account_id, 3, 0, 7, 0, 0, 0, 0 from views.balance")
        .execute(&mut owner)
        .await
        .unwrap();
    assert_eq!(reconcile(&stage, &[]).await.code, 0);
    sqlx::query("delete from views.charges where charged = 1500000")
        .execute(&mut owner)
        .await
        .unwrap();
    let said = reconcile(&stage, &[]).await;
    assert_eq!(said.code, 1);
    assert!(
        said.out.starts_with("2 of 2 accounts differ") && said.out.contains("views.charges of acct_"),
        "{}",
        said.out
    );
    assert_eq!(
        reconcile(&stage, &["--account", "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA"])
            .await
            .code,
        2
    );
    assert_eq!(reconcile(&stage, &["--from", "2998-01-01"]).await.code, 2);
    assert_eq!(reconcile(&stage, &["--from", "yesterday"]).await.code, 2);
    let away = ["--database-url", "postgres://nobody@127.0.0.1:1/none"];
    assert_eq!(reconcile(&stage, &away).await.code, 2);
}

#[tokio::test]
async fn what_is_equal_is_called_equal_while_everything_goes_on() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("1000").await;
    let secret = secret_of(&made).to_owned();
    let stop = tokio_util::sync::CancellationToken::new();
    let going_on = async {
        let mut charges = 0;
        while !stop.is_cancelled() {
            charge(&stage, &account, &secret, "req", 1).await;
            charges += 1;
        }
        charges
    };
    let looking = async {
        let mut lines = 0;
        for _ in 0..3 {
            lines = reconcile(&stage, &["--json"]).await.json(0)["lines"].as_u64().unwrap();
        }
        stop.cancel();
        lines
    };
    let (charges, lines) = tokio::join!(going_on, looking);
    assert!(
        lines > 1 && lines <= charges + 1,
        "{lines} lines of {charges} charges and a grant"
    );
}
