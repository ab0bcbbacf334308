//! The product over an archived log: pages, statements, refunds, reconciling, views checked and built again.

use std::collections::BTreeMap;
use std::process::Output;

use keyledger_events::{Position, Shard};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{bytes, log_of_uses, move_all, rows};
use crate::harness::{Harness, until};
use crate::http::stage::{Stage, id_of, secret_of};
use crate::projector::{level, relay, views_equal_replay};
use crate::service::process::KEYLEDGER;

async fn keyledger(harness: &Harness, arguments: &[&str]) -> Output {
    Command::new(KEYLEDGER)
        .args(arguments)
        .env("DATABASE_URL", harness.owner_url())
        .output()
        .await
        .unwrap()
}

/// Exit code and lines, in any order, which have to be the same before and after.
async fn told(harness: &Harness, arguments: &[&str]) -> (Option<i32>, String) {
    let output = keyledger(harness, arguments).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let faults = String::from_utf8(output.stderr).unwrap();
    let faults = faults.lines().filter(|line| !line.contains(" INFO "));
    lines.extend(faults);
    (output.status.code(), lines.join("\n"))
}

/// Charges by a key, as many as asked for; the first one's id.
async fn charges(stage: &Stage, account: &str, secret: &str, many: usize) -> String {
    let mut first = None;
    for _ in 0..many {
        let hold = json!({"secret": secret, "endpoint": "serp"});
        let held = stage.operator.post("/v1/reservations", hold).await.json(201);
        let path = format!("{account}/reservations/{}/charge", id_of(&held));
        stage.operator.post(&path, json!({})).await.json(200);
        first = first.or(Some(id_of(&held).to_owned()));
    }
    first.unwrap()
}

async fn answers(stage: &Stage, paths: &[String]) -> BTreeMap<String, String> {
    let mut answers = BTreeMap::new();
    for path in paths {
        let answer = stage.operator.get(path).await;
        assert_eq!(answer.status, 200, "{path} {}", answer.text);
        answers.insert(path.clone(), answer.text);
    }
    answers
}

/// Every event of a list, page by page.
async fn walk(stage: &Stage, path: &str) -> Vec<Value> {
    let (mut events, mut query) = (Vec::new(), "from=1&limit=100".to_owned());
    loop {
        let page = stage.operator.get(&format!("{path}?{query}")).await.json(200);
        events.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => query = format!("limit=100&cursor={next}"),
            None => return events,
        }
    }
}

#[tokio::test]
async fn everything_that_people_see_is_the_same_when_the_log_is_archived() {
    let stage = Stage::open().await;
    let (first, made) = stage.customer("1000").await;
    let (second, other) = stage.customer("1000").await;
    let early = charges(&stage, &first, secret_of(&made), 60).await;
    charges(&stage, &second, secret_of(&other), 50).await;
    charges(&stage, &first, secret_of(&made), 70).await;
    let refund = json!({"amount": "0.1", "reason": "Stale"});
    let path = format!("{first}/charges/{early}/refund");
    stage.operator.post(&path, refund.clone()).await.json(201);
    level(&stage.harness).await;
    let key = id_of(&made["key"]);
    let now = keyledger::clock::now().to_string();
    let day = format!("from=2020-01-01T00:00:00Z&to={now}");
    let paths = [
        "/v1/events?from=1&limit=200".to_owned(),
        "/v1/events?from=200&limit=100".to_owned(),
        format!("{first}/events"),
        format!("{first}/statement?{day}"),
        format!("{second}/statement?{day}&format=csv"),
        format!("{first}/keys/{key}/history"),
        format!("{first}/usage?by=key"),
        format!("{first}/charges"),
    ];
    let before = answers(&stage, &paths).await;
    let walked = walk(&stage, "/v1/events").await;
    assert!(walked.len() > 512);
    let commands: [&[&str]; 4] = [
        &["views", "check", "--json"],
        &["reconcile", "--from", "2020-01-01", "--to", &now, "--json"],
        &["rebuild", "all"],
        &["views", "check"],
    ];
    let mut said = Vec::new();
    for command in commands {
        said.push(told(&stage.harness, command).await);
    }
    assert_eq!(said[0].0, Some(0), "{}", said[0].1);
    assert_eq!(said[1].0, Some(0), "{}", said[1].1);

    let directory = tempfile::tempdir().unwrap();
    assert_eq!(move_all(&stage.harness, directory.path(), 1).await.0, 2);
    assert_eq!(answers(&stage, &paths).await, before);
    assert_eq!(walk(&stage, "/v1/events").await, walked);
    for (command, said) in commands.iter().zip(&said) {
        assert_eq!(told(&stage.harness, command).await, *said, "{command:?}");
    }
    views_equal_replay(&stage.harness).await;
    // Views from nothing: folded from the files and what is left.
    let mut owner = stage.harness.owner().await;
    sqlx::query("update views.charges set charged = charged + 1")
        .execute(&mut owner)
        .await
        .unwrap();
    assert_eq!(told(&stage.harness, &["views", "check", "charges"]).await.0, Some(1));
    assert_eq!(told(&stage.harness, &["rebuild", "charges"]).await.0, Some(0));
    assert_eq!(told(&stage.harness, &["views", "check", "charges"]).await.0, Some(0));
    views_equal_replay(&stage.harness).await;
    // A charge that is archived, from a grant that is archived, is taken back.
    let refunded = stage.operator.post(&path, refund).await.json(201);
    assert_eq!(refunded["left"], "0.3");
    assert!(rows(&stage.harness).await.1 > Some(512));
}

#[tokio::test]
async fn a_bus_that_has_forgotten_everything_is_filled_from_the_files() {
    let (harness, directory) = log_of_uses(1_300).await;
    move_all(&harness, directory.path(), 1).await;
    let before = bytes(&harness).await;
    let (ledger, bus) = (harness.ledger(), harness.bus().await);
    relay(&harness, bus.clone(), &ledger);
    until("the bus has all of the log", async || {
        bus.last_position(Shard(0)).await == Some(Position(1_300))
    })
    .await;
    let stream = bus.jetstream().get_stream(bus.stream_name(Shard(0))).await.unwrap();
    for at in [1_usize, 256, 257, 1_280, 1_281] {
        let message = stream.get_raw_message(u64::try_from(at).unwrap()).await.unwrap();
        assert_eq!(message.payload, before[at - 1]);
    }
}

#[tokio::test]
async fn use_of_an_archived_time_is_charged_anew_and_compared_with_a_file() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("1000").await;
    let directory = tempfile::tempdir().unwrap();
    let mut lines = String::from("charge,credits\n");
    for _ in 0..90 {
        let id = charges(&stage, &account, secret_of(&made), 1).await;
        lines.push_str(&format!("{id},0.5\n"));
    }
    level(&stage.harness).await;
    let file = directory.path().join("lines.csv");
    std::fs::write(&file, lines).unwrap();
    let book = directory.path().join("book.toml");
    std::fs::write(
        &book,
        "[[prices]]\nendpoint = \"serp\"\nmatch = \"GET /serp\"\nprice = \"1\"\n",
    )
    .unwrap();
    let (file, book) = (file.to_str().unwrap(), book.to_str().unwrap());
    let now = keyledger::clock::now().to_string();
    let span = ["--from", "2020-01-01", "--to", &now];
    let by_id = [
        "--csv",
        file,
        "--by-reservation",
        "charge",
        "--amount-column",
        "credits",
    ];
    let reprice = [&["reprice", "--book", book, "--json"], span.as_slice()].concat();
    let reconcile = [&["reconcile", "--json"], span.as_slice(), by_id.as_slice()].concat();
    let before = [
        told(&stage.harness, &reprice).await,
        told(&stage.harness, &reconcile).await,
    ];
    assert_eq!((before[0].0, before[1].0), (Some(0), Some(0)), "{before:?}");
    assert!(before[0].1.contains("\"would_be\":\"90\""), "{}", before[0].1);
    assert_eq!(move_all(&stage.harness, directory.path(), 1).await.0, 1);
    let after = [
        told(&stage.harness, &reprice).await,
        told(&stage.harness, &reconcile).await,
    ];
    assert_eq!(after, before);
}
