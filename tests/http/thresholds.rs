//! Balances that are told of.

use serde_json::{Value, json};

use super::stage::Stage;

async fn told(stage: &Stage, account: &str) -> Vec<Value> {
    let log = stage
        .operator
        .get(&format!("{account}/events?limit=200"))
        .await
        .json(200);
    let all = log["items"].as_array().unwrap().iter();
    all.filter(|event| event["type"] == "keyledger.ThresholdReached.v1")
        .map(|event| event["data"].clone())
        .collect()
}

#[tokio::test]
async fn a_balance_that_comes_down_is_told_of_once_and_again_after_it_was_above() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("3").await;
    let path = format!("{account}/thresholds");
    let set = async |amounts: Value| stage.operator.put(&path, json!({"thresholds": amounts})).await;
    let watched = set(json!(["1", "2", "1.0"])).await;
    let after = watched.position().to_owned();
    let watched = watched.json(200);
    assert_eq!(watched["thresholds"], json!(["2", "1"]));
    assert_eq!(
        stage.operator.get(&format!("{path}?after={after}")).await.json(200),
        watched
    );
    let id = account.rsplit('/').next().unwrap();
    let charge = async |quantity: u32| {
        let body = json!({"account": id, "endpoint": "serp", "quantity": quantity});
        stage.operator.post("/v1/charges", body).await.json(201)
    };
    charge(1).await;
    assert_eq!(told(&stage, &account).await, Vec::<Value>::new());
    charge(1).await;
    charge(1).await;
    let low = json!({"threshold": "2", "balance": "2"});
    assert_eq!(told(&stage, &account).await, std::slice::from_ref(&low));
    let grant = json!({"amount": "1", "source": "purchase"});
    stage.operator.post(&format!("{account}/grants"), grant).await.json(201);
    charge(3).await;
    let again = [
        low,
        json!({"threshold": "2", "balance": "1"}),
        json!({"threshold": "1", "balance": "1"}),
    ];
    assert_eq!(told(&stage, &account).await, again);
    for wrong in [json!(["-1"]), json!("1"), json!([1])] {
        assert_eq!(set(wrong).await.status, 422);
    }
    let many: Vec<String> = (0..11).map(|n| n.to_string()).collect();
    assert_eq!(set(json!(many)).await.problem(422), "out-of-range");
    assert_eq!(set(json!([])).await.json(200)["thresholds"], json!([]));
}
