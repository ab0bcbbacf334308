//! `keyledger reprice`: what was used, at other prices.

use std::process::Output;

use keyledger::clock;
use serde_json::{Value, json};
use tokio::process::Command;

use super::process::KEYLEDGER;
use crate::http::stage::{Stage, id_of, secret_of};

const BOOK: &str = r#"
    [[prices]]
    endpoint = "serp"
    match = "GET /serp"
    price = "0.75"
    [[prices]]
    endpoint = "serp"
    match = "GET /other"
    price = "1"
    [[prices]]
    endpoint = "ai_visibility"
    match = "GET /ai"
    price = "0.25"
    quantity = { json = "/conversations" }
    quantity_max = 10
"#;

async fn reprice(stage: &Stage, more: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let book = directory.path().join("other.toml");
    std::fs::write(&book, BOOK).unwrap();
    Command::new(KEYLEDGER)
        .args(["reprice", "--book", book.to_str().unwrap()])
        .args(more)
        .env("DATABASE_URL", stage.harness.owner_url())
        .output()
        .await
        .unwrap()
}

async fn lines(stage: &Stage, from: &str, to: &str, code: i32) -> Vec<Value> {
    let output = reprice(stage, &["--from", from, "--to", to, "--json"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let faults = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}{faults}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The line of this account, endpoint or all of it, as charged, refunded, would be and difference.
fn told(lines: &[Value], what: &str, of: &Value) -> [String; 4] {
    let line = lines.iter().find(|line| line[what] == *of).unwrap();
    ["charged", "refunded", "would_be", "difference"].map(|member| line[member].as_str().unwrap().to_owned())
}

async fn charge(stage: &Stage, account: &str, endpoint: &str, quantity: u64) -> String {
    let account = account.rsplit('/').next().unwrap();
    let body = json!({"account": account, "endpoint": endpoint, "quantity": quantity});
    id_of(&stage.operator.post("/v1/charges", body).await.json(201)).to_owned()
}

async fn refund(stage: &Stage, account: &str, charge: &str, amount: &str) {
    let path = format!("{account}/charges/{charge}/refund");
    let body = json!({"amount": amount, "reason": "Stale"});
    stage.operator.post(&path, body).await.json(201);
}

#[tokio::test]
async fn real_use_is_charged_anew_with_its_refunds_parts_and_trials() {
    let stage = Stage::open().await;
    let (first, made) = stage.customer("1000").await;
    let (second, _) = stage.customer("1000").await;
    // Half a credit a unit each: 4 units, of which 2 and a half are refunded in two parts.
    let one = charge(&stage, &first, "serp", 4).await;
    refund(&stage, &first, &one, "0.5").await;
    refund(&stage, &first, &one, "0.75").await;
    // Held for 50, of which 3 were delivered; and one that brought nothing.
    for (quantity, delivered) in [(50, Some(3)), (50, None)] {
        let hold = json!({"secret": secret_of(&made), "endpoint": "ai_visibility", "quantity": quantity});
        let hold = stage.operator.post("/v1/reservations", hold).await.json(201);
        let path = format!("{first}/reservations/{}", id_of(&hold));
        match delivered {
            Some(units) => {
                stage
                    .operator
                    .post(&format!("{path}/charge"), json!({"quantity": units}))
                    .await
            }
            None => {
                stage
                    .operator
                    .post(&format!("{path}/release"), json!({"cause": "error"}))
                    .await
            }
        }
        .json(200);
    }
    // A test key's work costs nothing under any book.
    let test = json!({"name": "CI", "environment": "test"});
    let test = stage.operator.post(&format!("{first}/keys"), test).await.json(201);
    let hold = json!({"secret": secret_of(&test), "endpoint": "serp", "quantity": 9});
    let hold = stage.operator.post("/v1/reservations", hold).await.json(201);
    let path = format!("{first}/reservations/{}/charge", id_of(&hold));
    stage.operator.post(&path, json!({})).await.json(200);
    charge(&stage, &second, "serp", 2).await;
    charge(&stage, &second, "echo", 3).await;

    let (from, to) = (
        clock::now().minus_seconds(3_600).to_string(),
        clock::now().plus_seconds(1).to_string(),
    );
    let all = lines(&stage, &from, &to, 1).await;
    let id = |account: &str| json!(account.rsplit('/').next().unwrap());
    // 4 × 0.75 + 3 × 0.25, without 2.5 units of 0.75.
    assert_eq!(told(&all, "account", &id(&first)), ["3.5", "1.25", "1.875", "-0.375"]);
    assert_eq!(told(&all, "account", &id(&second)), ["2.5", "0", "1.5", "-1"]);
    assert_eq!(told(&all, "endpoint", &json!("serp")), ["3", "1.25", "2.625", "0.875"]);
    assert_eq!(
        told(&all, "endpoint", &json!("ai_visibility")),
        ["1.5", "0", "0.75", "-0.75"]
    );
    assert_eq!(told(&all, "endpoint", &json!("echo")), ["1.5", "0", "0", "-1.5"]);
    assert_eq!(told(&all, "total", &json!(true)), ["6", "1.25", "3.375", "-1.375"]);
    let total = all.last().unwrap();
    assert_eq!(
        (&total["charges"], &total["unknown_endpoints"]),
        (&json!(5), &json!(["echo"]))
    );
    let serp = all.iter().find(|line| line["endpoint"] == "serp").unwrap();
    assert_eq!((&serp["known"], &serp["ambiguous"]), (&json!(true), &json!(true)));

    // The same for people; nothing is written by either.
    let output = reprice(&stage, &["--from", &from, "--to", &to]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("echo is not in this book: its 1 charges would have cost nothing"),
        "{text}"
    );
    assert!(text.contains("serp has several prices in this book"), "{text}");
}

#[tokio::test]
async fn only_what_was_made_in_the_time_is_counted() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("1000").await;
    let mut moments = vec![clock::now()];
    for quantity in [1, 2, 4] {
        charge(&stage, &account, "serp", quantity).await;
        moments.push(clock::now().plus_seconds(0));
    }
    let told_of = async |from: usize, to: usize| {
        let (from, to) = (moments[from].to_string(), moments[to].to_string());
        told(&lines(&stage, &from, &to, 0).await, "total", &json!(true))[2].clone()
    };
    assert_eq!(told_of(0, 1).await, "0.75");
    assert_eq!(told_of(1, 2).await, "1.5");
    assert_eq!(told_of(1, 3).await, "4.5");
    assert_eq!(told_of(0, 3).await, "5.25");
    let nothing = lines(&stage, "2020-01-01", "2020-02-01", 0).await;
    assert_eq!((nothing.len(), &nothing[0]["events"]), (1, &json!(0)));
}

#[tokio::test]
async fn what_cannot_be_told_says_why() {
    let stage = Stage::open().await;
    for (more, why) in [
        (
            &["--from", "2026-02-01", "--to", "2026-02-01"][..],
            "--to has to be later",
        ),
        (&["--from", "soon", "--to", "2026-02-01"], "a day such as"),
        (&["--from", "2026-02-01"], "--to"),
    ] {
        let output = reprice(&stage, more).await;
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && told.contains(why), "{told}");
    }
    stage.harness.close_database().await;
    let output = reprice(&stage, &["--from", "2026-01-01", "--to", "2026-02-01"]).await;
    assert_eq!(output.status.code(), Some(2));
}
