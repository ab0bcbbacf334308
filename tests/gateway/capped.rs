//! More was delivered than was held for: never charged to the hold, and charged beside it only by rule.

use keyledger_events::{Channel, Event};

use super::raw::Stub;
use super::stage::{Stage, charged};

const FIVE: &str = "HTTP/1.1 200 OK\r\nX-Result-Count: 5\r\nContent-Length: 4\r\n\r\ndata";

async fn stage(credits: &str) -> Stage {
    Stage::start(Stub::answering(FIVE).await.address, credits).await
}

#[tokio::test]
async fn more_than_was_held_for_is_delivered_and_not_charged_by_default() {
    let stage = stage("100").await;
    let answer = stage.get("/capped/shortfall").await;
    assert!(answer.whole);
    assert_eq!(answer.header("credits-charged"), Some("1"));
    assert_eq!(stage.settled(1).await, [charged(2, "1")]);
}

#[tokio::test]
async fn more_than_was_held_for_is_charged_beside_the_hold_where_the_rule_says_top_up() {
    let stage = stage("100").await;
    let answer = stage.get("/capped/top-up").await;
    assert!(answer.whole);
    assert_eq!(answer.header("credits-charged"), Some("2.5"));
    assert_eq!(answer.header("credits-remaining"), Some("97.5"));
    assert_eq!(stage.settled(2).await, [charged(2, "1"), charged(3, "1.5")]);
    let events = stage.events().await;
    let by_key = |event: &&Event| {
        matches!(event, Event::CreditsCharged(charged)
            if charged.work.key == Some(stage.key) && charged.work.channel == Channel::Api && charged.charged.plus(charged.returned).is_some())
    };
    assert_eq!(events.iter().filter(by_key).count(), 2);
    assert_eq!(stage.uses().await.len(), 1, "one request is one use");
}

#[tokio::test]
async fn a_top_up_that_the_balance_lacks_is_a_shortfall() {
    let stage = stage("2").await;
    let answer = stage.get("/capped/top-up").await;
    assert!(answer.whole);
    assert_eq!(answer.header("credits-charged"), Some("1"), "the hold's part alone");
    assert_eq!(stage.settled(1).await, [charged(2, "1")]);
    // What is left is still the customer's to spend.
    assert_eq!(stage.get("/capped/shortfall").await.status, 200);
    assert_eq!(stage.settled(2).await, [charged(2, "1"), charged(2, "1")]);
}
