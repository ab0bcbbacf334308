//! Access tokens over the API, and what the log says of them: nobody is let in of whom it does not tell.

use http::Method;
use keyledger::tokens::Role;
use keyledger_events::{Actor, Event, Recorded, TokenId};
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};

use super::client::Client;
use super::stage::{Stage, id_of, secret_of};
use crate::harness::until;
use crate::ledger::writers::whole_log;

async fn last(stage: &Stage) -> Recorded {
    whole_log(&stage.harness.log()).await.pop().unwrap()
}

fn with(stage: &Stage, made: &Value) -> Client {
    Client::new(stage.address, Some(secret_of(made).to_owned()))
}

async fn works(client: &Client) -> bool {
    client.get("/v1/accounts").await.status == 200
}

#[tokio::test]
async fn the_log_says_who_made_and_who_revoked_a_token() {
    let stage = Stage::open().await;
    let asked = json!({"role": "operator", "name": "On call"});
    let made = stage.operator.post("/v1/tokens", asked).await;
    let (position, made) = (made.position().to_owned(), made.json(201));
    let created = last(&stage).await;
    let Event::TokenCreated(event) = &created.event else {
        panic!("{created:?}");
    };
    assert_eq!(event.token.to_string(), id_of(&made["token"]));
    assert_eq!((event.name.as_str(), event.role.as_str()), ("On call", "operator"));
    assert_eq!(created.actor, Actor::Token(stage.operator_token.0));
    assert_eq!(made["token"]["position"], position.as_str());
    assert_eq!(made["token"]["created_by"], stage.operator_token.0.to_string());
    assert!(!String::from_utf8(created.encode()).unwrap().contains("digest"));
    // What it does has it as the actor, the revocation of another one too.
    let on_call = with(&stage, &made);
    let first = format!("/v1/tokens/{}", stage.operator_token.0);
    let revoked = on_call.delete(&first).await.json(200);
    let ended = last(&stage).await;
    assert!(matches!(&ended.event, Event::TokenRevoked(event) if event.token == stage.operator_token.0));
    assert_eq!(ended.actor.to_string(), id_of(&made["token"]));
    assert_eq!(revoked["revoked_by"], id_of(&made["token"]));
    assert_eq!(revoked["revoked_position"], format!("0:{}", ended.position));
    assert_eq!(stage.operator.get("/v1/accounts").await.problem(401), "token-invalid");
    let again = on_call.delete(&first).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.json(200), revoked);
    assert_eq!(last(&stage).await.position, ended.position);
}

#[tokio::test]
async fn tokens_are_listed_without_their_texts_and_those_of_before_are_told_apart() {
    let stage = Stage::open().await;
    let asked = json!({"role": "auditor", "name": "Audit 2026"});
    let made = stage.operator.post("/v1/tokens", asked).await.json(201);
    let all = stage.operator.get("/v1/tokens").await;
    assert!(!all.text.contains("klt_"));
    let items = all.json(200)["items"].as_array().unwrap().clone();
    assert_eq!(items[0], made["token"]);
    // The tests' own was made before the log told of tokens, and works.
    assert_eq!(items[1]["id"], stage.operator_token.0.to_string());
    assert_eq!(
        (&items[1]["position"], &items[1]["created_by"]),
        (&Value::Null, &Value::Null)
    );
    let path = format!("/v1/tokens/{}", id_of(&made["token"]));
    stage.operator.delete(&path).await.json(200);
    let listed = async |query: &str| {
        let list = stage.operator.get(&format!("/v1/tokens{query}")).await.json(200);
        (list["items"].as_array().unwrap().len(), list["next_cursor"].clone())
    };
    assert_eq!(listed("").await, (1, Value::Null));
    assert_eq!(listed("?state=all").await, (2, Value::Null));
    let (one, next) = listed("?state=all&limit=1").await;
    assert_eq!(one, 1);
    let rest = format!("?state=all&limit=1&cursor={}", next.as_str().unwrap());
    assert_eq!(listed(&rest).await, (1, Value::Null));
    // A token that was revoked before the log told of tokens has no event then, and gets none.
    let (old, _) = stage.tokens.create(Role::Auditor, "old").await.unwrap();
    let mut owner = stage.harness.owner().await;
    let revoked = "update access_tokens set revoked_at = now() where name = 'old'";
    sqlx::query(revoked).execute(&mut owner).await.unwrap();
    let before = last(&stage).await.position;
    let told = stage.operator.delete(&format!("/v1/tokens/{old}")).await.json(200);
    assert_eq!(
        (&told["revoked_by"], &told["revoked_position"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(last(&stage).await.position, before);
}

#[tokio::test]
async fn only_an_operator_makes_and_revokes_tokens_and_who_reads_may_list_them() {
    let stage = Stage::open().await;
    let path = format!("/v1/tokens/{}", stage.operator_token.0);
    for (role, lists) in [(Role::Metering, false), (Role::Billing, true), (Role::Auditor, true)] {
        let client = stage.client(role).await;
        let asked = json!({"role": "operator", "name": "Mine"});
        assert_eq!(client.post("/v1/tokens", asked).await.problem(403), "forbidden");
        assert_eq!(client.delete(&path).await.problem(403), "forbidden");
        assert_eq!(client.get("/v1/tokens").await.status == 200, lists, "{role:?}");
    }
    let unknown = TokenId::from_parts(1, 1);
    for nobody in [unknown.to_string(), "tok_1".to_owned()] {
        let refused = stage.operator.delete(&format!("/v1/tokens/{nobody}")).await;
        assert_eq!(refused.problem(404), "unknown-token");
    }
    for (body, field) in [
        (json!({"role": "root", "name": "x"}), "role"),
        (json!({"role": "auditor", "name": " "}), "name"),
        (json!({"role": "auditor"}), "name"),
    ] {
        assert_eq!(stage.operator.post("/v1/tokens", body).await.json(422)["field"], field);
    }
}

/// Keeps every process from appending, as one that is about to does.
async fn hold_the_pen(stage: &Stage) -> PgConnection {
    let mut pen = stage.harness.owner().await;
    sqlx::raw_sql("begin; select 1 from log_head for update")
        .execute(&mut pen)
        .await
        .unwrap();
    pen
}

async fn named(stage: &Stage, name: &str) -> Option<bool> {
    let mut owner = stage.harness.owner().await;
    let row = sqlx::query("select revoked_at is not null as revoked from access_tokens where name = $1").bind(name);
    let row = row.fetch_optional(&mut owner).await.unwrap();
    row.map(|row| row.get("revoked"))
}

#[tokio::test]
async fn a_token_is_nowhere_before_its_event_is_in_the_log() {
    let stage = Stage::open().await;
    stage.account().await;
    let pen = hold_the_pen(&stage).await;
    let asked = json!({"role": "auditor", "name": "Early"});
    let (operator, headers) = (stage.operator.clone(), [("idempotency-key", "early")]);
    let asking = operator.post_with("/v1/tokens", &headers, asked);
    let waited = tokio::time::timeout(std::time::Duration::from_millis(700), asking);
    assert!(waited.await.is_err(), "it waits for the log");
    assert_eq!(named(&stage, "Early").await, None);
    pen.close().await.unwrap();
}

#[tokio::test]
async fn a_process_that_dies_right_after_the_event_leaves_a_token_that_opens_nothing() {
    let stage = Stage::open().await;
    // Its row cannot be written: as if the process had died before.
    let mut owner = stage.harness.owner().await;
    let refuse = "alter table access_tokens add constraint not_now check (name <> 'Halfway')";
    sqlx::query(refuse).execute(&mut owner).await.unwrap();
    let (asked, headers) = (
        json!({"role": "auditor", "name": "Halfway"}),
        [("idempotency-key", "halfway")],
    );
    let first = stage.operator.post_with("/v1/tokens", &headers, asked.clone()).await;
    assert_eq!(first.problem(503), "outcome-unknown");
    let created = last(&stage).await;
    assert!(matches!(created.event, Event::TokenCreated(_)));
    assert_eq!(named(&stage, "Halfway").await, None);
    let allow = "alter table access_tokens drop constraint not_now";
    sqlx::query(allow).execute(&mut owner).await.unwrap();
    // The repetition brings it to its end, and shows the text: nobody has seen one before.
    let again = stage.operator.post_with("/v1/tokens", &headers, asked.clone()).await;
    let made = again.json(201);
    assert!(works(&with(&stage, &made)).await);
    assert_eq!(last(&stage).await.position, created.position);
    assert_eq!(made["token"]["position"], format!("0:{}", created.position));
    let third = stage.operator.post_with("/v1/tokens", &headers, asked).await;
    assert_eq!(third.header("idempotent-replayed"), "true");
    assert_eq!(third.json(201)["secret"], Value::Null);
}

#[tokio::test]
async fn a_revoked_token_stops_even_if_the_log_hears_of_it_late() {
    let stage = Stage::open().await;
    let asked = json!({"role": "operator", "name": "Stolen"});
    let made = stage.operator.post("/v1/tokens", asked).await.json(201);
    let (stolen, path) = (with(&stage, &made), format!("/v1/tokens/{}", id_of(&made["token"])));
    assert!(works(&stolen).await);
    let pen = hold_the_pen(&stage).await;
    let asking = stage.operator.send(Method::DELETE, &path, &[], "");
    let waited = tokio::time::timeout(std::time::Duration::from_millis(700), asking);
    assert!(waited.await.is_err(), "the answer waits for the log");
    assert!(!works(&stolen).await, "the token does not");
    assert_eq!(named(&stage, "Stolen").await, Some(true));
    pen.close().await.unwrap();
    // Whoever asks again is told that it is so, and who did it is the first one.
    until("the log says so", async || {
        stage.operator.delete(&path).await.status == 200
            && whole_log(&stage.harness.log()).await.iter().any(|recorded| {
                matches!(recorded.event, Event::TokenRevoked(_))
                    && recorded.actor == Actor::Token(stage.operator_token.0)
            })
    })
    .await;
}

#[tokio::test]
async fn prices_are_found_among_tokens() {
    let stage = Stage::open().await;
    let book = |price: &str| json!({"prices": [{"endpoint": "serp", "match": "GET /serp", "price": price}]});
    for (n, price) in ["0.5", "0.75", "1"].iter().enumerate() {
        for role in ["auditor", "billing", "metering"] {
            let asked = json!({"role": role, "name": format!("{n}")});
            stage.operator.post("/v1/tokens", asked).await.json(201);
        }
        stage.operator.put("/v1/prices", book(price)).await.json(200);
    }
    let versions = async |query: &str| {
        stage
            .operator
            .get(&format!("/v1/prices/versions{query}"))
            .await
            .json(200)
    };
    let first = versions("?limit=2").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = versions(&format!("?limit=2&cursor={cursor}")).await;
    assert_eq!(
        (
            first["items"][1]["version"].clone(),
            second["items"][0]["version"].clone()
        ),
        (json!(2), json!(3))
    );
    assert_eq!(second["next_cursor"], Value::Null);
    for (version, price) in [(1, "0.5"), (2, "0.75"), (3, "1")] {
        let shown = stage
            .operator
            .get(&format!("/v1/prices/versions/{version}"))
            .await
            .json(200);
        assert_eq!(
            (&shown["version"], &shown["items"][0]["price"]),
            (&json!(version), &json!(price))
        );
    }
    assert_eq!(
        stage.operator.get("/v1/prices/versions/4").await.problem(404),
        "unknown-prices"
    );
    // A process that starts now knows the last one.
    let restarted = Stage::on(stage.harness.another(), true).await;
    let client = Client::new(restarted.address, Some(stage.operator_token.1.clone()));
    until("the book is there", async || {
        client.get("/v1/prices").await.json(200)["version"] == 3
    })
    .await;
}

#[tokio::test]
async fn the_history_says_who_a_person_on_the_pages_is_and_who_let_them_in() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let asked = json!({"name": "Ada Lovelace", "read_only": true});
    let invited = stage.operator.post(&format!("{account}/portal-sessions"), asked).await;
    let (position, invited) = (invited.position().to_owned(), invited.json(201));
    let recorded = last(&stage).await;
    let Event::PortalSessionInvited(event) = &recorded.event else {
        panic!("{recorded:?}");
    };
    assert_eq!(event.session.to_string(), id_of(&invited));
    assert_eq!(event.name.as_ref().unwrap().as_str(), "Ada Lovelace");
    assert!(event.read_only && account.ends_with(&recorded.account.to_string()));
    assert_eq!(recorded.actor, Actor::Token(stage.operator_token.0));
    assert_eq!(position, format!("0:{}", recorded.position));
    let asked = json!({"name": "Grace, on call"});
    stage.operator.post("/v1/operator-sessions", asked).await.json(201);
    let recorded = last(&stage).await;
    assert!(matches!(&recorded.event, Event::OperatorSessionInvited(event) if event.name.is_some()));
    assert_eq!(recorded.actor, Actor::Token(stage.operator_token.0));
    let nobody = stage
        .operator
        .post("/v1/accounts/acct_1/portal-sessions", json!({}))
        .await;
    assert_eq!(nobody.problem(404), "unknown-account");
    let system = "/v1/accounts/acct_00000000000000000000000000/portal-sessions";
    assert_eq!(
        stage.operator.post(system, json!({})).await.problem(404),
        "unknown-account"
    );
}
