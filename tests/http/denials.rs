//! Uses that were refused: counted, written down at most once a minute, and told to the owner.

use serde_json::{Value, json};

use super::stage::{Stage, id_of, secret_of};

/// What a key that is shown this often is told.
async fn shown(stage: &Stage, secret: &str, endpoint: &str, times: usize) -> String {
    let mut code = String::new();
    for _ in 0..times {
        let hold = json!({"secret": secret, "endpoint": endpoint});
        let answer = stage.operator.post("/v1/reservations", hold).await;
        code = serde_json::from_str::<Value>(&answer.text).unwrap()["code"].to_string();
    }
    code
}

/// The denials that the account's log has: reason and count, by key.
async fn written(stage: &Stage, account: &str) -> Vec<(Value, Value, Value)> {
    let events = stage
        .operator
        .get(&format!("{account}/events?limit=200"))
        .await
        .json(200);
    let events = events["items"].as_array().unwrap();
    let denied = events
        .iter()
        .filter(|event| event["type"] == "keyledger.KeyUseDenied.v1");
    denied
        .map(|event| {
            assert_eq!(event["actor"], "system");
            let data = &event["data"];
            (data["key"].clone(), data["reason"].clone(), data["count"].clone())
        })
        .collect()
}

#[tokio::test]
async fn an_owner_learns_which_keys_are_refused_why_and_how_often() {
    let stage = Stage::open().await;
    let (account, full) = stage.customer("1").await;
    let make = async |body: Value| stage.operator.post(&format!("{account}/keys"), body).await.json(201);
    let gone = make(json!({"name": "Gone"})).await;
    let narrow = make(json!({"name": "Narrow", "scopes": ["echo"]})).await;
    let path = format!("{account}/keys/{}", id_of(&gone["key"]));
    stage.operator.delete(&path).await.json(200);
    assert_eq!(shown(&stage, secret_of(&gone), "serp", 3).await, "\"key-deleted\"");
    assert_eq!(shown(&stage, secret_of(&narrow), "serp", 2).await, "\"key-scope\"");
    // Two are let through.
    assert_eq!(
        shown(&stage, secret_of(&full), "serp", 3).await,
        "\"insufficient-credits\""
    );
    let made_up = keyledger_events::base62_secret("sk_live_", [7; 32]);
    assert_eq!(shown(&stage, &made_up, "serp", 5).await, "\"key-invalid\"");
    assert_eq!(
        written(&stage, &account).await,
        [],
        "nothing is written by a refusal itself"
    );
    stage.ledger.note_denials().await;
    let mut all = written(&stage, &account).await;
    all.sort_by_key(|(_, reason, _)| reason.to_string());
    let expected = [(&gone, "deleted", 3), (&full, "no-credits", 1), (&narrow, "scope", 2)];
    let expected = expected.map(|(key, reason, count)| (key["key"]["id"].clone(), json!(reason), json!(count)));
    assert_eq!(all, expected);
    let head = stage.harness.log().head().await.unwrap().position;
    let list = format!("{account}/keys?state=all&after=0:{head}");
    let list = stage.operator.get(&list).await.json(200);
    for (key, count) in [(&gone, 3), (&full, 1), (&narrow, 2)] {
        let rows = list["items"].as_array().unwrap();
        let row = rows.iter().find(|row| row["id"] == key["key"]["id"]).unwrap();
        assert_eq!(row["denied_today"], count);
    }
}

#[tokio::test]
async fn however_many_processes_refuse_a_key_has_one_event_a_minute_and_nothing_is_forgotten() {
    let here = Stage::open().await;
    let there = Stage::on(here.harness.another(), true).await;
    let (account, key) = here.customer("10").await;
    let path = format!("{account}/keys/{}", id_of(&key["key"]));
    here.operator.delete(&path).await.json(200);
    shown(&here, secret_of(&key), "serp", 4).await;
    shown(&there, secret_of(&key), "serp", 5).await;
    here.ledger.note_denials().await;
    there.ledger.note_denials().await;
    shown(&here, secret_of(&key), "serp", 1).await;
    here.ledger.note_denials().await;
    let counts: Vec<Value> = written(&here, &account)
        .await
        .into_iter()
        .map(|(_, _, count)| count)
        .collect();
    assert_eq!(counts, [json!(4)]);
    // What was not written is still known, for when the minute is over.
    assert!(!there.ledger.key_signals().denials().is_empty());
    assert!(!here.ledger.key_signals().denials().is_empty());
}
