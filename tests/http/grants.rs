//! Grants that not every use may burn.

use serde_json::{Value, json};

use super::stage::{Stage, secret_of};

async fn give(stage: &Stage, account: &str, grant: Value) -> (String, Value) {
    let given = stage.operator.post(&format!("{account}/grants"), grant).await;
    (given.position().to_owned(), given.json(201))
}

async fn balance(stage: &Stage, account: &str, after: &str) -> [String; 4] {
    let body = stage
        .operator
        .get(&format!("{account}/balance?after={after}"))
        .await
        .json(200);
    ["granted", "available", "bound", "later"].map(|member| body[member].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_grant_for_an_endpoint_burns_there_and_nowhere_else() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("0.5").await;
    let grant = json!({"amount": "1", "source": "promotion", "endpoints": ["serp"]});
    let (after, given) = give(&stage, &account, grant).await;
    assert_eq!(
        (&given["endpoints"], &given["available"]),
        (&json!(["serp"]), &json!("0.5"))
    );
    assert_eq!(balance(&stage, &account, &after).await, ["1.5", "0.5", "1", "0"]);
    let hold = async |endpoint: &str, quantity: u32| {
        let body = json!({"secret": secret_of(&made), "endpoint": endpoint, "quantity": quantity});
        stage.operator.post("/v1/reservations", body).await
    };
    let refused = hold("echo", 2).await;
    assert_eq!(refused.problem(402), "insufficient-credits");
    assert_eq!(refused.json(402)["available"], "0.5");
    assert_eq!(hold("serp", 4).await.json(402)["available"], "1.5");
    let held = hold("serp", 2).await;
    let after = held.position().to_owned();
    assert_eq!(held.json(201)["available"], "0.5");
    assert_eq!(balance(&stage, &account, &after).await, ["1.5", "0.5", "0", "0"]);
    let rows = stage.operator.get(&format!("{account}/grants")).await.json(200);
    let row = &rows["items"][0];
    assert_eq!((&row["remaining"], &row["held"]), (&json!("0"), &json!("1")));
    assert_eq!(row["endpoints"], json!(["serp"]));
    for (wrong, field) in [
        (json!({"amount": "1", "source": "plan", "endpoints": []}), "endpoints"),
        (
            json!({"amount": "1", "source": "plan", "endpoints": ["serp", "serp"]}),
            "endpoints",
        ),
        (json!({"amount": "1", "source": "refund"}), "source"),
    ] {
        let answer = stage.operator.post(&format!("{account}/grants"), wrong).await;
        assert_eq!(answer.problem(422), "invalid-body");
        assert_eq!(answer.json(422)["field"], field);
    }
}

#[tokio::test]
async fn a_grant_for_later_is_there_when_its_time_comes() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("1").await;
    let soon = keyledger::clock::now().plus_seconds(2);
    let grant = json!({"amount": "5", "source": "purchase", "starts_at": soon.to_string()});
    let (after, given) = give(&stage, &account, grant).await;
    assert_eq!(
        (&given["available"], &given["starts_at"]),
        (&json!("1"), &json!(soon.to_string()))
    );
    assert_eq!(balance(&stage, &account, &after).await, ["6", "1", "0", "5"]);
    let due = async |at| stage.harness.views().due_accounts(at, 10, &[]).await.unwrap().len();
    assert_eq!(
        (due(soon.minus_seconds(1)).await, due(soon).await),
        (0, 1),
        "the sweeper knows when"
    );
    let id = account.rsplit('/').next().unwrap();
    let charge = || json!({"account": id, "endpoint": "serp", "quantity": 4});
    assert_eq!(
        stage.operator.post("/v1/charges", charge()).await.problem(402),
        "insufficient-credits"
    );
    // No sweeper here: the command that comes after that moment finds it there.
    crate::harness::until("the grant takes effect", async || keyledger::clock::now() >= soon).await;
    let charged = stage.operator.post("/v1/charges", charge()).await;
    let after = charged.position().to_owned();
    assert_eq!(charged.json(201)["available"], "4");
    assert_eq!(balance(&stage, &account, &after).await, ["6", "4", "0", "0"]);
    let wrong = json!({"amount": "1", "source": "plan", "starts_at": "2999-01-01T00:00:00Z", "expires_at": "2998-01-01T00:00:00Z"});
    let answer = stage.operator.post(&format!("{account}/grants"), wrong).await;
    assert_eq!(
        (answer.problem(422), answer.json(422)["field"].clone()),
        ("out-of-range".to_owned(), json!("expires_at"))
    );
}

#[tokio::test]
async fn whoever_works_is_told_what_that_work_finds_available() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("1").await;
    let grant = json!({"amount": "5", "source": "promotion", "endpoints": ["serp"]});
    let (_, given) = give(&stage, &account, grant).await;
    assert_eq!(given["available"], "1");
    let id = account.rsplit('/').next().unwrap();
    let hold = async |endpoint: &str| {
        let body = json!({"account": id, "endpoint": endpoint});
        stage.operator.post("/v1/reservations", body).await.json(201)
    };
    let (serp, echo) = (hold("serp").await, hold("echo").await);
    assert_eq!((&serp["available"], &echo["available"]), (&json!("5.5"), &json!("0.5")));
    let settle = async |held: &serde_json::Value, how: &str, body: serde_json::Value| {
        let path = format!("{account}/reservations/{}/{how}", held["id"].as_str().unwrap());
        stage.operator.post(&path, body).await.json(200)["available"].clone()
    };
    assert_eq!(settle(&serp, "charge", json!({})).await, json!("5"));
    assert_eq!(settle(&echo, "release", json!({"cause": "error"})).await, json!("1"));
    let charge = json!({"account": id, "endpoint": "serp", "quantity": 1});
    assert_eq!(
        stage.operator.post("/v1/charges", charge).await.json(201)["available"],
        "5"
    );
}
