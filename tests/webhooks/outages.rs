//! A receiver that is away, that refuses, that hangs; and a process that is killed while it sends.

use http::StatusCode;
use keyledger::webhooks::Kind;

use super::receiver::Receiver;
use super::{Shifted, couriers, cross, registered, watched};
use crate::harness::until;
use crate::http::stage::Stage;

const HOUR: i64 = 3_600;

#[tokio::test]
async fn a_receiver_that_was_away_for_an_hour_gets_everything_in_order() {
    let stage = Stage::open().await;
    let receiver = Receiver::start().await;
    receiver.answer(StatusCode::SERVICE_UNAVAILABLE);
    // The hour ends now: the receiver's own clock is the machine's, and it refuses what is older than some minutes.
    let clock = Shifted::by_seconds(-HOUR);
    couriers(&stage, &[receiver.config("billing", &Kind::ALL)], &clock);
    registered(&stage, "billing").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(watched(&stage).await.1);
    }
    for _ in 0..4 {
        for id in &ids {
            cross(&stage, id, 1).await;
        }
    }
    receiver.was_asked(1).await;
    until("all is queued", async || standing(&stage).await["waiting"] == 12).await;
    // Minute by minute. It is tried now and then, less and less often, and never for each message.
    for _ in 0..59 {
        clock.go(60);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let asked = receiver.asked();
    assert!((2..=8).contains(&asked), "it was asked {asked} times in an hour");
    let away = standing(&stage).await;
    assert_eq!(away["waiting"], 12);
    assert!(
        away["failing_since"].is_string() && away["retry_at"].is_string(),
        "{away}"
    );
    receiver.answer(StatusCode::NO_CONTENT);
    // Up to half an hour until the next attempt: the receiver's clock and ours are the same again then.
    clock.go(60);
    until("it is tried again", async || {
        if receiver.taken().is_empty() {
            let away = stage.operator.get("/v1/webhooks").await.json(200)["items"][0].clone();
            assert!(away["failures"].as_u64().unwrap() < 10);
            shorten(&stage).await;
        }
        receiver.taken().len() >= 12
    })
    .await;
    let taken = receiver.taken();
    let positions: Vec<u64> = taken
        .iter()
        .map(|message| message.body["data"]["position"].as_str().unwrap()[2..].parse().unwrap())
        .collect();
    assert!(positions.is_sorted(), "in the order of the log: {positions:?}");
    assert_eq!(taken.len(), 12, "each once");
    until("all is written down", async || standing(&stage).await["waiting"] == 0).await;
    assert!(standing(&stage).await["failing_since"].is_null());
}

/// How the only receiver stands.
async fn standing(stage: &Stage) -> serde_json::Value {
    stage.operator.get("/v1/webhooks").await.json(200)["items"][0].clone()
}

/// The pause before the next attempt ends now.
async fn shorten(stage: &Stage) {
    let mut owner = stage.harness.owner().await;
    sqlx::query("update webhook_receivers set retry_at = now()")
        .execute(&mut owner)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_message_that_is_not_taken_holds_up_its_own_account_alone() {
    let stage = Stage::open().await;
    let receiver = Receiver::start().await;
    let clock = Shifted::default();
    couriers(&stage, &[receiver.config("billing", &Kind::ALL)], &clock);
    registered(&stage, "billing").await;
    let (_, poison) = watched(&stage).await;
    let (_, other) = watched(&stage).await;
    receiver.answer_to(&poison, StatusCode::UNPROCESSABLE_ENTITY);
    cross(&stage, &poison, 2).await;
    receiver.was_asked(1).await;
    cross(&stage, &other, 2).await;
    let taken = receiver.has_taken(2).await;
    assert!(taken.iter().all(|message| message.account() == other), "{taken:?}");
    receiver.answer_to(&poison, StatusCode::OK);
    clock.go(10);
    let taken = receiver.has_taken(4).await;
    assert!(taken[2..].iter().all(|message| message.account() == poison));
    let place = |n: usize| taken[n].body["data"]["position"].as_str().unwrap().to_owned();
    assert!(
        place(2).len() < place(3).len() || place(2) < place(3),
        "of one account, in order"
    );
}

#[tokio::test]
async fn what_a_killed_process_was_sending_is_sent_again_with_the_same_id() {
    let stage = Stage::open().await;
    let (_, id) = watched(&stage).await;
    let receiver = Receiver::start().await;
    let config = receiver.config("billing", &Kind::ALL);
    // Another runtime, which is dropped with all that it does, as by `kill -9`.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    receiver.hang(true);
    {
        let _inside = runtime.enter();
        couriers(&stage, std::slice::from_ref(&config), &Shifted::default());
    }
    registered(&stage, "billing").await;
    cross(&stage, &id, 1).await;
    receiver.was_asked(1).await;
    runtime.shutdown_background();
    receiver.hang(false);
    couriers(&stage, &[config], &Shifted::default());
    // The dead process' lease lasts for 45 s by the server's clock.
    let mut owner = stage.harness.owner().await;
    sqlx::query("update webhook_receivers set leased_until = now()")
        .execute(&mut owner)
        .await
        .unwrap();
    let taken = receiver.has_taken(1).await;
    let events = stage
        .operator
        .get(&format!("/v1/accounts/{id}/events?limit=200"))
        .await
        .json(200);
    let known = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .any(|event| event["id"] == taken[0].id.as_str());
    assert!(known && receiver.asked() == 2, "{taken:?}");
}

#[tokio::test]
async fn what_nobody_takes_for_three_days_is_given_up_and_can_be_sent_again() {
    let stage = Stage::open().await;
    let (_, id) = watched(&stage).await;
    let receiver = Receiver::start().await;
    receiver.answer(StatusCode::INTERNAL_SERVER_ERROR);
    let clock = Shifted::by_seconds(-4 * 24 * HOUR);
    couriers(&stage, &[receiver.config("billing", &Kind::ALL)], &clock);
    registered(&stage, "billing").await;
    cross(&stage, &id, 1).await;
    receiver.was_asked(1).await;
    clock.go(4 * 24 * HOUR);
    let list = "/v1/webhooks/billing/deliveries";
    until("it is given up", async || {
        stage.operator.get(&format!("{list}?state=given-up")).await.json(200)["items"] != serde_json::json!([])
    })
    .await;
    let delivery = stage.operator.get(list).await.json(200)["items"][0].clone();
    assert_eq!(
        (&delivery["attempts"], &delivery["last_attempt"]["status"]),
        (&2.into(), &500.into())
    );
    receiver.answer(StatusCode::OK);
    let path = format!("{list}/{}", delivery["id"].as_str().unwrap());
    let again = stage
        .operator
        .post(&format!("{path}/replay"), serde_json::json!({}))
        .await
        .json(200);
    assert_eq!(again["id"], delivery["id"]);
    let taken = receiver.has_taken(1).await;
    assert_eq!(delivery["id"], taken[0].id.as_str());
    until("it is written down", async || {
        stage.operator.get(&path).await.json(200)["state"] == "delivered"
    })
    .await;
    let whole = stage.operator.get(&path).await.json(200);
    assert_eq!(whole["body"], taken[0].body);
    let statuses: Vec<_> = whole["attempts_made"]
        .as_array()
        .unwrap()
        .iter()
        .map(|made| made["status"].clone())
        .collect();
    // The first came four days too early by the receiver's clock.
    assert_eq!(statuses, [401, 500, 200]);
}

#[tokio::test]
async fn a_message_that_makes_its_receiver_hang_stands_in_the_way_of_its_own_account_alone() {
    let stage = Stage::open().await;
    let receiver = Receiver::start().await;
    let clock = Shifted::default();
    couriers(&stage, &[receiver.config("billing", &Kind::ALL)], &clock);
    registered(&stage, "billing").await;
    let (_, poison) = watched(&stage).await;
    let (_, other) = watched(&stage).await;
    receiver.answer_to(&poison, StatusCode::GATEWAY_TIMEOUT);
    cross(&stage, &poison, 1).await;
    receiver.was_asked(1).await;
    cross(&stage, &other, 1).await;
    until("both are queued", async || standing(&stage).await["waiting"] == 2).await;
    // After the pause of five seconds, and before the message itself is tried again.
    clock.go(6);
    let taken = receiver.has_taken(1).await;
    assert_eq!((taken[0].account(), receiver.asked()), (other.as_str(), 2));
}

#[tokio::test]
async fn what_is_sent_again_while_it_is_under_way_is_sent_again() {
    let stage = Stage::open().await;
    let (_, id) = watched(&stage).await;
    let receiver = Receiver::start().await;
    couriers(&stage, &[receiver.config("billing", &Kind::ALL)], &Shifted::default());
    registered(&stage, "billing").await;
    receiver.hang(true);
    cross(&stage, &id, 1).await;
    receiver.was_asked(1).await;
    let list = stage.operator.get("/v1/webhooks/billing/deliveries").await.json(200);
    let path = format!(
        "/v1/webhooks/billing/deliveries/{}/replay",
        list["items"][0]["id"].as_str().unwrap()
    );
    stage.operator.post(&path, serde_json::json!({})).await.json(200);
    receiver.let_go();
    let taken = receiver.has_taken(2).await;
    assert_eq!(taken[0], taken[1]);
}
