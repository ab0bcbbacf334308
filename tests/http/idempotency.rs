//! `Idempotency-Key`, over every call that changes something: the same request twice is one, after a restart and in two
//! processes at once.

mod call;

use keyledger::tokens::Role;
use serde_json::{Value, json};

use call::{Call, Other, call};

use super::client::Client;
use super::stage::{Stage, id_of, secret_of};
use crate::ledger::writers::whole_log;

async fn made(stage: &Stage, path: &str, body: Value) -> Value {
    stage.operator.post(path, body).await.json(201)
}

/// A receiver to whom two messages were sent, as its courier would have written it down.
async fn told(stage: &Stage) {
    let mut owner = stage.harness.owner().await;
    for statement in [
        "insert into webhook_receivers (receiver, url, kinds) values ('billing', 'http://127.0.0.1:9/', '{}')
         on conflict do nothing",
        "insert into webhook_deliveries (receiver, message, kind, account_id, body, queued_at, state, next_at, ended_at)
         select 'billing', message, 'key.leaked', gen_random_uuid(), '{}', '2026-02-01', 'delivered', '2026-02-01',
             '2026-02-01'
         from unnest(array['one', 'two']) as message on conflict do nothing",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
}

/// One call of each kind, all about things of their own.
async fn calls(stage: &Stage) -> Vec<Call> {
    let (account, key) = stage.customer("100").await;
    let closing = stage.account().await;
    let leaked = [stage.customer("1").await.1, stage.customer("1").await.1];
    let mut keys = Vec::new();
    for name in ["changed", "rotated", "deleted", "other"] {
        let key = made(stage, &format!("{account}/keys"), json!({"name": name})).await;
        keys.push(format!("{account}/keys/{}", id_of(&key["key"])));
    }
    let mut plans = Vec::new();
    for _ in 0..2 {
        let plan = json!({"amount": "1", "period": "month"});
        plans.push(made(stage, &format!("{account}/plans"), plan).await);
    }
    let plan = |n: usize| format!("{account}/plans/{}", id_of(&plans[n]));
    let charge = json!({"account": account.rsplit('/').next().unwrap(), "endpoint": "serp", "quantity": 4});
    let charge = stage.operator.post("/v1/charges", charge).await;
    let position = charge.position().to_owned();
    let charge = charge.json(201);
    let refund = format!("{account}/charges/{}/refund?after={position}", id_of(&charge));
    let book = |price: &str| json!({"prices": [{"endpoint": "serp", "match": "GET /serp", "price": price}]});
    let of = |rest: &str| format!("{account}{rest}");
    let closed = stage.account().await;
    let close = json!({"reason": "Contract ended"});
    stage.operator.post(&format!("{closed}/close"), close).await.json(200);
    let mut tokens = Vec::new();
    for name in ["one", "two"] {
        tokens.push(stage.tokens.create(Role::Auditor, name).await.unwrap().0);
    }
    told(stage).await;
    vec![
        call(
            "post /v1/accounts",
            "/v1/accounts".to_owned(),
            json!({"name": "Globex"}),
            json!({"name": "Initech"}),
            201,
        ),
        call(
            "patch /v1/accounts/{account}",
            account.clone(),
            json!({"name": "Acme Ltd", "external_ref": "crm-1"}),
            json!({"name": "Acme Inc"}),
            200,
        ),
        call(
            "post /v1/accounts/{account}/close",
            format!("{closing}/close"),
            json!({"reason": "Contract ended"}),
            json!({"reason": "Fraud"}),
            200,
        ),
        call(
            "post /v1/accounts/{account}/keys",
            of("/keys"),
            json!({"name": "New"}),
            json!({"name": "Newer"}),
            201,
        )
        .showing_once("secret"),
        call(
            "patch /v1/accounts/{account}/keys/{key}",
            keys[0].clone(),
            json!({"name": "Renamed"}),
            json!({"spending_limit": {"amount": "5", "per": "day"}}),
            200,
        ),
        call(
            "post /v1/accounts/{account}/keys/{key}/rotate",
            format!("{}/rotate", keys[1]),
            json!({"overlap_seconds": 60}),
            json!({"overlap_seconds": 0}),
            201,
        )
        .showing_once("secret"),
        Call {
            other: Other::Path(keys[3].clone()),
            ..call(
                "delete /v1/accounts/{account}/keys/{key}",
                keys[2].clone(),
                Value::Null,
                Value::Null,
                200,
            )
        },
        call(
            "post /v1/leaks",
            "/v1/leaks".to_owned(),
            json!({"keys": [secret_of(&leaked[0]), "no key"]}),
            json!({"keys": [secret_of(&leaked[1])]}),
            200,
        ),
        call(
            "post /v1/accounts/{account}/portal-sessions",
            of("/portal-sessions"),
            json!({"name": "Ada"}),
            json!({"name": "Grace"}),
            201,
        )
        .showing_once("url"),
        call(
            "post /v1/operator-sessions",
            "/v1/operator-sessions".to_owned(),
            json!({"name": "Ada"}),
            json!({"name": "Grace"}),
            201,
        )
        .showing_once("url"),
        call(
            "post /v1/accounts/{account}/grants",
            of("/grants"),
            json!({"amount": "5", "source": "purchase"}),
            json!({"amount": "6", "source": "purchase"}),
            201,
        ),
        call(
            "post /v1/accounts/{account}/corrections",
            of("/corrections"),
            json!({"amount": "-5", "reason": "Twice"}),
            json!({"amount": "5", "reason": "Twice"}),
            201,
        ),
        call(
            "post /v1/accounts/{account}/plans",
            of("/plans"),
            json!({"amount": "5", "period": "day"}),
            json!({"amount": "5", "period": "week"}),
            201,
        ),
        Call {
            other: Other::Path(plan(1)),
            ..call(
                "delete /v1/accounts/{account}/plans/{plan}",
                plan(0),
                Value::Null,
                Value::Null,
                200,
            )
        },
        call(
            "put /v1/accounts/{account}/thresholds",
            of("/thresholds"),
            json!({"thresholds": ["10", "1"]}),
            json!({"thresholds": ["10"]}),
            200,
        ),
        call(
            "post /v1/accounts/{account}/charges/{charge}/refund",
            refund,
            json!({"amount": "0.5", "reason": "Stale"}),
            json!({"amount": "1", "reason": "Stale"}),
            201,
        ),
        Call {
            operation: "post /v1/webhooks/{receiver}/deliveries/{message}/replay",
            path: "/v1/webhooks/billing/deliveries/one/replay".to_owned(),
            body: Value::Null,
            other: Other::Path("/v1/webhooks/billing/deliveries/two/replay".to_owned()),
            status: 200,
            shown_once: None,
        },
        call(
            "post /v1/webhooks/{receiver}/replay",
            "/v1/webhooks/billing/replay".to_owned(),
            json!({"from": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z"}),
            json!({"from": "2026-01-01T00:00:00Z", "to": "2026-06-01T00:00:00Z"}),
            200,
        ),
        Call {
            other: Other::Path(format!("{closed}/personal-data?reason=Other")),
            ..call(
                "delete /v1/accounts/{account}/personal-data",
                format!("{closed}/personal-data"),
                Value::Null,
                Value::Null,
                200,
            )
        },
        call(
            "post /v1/reservations",
            "/v1/reservations".to_owned(),
            json!({"secret": secret_of(&key), "endpoint": "serp"}),
            json!({"secret": secret_of(&key), "endpoint": "serp", "quantity": 2}),
            201,
        ),
        call(
            "post /v1/charges",
            "/v1/charges".to_owned(),
            json!({"account": account.rsplit('/').next().unwrap(), "endpoint": "serp"}),
            json!({"account": account.rsplit('/').next().unwrap(), "endpoint": "serp", "quantity": 2}),
            201,
        ),
        call(
            "post /v1/tokens",
            "/v1/tokens".to_owned(),
            json!({"role": "billing", "name": "Nightly"}),
            json!({"role": "billing", "name": "Daily"}),
            201,
        )
        .showing_once("secret"),
        Call {
            other: Other::Path(format!("/v1/tokens/{}", tokens[1])),
            ..call(
                "delete /v1/tokens/{token}",
                format!("/v1/tokens/{}", tokens[0]),
                Value::Null,
                Value::Null,
                200,
            )
        },
        call(
            "put /v1/prices",
            "/v1/prices".to_owned(),
            book("0.5"),
            book("0.75"),
            200,
        ),
    ]
}

async fn events(stage: &Stage) -> usize {
    whole_log(&stage.harness.log()).await.len()
}

#[tokio::test]
async fn every_call_that_changes_something_takes_a_key() {
    let stage = Stage::open().await;
    let document = stage.operator.get("/openapi.json").await.json(200);
    let mut changing: Vec<String> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if method == "get" {
                continue;
            }
            let name = format!("{method} {path}");
            let parameters = operation["parameters"].as_array();
            let takes = parameters.is_some_and(|all| all.iter().any(|one| one["name"] == "Idempotency-Key"));
            // What meters names its reservations, or at least may.
            if operation["tags"][0] == "metering" && !takes {
                continue;
            }
            assert!(takes, "{name} takes no key");
            changing.push(name);
        }
    }
    let mut tested: Vec<String> = calls(&stage)
        .await
        .iter()
        .map(|call| call.operation.to_owned())
        .collect();
    changing.sort();
    tested.sort();
    assert_eq!(tested, changing);
}

#[tokio::test]
async fn the_same_request_again_is_answered_as_before_and_another_one_is_refused() {
    let stage = Stage::open().await;
    let calls = calls(&stage).await;
    let mut answers = Vec::new();
    for (n, call) in calls.iter().enumerate() {
        let name = call.operation;
        let first = call.sent(&stage.operator, &format!("key-{n}")).await;
        let before = events(&stage).await;
        assert_eq!(first.header("idempotent-replayed"), "", "{name}: {}", first.text);
        let again = call.sent(&stage.operator, &format!("key-{n}")).await;
        assert_eq!(again.header("idempotent-replayed"), "true", "{name}: {}", again.text);
        if let Some(member) = call.shown_once {
            assert!(first.json(call.status)[member].is_string(), "{name}");
            assert!(again.json(call.status)[member].is_null(), "{name}");
        }
        assert_eq!(call.body(&again), call.body(&first), "{name}");
        let otherwise = call.otherwise(&stage.operator, &format!("key-{n}")).await;
        assert_eq!(otherwise.problem(422), "idempotency-mismatch", "{name}");
        assert_eq!(events(&stage).await, before, "{name} happened again");
        answers.push(call.body(&first));
    }
    // A process that remembers nothing reads it in the log.
    let restarted = Stage::on(stage.harness.another(), true).await;
    let client = Client::new(restarted.address, Some(stage.operator_token.1.clone()));
    for (n, (call, first)) in calls.iter().zip(&answers).enumerate() {
        let (name, before) = (call.operation, events(&stage).await);
        let again = call.sent(&client, &format!("key-{n}")).await;
        assert_eq!(again.header("idempotent-replayed"), "true", "{name}: {}", again.text);
        let (mut again, mut first) = (call.body(&again), first.clone());
        // What is available is told as it is now.
        for told in [&mut again, &mut first] {
            told.as_object_mut().unwrap().remove("available");
        }
        assert_eq!(again, first, "{name}");
        let otherwise = call.otherwise(&client, &format!("key-{n}")).await;
        assert_eq!(otherwise.problem(422), "idempotency-mismatch", "{name}");
        assert_eq!(events(&stage).await, before, "{name} happened again");
    }
}

/// The race: the same request reaches two processes, neither of which has heard of the other's.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_at_the_same_moment_in_two_processes_one_happens() {
    let stage = Stage::open().await;
    let other = Stage::on(stage.harness.another(), true).await;
    let there = Client::new(other.address, Some(stage.operator_token.1.clone()));
    for (n, call) in calls(&stage).await.iter().enumerate() {
        let (name, key) = (call.operation, format!("key-{n}"));
        let before = events(&stage).await;
        let (one, two) = tokio::join!(call.sent(&stage.operator, &key), call.sent(&there, &key));
        let replayed = [&one, &two].map(|answer| answer.header("idempotent-replayed").to_owned());
        assert_eq!(call.body(&one), call.body(&two), "{name}");
        assert!(
            replayed.contains(&"true".to_owned()) && replayed.contains(&String::new()),
            "{name}: {replayed:?}"
        );
        let after = events(&stage).await;
        call.sent(&there, &key).await.json(call.status);
        assert_eq!(events(&stage).await, after, "{name}");
        let log = whole_log(&stage.harness.log()).await;
        let mut types: Vec<&str> = log[before..]
            .iter()
            .map(|recorded| recorded.event.short_name())
            .collect();
        let all = types.len();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), all, "{name} happened twice: {types:?}");
    }
}

/// The key was noted, and then the database was away or the client was gone.
#[tokio::test]
async fn a_link_that_was_never_made_is_made_by_the_repetition() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    for path in [format!("{account}/portal-sessions"), "/v1/operator-sessions".to_owned()] {
        let headers = [("idempotency-key", path.as_str())];
        let ask = async || stage.operator.post_with(&path, &headers, json!({})).await;
        let first = ask().await.json(201);
        let mut owner = stage.harness.owner().await;
        sqlx::query("delete from portal_sessions")
            .execute(&mut owner)
            .await
            .unwrap();
        let again = ask().await;
        assert_eq!(again.header("idempotent-replayed"), "");
        let again = again.json(201);
        assert_eq!(again.get("id"), first.get("id"));
        let link = again["url"].as_str().unwrap();
        let entered = stage.stranger().get(&link[link.find("/portal").unwrap()..]).await;
        assert_eq!(entered.status, 303, "{}", entered.text);
        let third = ask().await;
        assert_eq!(third.header("idempotent-replayed"), "true");
        let third = third.json(201);
        assert_eq!(
            (&third["url"], &third["expires_at"]),
            (&Value::Null, &again["expires_at"])
        );
    }
}

#[tokio::test]
async fn opening_accounts_under_a_key_races_with_nobody_else() {
    let stage = Stage::open().await;
    let other = Stage::on(stage.harness.another(), true).await;
    let there = Client::new(other.address, Some(stage.operator_token.1.clone()));
    let open = async |client: &Client, key: &str| {
        let headers = [("idempotency-key", key)];
        let answer = client
            .post_with("/v1/accounts", &headers, json!({"name": "Globex"}))
            .await;
        id_of(&answer.json(201)).to_owned()
    };
    for round in 0..10 {
        let key = format!("round-{round}");
        let (a, b, c, d) = tokio::join!(
            open(&stage.operator, &key),
            open(&there, &key),
            open(&stage.operator, &key),
            open(&there, "another"),
        );
        assert!(a == b && b == c && a != d);
    }
    // Another caller's key is another one.
    let billing = stage.client(keyledger::tokens::Role::Operator).await;
    assert_ne!(open(&billing, "round-0").await, open(&stage.operator, "round-0").await);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_by_every_call_before_it_does_anything() {
    let stage = Stage::open().await;
    let calls = calls(&stage).await;
    let before = events(&stage).await;
    for call in &calls {
        for none in ["", " ", "a b", &"x".repeat(256)] {
            let answer = call.sent(&stage.operator, none).await;
            assert_eq!(
                answer.problem(400),
                "bad-idempotency-key",
                "{} {none:?}",
                call.operation
            );
        }
    }
    assert_eq!(events(&stage).await, before);
}
