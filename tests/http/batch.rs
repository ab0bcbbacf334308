//! `POST /v1/batch`: many metering commands, a line each.

use std::collections::HashSet;

use http::Method;
use keyledger::clock;
use keyledger::tokens::Role;
use keyledger_events::Event;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::{Answer, Client};
use super::stage::{Stage, id_of, secret_of};
use crate::harness::until;
use crate::ledger::writers::whole_log;

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

async fn send(client: &Client, body: impl Into<bytes::Bytes>) -> Answer {
    client.send(Method::POST, "/v1/batch", &[NDJSON], body).await
}

fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The answers, each of which says which line it is to.
fn answers(answer: &Answer) -> Vec<Value> {
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, NDJSON.1));
    let lines: Vec<Value> = answer
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(line["line"], n + 1, "{line}");
    }
    lines
}

fn fresh() -> String {
    clock::fresh_reservation_id().to_string()
}

fn account_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

/// One of two accounts that are alike: what one is asked by itself, the other is asked in a batch.
struct Half {
    account: String,
    secret: String,
    ids: Vec<String>,
}

async fn half(stage: &Stage) -> Half {
    let (path, made) = stage.customer("10").await;
    Half {
        account: account_of(&path).to_owned(),
        secret: secret_of(&made).to_owned(),
        ids: (0..4).map(|_| fresh()).collect(),
    }
}

impl Half {
    /// Commands of all kinds, good and bad, each as a line and as a call of its own.
    fn commands(&self) -> Vec<(Value, String, Value)> {
        let Half { account, secret, ids } = self;
        let hold = |id: &str, quantity: u64| json!({"secret": secret, "endpoint": "ai_visibility", "quantity": quantity, "id": id});
        let reserve = |body: Value| (json!({"reserve": body}), "/v1/reservations".to_owned(), body);
        let settle = |what: &str, id: &str, body: Value| {
            let mut line = body.clone();
            line["account"] = json!(account);
            line["reservation"] = json!(id);
            let path = format!("/v1/accounts/{account}/reservations/{id}/{what}");
            (json!({ what: line }), path, body)
        };
        let at_once = |body: Value| (json!({"charge_at_once": body}), "/v1/charges".to_owned(), body);
        vec![
            reserve(hold(&ids[0], 5)),
            reserve(hold(&ids[0], 5)),
            reserve(hold(&ids[0], 6)),
            settle("charge", &ids[0], json!({"quantity": 3})),
            settle("charge", &ids[0], json!({"quantity": 3})),
            settle("release", &ids[0], json!({"cause": "error"})),
            reserve(hold(&ids[1], 2)),
            settle("charge", &ids[1], json!({"quantity": 3})),
            settle("release", &ids[1], json!({"cause": "queued"})),
            settle("release", &ids[1], json!({"cause": "sold"})),
            settle("charge", &ids[2], json!({})),
            at_once(json!({"account": account, "endpoint": "serp", "quantity": 2, "id": ids[3]})),
            at_once(json!({"account": account, "endpoint": "serp", "quantity": 2, "id": ids[3]})),
            at_once(json!({"account": account, "endpoint": "nothing"})),
            at_once(json!({"account": account, "endpoint": "serp", "quantity": 100_000})),
            at_once(json!({"account": account, "endpoint": "serp", "quantity": 0})),
            at_once(json!({"account": account, "endpoint": "serp", "price": "0"})),
            reserve(json!({"endpoint": "serp"})),
            reserve(json!({"secret": "sk_live_wrong", "endpoint": "serp"})),
            reserve(json!({"account": "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA", "endpoint": "serp"})),
        ]
    }
}

/// Of two accounts that are alike the answers are, but for what only one of them has.
fn alike(body: &Value, half: &Half) -> String {
    let mut body = body.clone();
    if let Some(members) = body.as_object_mut() {
        members.retain(|name, _| name != "key" && name != "expires_at");
    }
    let mut text = body.to_string().replace(&half.account, "<account>");
    for (n, id) in half.ids.iter().enumerate() {
        text = text.replace(id, &format!("<id {n}>"));
    }
    text
}

#[tokio::test]
async fn a_line_is_answered_as_its_own_call_is() {
    let stage = Stage::open().await;
    let (single, batched) = (half(&stage).await, half(&stage).await);
    let client = stage.client(Role::Metering).await;
    let lines: Vec<Value> = batched.commands().into_iter().map(|(line, ..)| line).collect();
    let told = answers(&send(&client, text(&lines)).await);
    let commands = single.commands();
    assert_eq!(told.len(), commands.len());
    for ((_, path, body), line) in commands.into_iter().zip(&told) {
        let answer = client.post(&path, body.clone()).await;
        assert_eq!(line["status"], answer.status.as_u16(), "{body}: {line}");
        let own: Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!(alike(&line["body"], &batched), alike(&own, &single), "{body}");
        let replayed = answer.header("idempotent-replayed") == "true";
        assert_eq!(line["replayed"].as_bool().unwrap_or_default(), replayed, "{body}");
        assert_eq!(line["position"].is_string(), !answer.position().is_empty(), "{body}");
    }
}

#[tokio::test]
async fn a_bad_line_is_a_problem_of_its_own() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let good = json!({"charge_at_once": {"account": account_of(&account), "endpoint": "serp"}}).to_string();
    let long = format!(r#"{{"reserve":"{}"}}"#, "x".repeat(20_000));
    let secret = secret_of(&made);
    let bad = [
        ("", 400, "invalid-json", Value::Null),
        ("nonsense", 400, "invalid-json", Value::Null),
        ("{\"reserve\":", 400, "invalid-json", Value::Null),
        ("[]", 422, "invalid-body", Value::Null),
        ("{}", 422, "invalid-body", Value::Null),
        (r#"{"reserve":{},"charge":{}}"#, 422, "invalid-body", Value::Null),
        (r#"{"refund":{}}"#, 422, "invalid-body", Value::Null),
        (r#"{"reserve":5}"#, 422, "invalid-body", Value::Null),
        (
            r#"{"charge_at_once":{"endpoint":"serp"}}"#,
            422,
            "invalid-body",
            json!("account"),
        ),
        (
            r#"{"charge":{"account":"x","reservation":"y"}}"#,
            422,
            "invalid-body",
            json!("account"),
        ),
        (long.as_str(), 413, "body-too-large", Value::Null),
        ("\u{FEFF}{}", 400, "invalid-json", Value::Null),
    ];
    let mut body = String::new();
    for (line, ..) in &bad {
        body.push_str(&format!("{line}\n{good}\r\n"));
    }
    // Its last line may lack its end; a key's text in the wrong place comes back nowhere.
    body.push_str(&format!(r#"{{"{secret}":{{}}}}"#));
    let answer = send(&stage.operator, body).await;
    assert!(!answer.text.contains(secret));
    let told = answers(&answer);
    assert_eq!(told.len(), 2 * bad.len() + 1);
    for ((line, status, code, field), pair) in bad.iter().zip(told.chunks(2)) {
        assert_eq!(
            (&pair[0]["status"], &pair[0]["body"]["code"]),
            (&json!(status), &json!(code)),
            "{line}"
        );
        assert_eq!(&pair[0]["body"]["field"], field, "{line}");
        assert_eq!(pair[1]["status"], 201, "{line}");
    }
    let mut bytes = good.clone().into_bytes();
    bytes.extend_from_slice(b"\n{\"\xff\":1}\n");
    bytes.extend_from_slice(good.as_bytes());
    let told = answers(&send(&stage.operator, bytes).await);
    let statuses: Vec<u64> = told.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 400, 201]);
}

#[tokio::test]
async fn batches_are_for_those_who_meter_and_of_lines() {
    let stage = Stage::open().await;
    for (role, status) in [
        (Role::Operator, 200),
        (Role::Metering, 200),
        (Role::Billing, 403),
        (Role::Auditor, 403),
    ] {
        let answer = send(&stage.client(role).await, "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.is_empty()),
            (status, status == 200)
        );
    }
    for kind in ["application/json", "text/plain", "application/x-ndjson-x"] {
        let headers = [("content-type", kind)];
        let answer = stage.operator.send(Method::POST, "/v1/batch", &headers, "{}").await;
        assert_eq!(answer.problem(415), "unsupported-media-type", "{kind}");
    }
    let encoded = [NDJSON, ("content-encoding", "gzip")];
    let answer = stage.operator.send(Method::POST, "/v1/batch", &encoded, "{}").await;
    assert_eq!(answer.problem(415), "unsupported-media-type");
}

/// Ten thousand lines whose client reads nothing before it has sent them all: holds that are charged further down.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_lines_are_each_carried_out_once_however_often_they_are_sent() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("1000000").await;
    let account = account_of(&account).to_owned();
    let ids: Vec<String> = (0..5_000).map(|_| fresh()).collect();
    let mut lines = Vec::new();
    for chunk in ids.chunks(100) {
        for id in chunk {
            lines.push(json!({"reserve": {"account": account, "endpoint": "serp", "quantity": 2, "id": id}}));
        }
        for id in chunk {
            lines.push(json!({"charge": {"account": account, "reservation": id, "quantity": 1}}));
        }
    }
    let body = text(&lines);
    let first = answers(&send(&stage.operator, body.clone()).await);
    assert_eq!(first.len(), 10_000);
    for (line, asked) in first.iter().zip(&lines) {
        let status = if asked["reserve"].is_object() { 201 } else { 200 };
        assert_eq!(line["status"], status, "{line}");
    }
    let again = answers(&send(&stage.operator, body.clone()).await);
    for (line, asked) in again.iter().zip(&lines) {
        // A hold that was charged is closed; a charge is the same one.
        let status = if asked["reserve"].is_object() { 409 } else { 200 };
        assert_eq!(
            (&line["status"], line["replayed"].as_bool()),
            (&json!(status), (status == 200).then_some(true))
        );
    }
    let log = whole_log(&stage.harness.log()).await;
    let charged = log
        .iter()
        .filter(|e| matches!(e.event, Event::CreditsCharged(_)))
        .count();
    assert_eq!(charged, 5_000);
    // One line more is not read.
    let more = answers(&send(&stage.operator, format!("{body}{}\n{}\n", lines[0], lines[0])).await);
    assert_eq!((more.len(), &more[10_000]["status"]), (10_001, &json!(413)));
}

#[tokio::test]
async fn a_batch_ends_with_its_token() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("1000").await;
    let line = || {
        let body = json!({"account": account_of(&account), "endpoint": "serp"});
        let line = format!("{}\n", json!({"charge_at_once": body}));
        format!("{:x}\r\n{line}\r\n", line.len())
    };
    let (token, secret) = stage.tokens.create(Role::Metering, "batch").await.unwrap();
    let mut socket = TcpStream::connect(stage.address).await.unwrap();
    let head = format!(
        "POST /v1/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
        secret.expose_text_to_its_maker()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(line().as_bytes()).await.unwrap();
    let mut heard = String::new();
    // The end of the answer is its last chunk.
    while !heard.ends_with("\r\n0\r\n\r\n") {
        let mut piece = [0; 4_096];
        let length = socket.read(&mut piece).await.unwrap();
        assert!(length > 0, "{heard}");
        heard.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        if heard.ends_with("}\n\r\n") && !heard.contains("\"line\":2") {
            assert!(stage.revoke(token).await);
            socket.write_all(line().as_bytes()).await.unwrap();
        }
    }
    assert!(heard.contains("\"line\":1,\"status\":201"), "{heard}");
    assert!(heard.contains("\"line\":2,\"status\":401"), "{heard}");
}

#[tokio::test]
async fn a_batch_is_answered_while_it_is_still_being_sent_and_a_client_that_hangs_up_ends_it() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("1000").await;
    let line = |id: &str| {
        let body = json!({"account": account_of(&account), "endpoint": "serp", "id": id});
        let line = format!("{}\n", json!({"charge_at_once": body}));
        format!("{:x}\r\n{line}\r\n", line.len())
    };
    let ids: HashSet<String> = (0..3).map(|_| fresh()).collect();
    let mut socket = TcpStream::connect(stage.address).await.unwrap();
    let head = format!(
        "POST /v1/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
        stage.operator_token.1
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut heard = String::new();
    for (n, id) in ids.iter().enumerate() {
        socket.write_all(line(id).as_bytes()).await.unwrap();
        while !heard.contains(&format!("\"line\":{}", n + 1)) {
            let mut piece = [0; 4_096];
            let length = socket.read(&mut piece).await.unwrap();
            assert!(length > 0, "{heard}");
            heard.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        }
    }
    // Half a line more, and gone.
    socket.write_all(&line(&fresh()).as_bytes()[..30]).await.unwrap();
    drop(socket);
    let charged = async || {
        let log = whole_log(&stage.harness.log()).await;
        let charges = log.iter().filter_map(|recorded| {
            if let Event::CreditsCharged(e) = &recorded.event {
                Some(e.reservation.to_string())
            } else {
                None
            }
        });
        charges.collect::<HashSet<_>>()
    };
    until("each line is carried out", async || charged().await == ids).await;
    // The server goes on, and ends when it is told to: no batch keeps it.
    let body = json!({"account": account_of(&account), "endpoint": "serp"});
    let one = stage.operator.post("/v1/charges", body).await.json(201);
    assert!(!ids.contains(id_of(&one)));
    stage.stop.cancel();
    stage.served.await.unwrap();
}
