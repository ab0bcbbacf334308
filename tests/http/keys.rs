//! Keys: shown once, listed, renamed, deleted, and their history.

use serde_json::{Value, json};

use super::stage::{Stage, id_of, secret_of};

#[tokio::test]
async fn a_key_is_shown_once_and_never_again() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let made = stage
        .operator
        .post(&format!("{account}/keys"), json!({"name": " Looker Studio "}))
        .await;
    assert_eq!(made.header("cache-control"), "no-store");
    let position = made.position().to_owned();
    let made = made.json(201);
    let (secret, key) = (secret_of(&made).to_owned(), &made["key"]);
    assert!(secret.starts_with("sk_live_"));
    assert_eq!(key["name"], "Looker Studio");
    assert_eq!(key["preview"], format!("{}...", &secret[..11]));
    assert_eq!(
        (&key["state"], &key["last_used_at"], &key["uses"]),
        (&json!("active"), &Value::Null, &json!(0))
    );
    let everything = [
        format!("{account}/keys?state=all&after={position}"),
        format!("{account}/events"),
        format!("{account}/keys/{}/history", id_of(key)),
        "/v1/events".to_owned(),
        "/metrics".to_owned(),
    ];
    for path in everything {
        let answer = stage.operator.get(&path).await;
        assert_eq!(answer.status, 200, "{path} {}", answer.text);
        assert!(!answer.text.contains(&secret[11..]), "{path}");
    }
}

#[tokio::test]
async fn an_idempotency_key_makes_one_key_and_shows_its_text_once() {
    let stage = Stage::open().await;
    let (one, other) = (stage.account().await, stage.account().await);
    let send = async |account: &str, key: &str, body: Value| {
        let path = format!("{account}/keys");
        stage.operator.post_with(&path, &[("idempotency-key", key)], body).await
    };
    let first = send(&one, "k-1", json!({"name": "CI"})).await;
    assert_eq!(first.header("idempotent-replayed"), "");
    let first = first.json(201);
    let again = send(&one, "k-1", json!({"environment": null, "name": "CI"})).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    let again = again.json(201);
    assert_eq!(
        (&again["secret"], &again["key"]["id"]),
        (&Value::Null, &first["key"]["id"])
    );
    assert_eq!(
        send(&one, "k-1", json!({"name": "CD"})).await.problem(422),
        "idempotency-mismatch"
    );
    let elsewhere = send(&other, "k-1", json!({"name": "CI"})).await.json(201);
    assert_ne!(elsewhere["key"]["id"], first["key"]["id"]);
    let all = stage.operator.get(&format!("{one}/events")).await.json(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn fifty_requests_with_one_idempotency_key_make_one_key() {
    let stage = Stage::open().await;
    let path = format!("{}/keys", stage.account().await);
    let requests = (0..50).map(|_| {
        let (operator, path) = (stage.operator.clone(), path.clone());
        tokio::spawn(async move {
            let headers = [("idempotency-key", "same")];
            operator
                .post_with(&path, &headers, json!({"name": "CI"}))
                .await
                .json(201)
        })
    });
    let mut answers = Vec::new();
    for request in requests.collect::<Vec<_>>() {
        answers.push(request.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|answer| !answer["secret"].is_null()).count(), 1);
    assert!(
        answers
            .iter()
            .all(|answer| answer["key"]["id"] == answers[0]["key"]["id"])
    );
}

#[tokio::test]
async fn a_deleted_key_leaves_the_list_and_works_nowhere() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let key = format!("{account}/keys/{}", id_of(&made["key"]));
    let deleted = stage.operator.delete(&format!("{key}?reason=leaked")).await;
    let position = deleted.position().to_owned();
    let deleted = deleted.json(200);
    assert_eq!(
        (&deleted["state"], &deleted["delete_reason"]),
        (&json!("deleted"), &json!("leaked"))
    );
    let again = stage.operator.delete(&key).await;
    assert_eq!(again.json(200)["delete_reason"], "leaked");
    let list = async |state: &str| {
        let path = format!("{account}/keys?after={position}{state}");
        stage.operator.get(&path).await.json(200)["items"].clone()
    };
    assert_eq!(list("").await, json!([]));
    assert_eq!(list("&state=all").await[0]["state"], "deleted");
    let reserve = json!({"secret": secret_of(&made), "endpoint": "serp"});
    assert_eq!(
        stage.operator.post("/v1/reservations", reserve).await.problem(401),
        "key-deleted"
    );
    let rename = stage.operator.patch(&key, json!({"name": "Risen"})).await;
    assert_eq!(rename.problem(409), "key-deleted");
}

#[tokio::test]
async fn a_renamed_key_is_listed_under_its_new_name_with_its_uses() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let key = format!("{account}/keys/{}", id_of(&made["key"]));
    let reserve = json!({"secret": secret_of(&made), "endpoint": "serp"});
    stage.operator.post("/v1/reservations", reserve).await.json(201);
    let renamed = stage.operator.patch(&key, json!({"name": "Cafe\u{301} שלום"})).await;
    let path = format!("{account}/keys?after={}", renamed.position());
    assert_eq!(renamed.json(200)["name"], "Café שלום");
    let row = stage.operator.get(&path).await.json(200)["items"][0].clone();
    assert_eq!((&row["name"], &row["uses"]), (&json!("Café שלום"), &json!(1)));
    assert!(row["last_used_at"].is_string());
}

#[tokio::test]
async fn a_keys_history_is_its_stored_events_unchanged() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let reserve = json!({"secret": secret_of(&made), "endpoint": "serp"});
    stage.operator.post("/v1/reservations", reserve).await.json(201);
    let path = format!("{account}/keys/{}/history", id_of(&made["key"]));
    let history = stage.operator.get(&path).await;
    let stored = stage
        .harness
        .log()
        .read(keyledger_events::Position(2), 10)
        .await
        .unwrap();
    let stored: Vec<String> = stored
        .into_iter()
        .map(|event| String::from_utf8(event.body).unwrap())
        .collect();
    assert_eq!(
        history.text,
        format!(r#"{{"items":[{}],"next_cursor":null}}"#, stored.join(","))
    );
    assert_eq!(history.position(), "0:5");
}

#[tokio::test]
async fn lists_page_without_a_gap_or_a_repetition() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let mut made = Vec::new();
    let mut position = String::new();
    for n in 0..5 {
        let answer = stage
            .operator
            .post(&format!("{account}/keys"), json!({"name": format!("{n}")}))
            .await;
        position = answer.position().to_owned();
        made.push(id_of(&answer.json(201)["key"]).to_owned());
    }
    made.sort();
    for (list, newest_first) in [("keys", true), ("events", false)] {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("{account}/{list}?limit=2&after={position}{cursor}");
            let page = stage.operator.get(&path).await.json(200);
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2);
            ids.extend(items.iter().filter_map(|item| {
                let id = if newest_first {
                    &item["id"]
                } else {
                    &item["data"]["key"]
                };
                Some(id.as_str()?.to_owned())
            }));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        if newest_first {
            ids.reverse();
            ids.sort();
        }
        ids.sort();
        assert_eq!(ids, made, "{list}");
    }
}
