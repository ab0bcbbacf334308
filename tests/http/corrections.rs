//! Credits that are given or taken away because the account was wrong.

use serde_json::json;

use super::stage::{Stage, secret_of};

#[tokio::test]
async fn a_correction_gives_or_takes_and_says_why() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let path = format!("{account}/corrections");
    let correct = async |amount: &str| {
        let body = json!({"amount": amount, "reason": "Granted twice"});
        stage
            .operator
            .post_with(&path, &[("idempotency-key", amount)], body)
            .await
    };
    let taken = correct("-3.5").await.json(201);
    assert!(taken["id"].as_str().unwrap().starts_with("corr_"));
    assert_eq!((&taken["amount"], &taken["available"]), (&json!("-3.5"), &json!("6.5")));
    let again = correct("-3.5").await;
    assert_eq!((again.header("idempotent-replayed"), again.json(201)), ("true", taken));
    let given = correct("1").await;
    let after = given.position().to_owned();
    let given = given.json(201);
    assert!(given["id"].as_str().unwrap().starts_with("grant_"));
    assert_eq!(given["available"], "7.5");
    let reserve = json!({"secret": secret_of(&made), "endpoint": "serp"});
    stage.operator.post("/v1/reservations", reserve).await.json(201);
    assert_eq!(correct("-7.25").await.problem(422), "correction-exceeds-available");
    let balance = stage
        .operator
        .get(&format!("{account}/balance?after={after}"))
        .await
        .json(200);
    let sums = ["granted", "corrected"].map(|member| balance[member].as_str().unwrap());
    assert_eq!(sums, ["11", "3.5"]);
    let grants = stage.operator.get(&format!("{account}/grants")).await.json(200);
    assert_eq!(grants["items"][0]["source"], "correction");
    for (wrong, code) in [
        (json!({"amount": "0", "reason": "x"}), "invalid-amount"),
        (json!({"amount": "--1", "reason": "x"}), "invalid-amount"),
        (json!({"amount": "1"}), "invalid-body"),
    ] {
        assert_eq!(stage.operator.post(&path, wrong).await.problem(422), code);
    }
}
