//! Credits: given, held, charged, given back, and where they went.

use serde_json::json;

use super::stage::{Stage, id_of, secret_of};

#[tokio::test]
async fn half_a_credit_is_held_by_a_key_and_charged() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("100").await;
    let reserve = json!({"secret": secret_of(&made), "endpoint": "serp"});
    let held = stage.operator.post("/v1/reservations", reserve).await.json(201);
    assert_eq!((&held["amount"], &held["available"]), (&json!("0.5"), &json!("99.5")));
    assert_eq!(held["key"], made["key"]["id"]);
    let reservation = format!("{account}/reservations/{}", id_of(&held));
    let charged = stage.operator.post(&format!("{reservation}/charge"), json!({})).await;
    let after = charged.position().to_owned();
    assert_eq!(charged.json(200)["charged"], "0.5");
    let balance = stage.operator.get(&format!("{account}/balance?after={after}")).await;
    let expected = json!({
        "available": "99.5", "reserved": "0", "granted": "100", "charged": "0.5", "refunded": "0", "expired": "0",
        "corrected": "0", "bound": "0", "later": "0",
        "position": balance.position(),
    });
    assert_eq!(balance.json(200), expected);
    let lines = stage
        .operator
        .get(&format!("{account}/charges?after={after}"))
        .await
        .json(200);
    let line = &lines["items"][0];
    assert_eq!(
        (&line["id"], &line["amount"], &line["endpoint"]),
        (&held["id"], &json!("0.5"), &json!("serp"))
    );
    let seen = stage
        .operator
        .get(&format!("{reservation}?after={after}"))
        .await
        .json(200);
    assert_eq!((&seen["state"], &seen["charged"]), (&json!("charged"), &json!("0.5")));
}

#[tokio::test]
async fn what_is_queued_or_fails_costs_nothing() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("1").await;
    for cause in ["requested", "queued", "error", "client-gone"] {
        let reserve = json!({"secret": secret_of(&made), "endpoint": "serp"});
        let held = stage.operator.post("/v1/reservations", reserve).await.json(201);
        let reservation = format!("{account}/reservations/{}", id_of(&held));
        let release = json!({"cause": cause});
        let released = stage
            .operator
            .post(&format!("{reservation}/release"), release.clone())
            .await
            .json(200);
        assert_eq!(
            (&released["cause"], &released["available"]),
            (&json!(cause), &json!("1"))
        );
        let again = stage.operator.post(&format!("{reservation}/release"), release).await;
        assert_eq!(again.header("idempotent-replayed"), "true");
        let charge = stage.operator.post(&format!("{reservation}/charge"), json!({})).await;
        assert_eq!(charge.problem(409), "reservation-closed");
        assert!(!charge.position().is_empty());
    }
    let release = json!({"cause": "expired"});
    let id = keyledger::clock::fresh_reservation_id();
    let answer = stage
        .operator
        .post(&format!("{account}/reservations/{id}/release"), release)
        .await;
    assert_eq!(answer.problem(422), "invalid-body");
}

#[tokio::test]
async fn the_same_reservation_id_holds_once() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let id = keyledger::clock::fresh_reservation_id();
    let reserve = |quantity: u32| {
        let body = json!({"secret": secret_of(&made), "endpoint": "ai_visibility", "quantity": quantity, "id": id});
        stage.operator.post("/v1/reservations", body)
    };
    let (first, again) = (reserve(3).await, reserve(3).await);
    assert_eq!((first.position(), first.json(201)), (again.position(), again.json(201)));
    assert_eq!(reserve(4).await.problem(409), "reservation-mismatch");
    let charge = format!("{account}/reservations/{id}/charge");
    let part = stage.operator.post(&charge, json!({"quantity": 2})).await.json(200);
    assert_eq!((&part["charged"], &part["returned"]), (&json!("1"), &json!("0.5")));
    assert_eq!(
        stage.operator.post(&charge, json!({"quantity": 2})).await.json(200),
        part
    );
}

#[tokio::test]
async fn nobody_spends_what_is_not_there() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("0.4").await;
    let reserve = json!({"secret": secret_of(&made), "endpoint": "serp"});
    let refused = stage.operator.post("/v1/reservations", reserve).await;
    assert_eq!(refused.problem(402), "insufficient-credits");
    assert!(refused.position().starts_with("0:"));
    let document = refused.json(402);
    assert_eq!(
        (&document["required"], &document["available"]),
        (&json!("0.5"), &json!("0.4"))
    );
    let id = account.rsplit('/').next().unwrap();
    let charge = json!({"account": id, "endpoint": "serp", "quantity": 1});
    assert_eq!(
        stage.operator.post("/v1/charges", charge).await.problem(402),
        "insufficient-credits"
    );
}

#[tokio::test]
async fn the_dashboard_draws_on_the_same_credits() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let id = account.rsplit('/').next().unwrap();
    let charge = json!({"account": id, "endpoint": "ai_visibility", "quantity": 4});
    let charged = stage.operator.post("/v1/charges", charge).await;
    let path = format!("{account}/charges?after={}", charged.position());
    let charged = charged.json(201);
    assert_eq!((&charged["amount"], &charged["available"]), (&json!("2"), &json!("8")));
    let line = stage.operator.get(&path).await.json(200)["items"][0].clone();
    assert_eq!(
        (&line["channel"], &line["key"], &line["amount"]),
        (&json!("dashboard"), &json!(null), &json!("2"))
    );
}

#[tokio::test]
async fn a_grant_is_given_once_under_one_idempotency_key() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let path = format!("{account}/grants");
    let give = async |amount: &str| {
        let body = json!({
            "amount": amount, "priority": -5, "expires_at": "2099-01-01T00:00:00+01:00", "source": "plan",
            "reference": "invoice-7",
        });
        stage.operator.post_with(&path, &[("idempotency-key", "g")], body).await
    };
    let first = give("1.50").await.json(201);
    assert_eq!(
        (&first["amount"], &first["expires_at"]),
        (&json!("1.5"), &json!("2098-12-31T23:00:00.000000Z"))
    );
    let again = give("1.5").await;
    assert_eq!(
        (again.header("idempotent-replayed"), &again.json(201)),
        ("true", &first)
    );
    assert_eq!(give("2").await.problem(422), "idempotency-mismatch");
    let rows = stage
        .operator
        .get(&format!("{path}?after={}", again.position()))
        .await
        .json(200);
    let row = &rows["items"][0];
    assert_eq!(rows["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&row["id"], &row["remaining"], &row["reference"]),
        (&first["id"], &json!("1.5"), &json!("invoice-7"))
    );
}

#[tokio::test]
async fn an_open_reservation_is_listed_until_it_is_settled() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let payer = account.rsplit('/').next().unwrap();
    let body = json!({"account": payer, "endpoint": "serp", "quantity": 2, "ttl_seconds": 60});
    let held = stage.operator.post("/v1/reservations", body).await;
    let list = async |after: &str| {
        let path = format!("{account}/reservations?after={after}");
        stage.operator.get(&path).await.json(200)["items"].clone()
    };
    let open = list(held.position()).await;
    let held = held.json(201);
    assert_eq!(
        (&open[0]["id"], &open[0]["state"], &open[0]["amount"]),
        (&held["id"], &json!("open"), &json!("1"))
    );
    let release = format!("{account}/reservations/{}/release", id_of(&held));
    let released = stage.operator.post(&release, json!({"cause": "queued"})).await;
    assert_eq!(list(released.position()).await, json!([]));
    let gone = stage
        .operator
        .get(&format!("{account}/reservations/{}", id_of(&held)))
        .await;
    assert_eq!(gone.problem(404), "unknown-reservation");
}

#[tokio::test]
async fn a_view_that_is_behind_says_so_and_never_shows_less() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let opened = stage.operator.get("/v1/events").await.position().to_owned();
    stage.operator.get(&format!("{account}?after={opened}")).await.json(200);
    stage.stop_projector();
    let grant = json!({"amount": "1", "source": "promotion"});
    let given = stage.operator.post(&format!("{account}/grants"), grant).await;
    let behind = stage
        .operator
        .get(&format!("{account}/balance?after={}", given.position()))
        .await;
    assert_eq!(behind.problem(503), "view-behind");
    assert_eq!(behind.header("retry-after"), "1");
    let stale = stage.operator.get(&format!("{account}/balance")).await;
    assert_eq!(stale.position(), opened);
    assert_eq!(stale.json(200)["granted"], "0");
}

#[tokio::test]
async fn the_log_is_read_from_any_position() {
    let stage = Stage::open().await;
    stage.customer("10").await;
    let page = stage.operator.get("/v1/events?shard=0&from=2&limit=1").await;
    assert_eq!(page.position(), "0:3");
    let page = page.json(200);
    assert_eq!(page["items"][0]["position"], 2);
    let next = page["next_cursor"].as_str().unwrap();
    let rest = stage.operator.get(&format!("/v1/events?cursor={next}")).await.json(200);
    assert_eq!(
        (&rest["items"][0]["position"], &rest["next_cursor"]),
        (&json!(3), &json!(null))
    );
    let beyond = stage.operator.get("/v1/events?from=100").await.json(200);
    assert_eq!(beyond["items"], json!([]));
    assert_eq!(
        stage.operator.get("/v1/events?after=0:100").await.problem(503),
        "view-behind"
    );
}
