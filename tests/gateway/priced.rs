//! Prices that are published behind the back of a gateway.

use keyledger::ledger::PublishPrices;

use super::stage::{Stage, charged};
use crate::ledger::customer::by_system;
use crate::ledger::priced::price;

fn doubled() -> PublishPrices {
    PublishPrices {
        prices: vec![price("1")],
        valid_from: None,
    }
}

#[tokio::test]
async fn a_request_is_charged_by_the_book_that_holds_when_it_is_held_for() {
    let stage = Stage::open().await;
    assert_eq!(stage.get("/serp?q=a").await.status, 200);
    stage.ledger.submit(doubled(), by_system()).await.unwrap();
    let answer = stage.get("/serp?q=a").await;
    assert_eq!((answer.status, answer.header("credits-charged")), (200, Some("1")));
    assert_eq!(stage.settled(2).await, [charged(1, "0.5"), charged(1, "1")]);
    // What has no price any more is not forwarded, and nothing is held for it.
    let gone = stage.get("/echo").await;
    assert_eq!((gone.status, gone.code().as_str()), (404, "unpriced"));
    assert_eq!(stage.holds().await, 2);
}

#[tokio::test]
async fn a_gateway_that_cannot_read_the_book_that_holds_forwards_nothing() {
    let stage = Stage::open().await.deaf().await;
    assert_eq!(stage.get("/serp?q=a").await.status, 200);
    stage.ledger.submit(doubled(), by_system()).await.unwrap();
    for _ in 0..3 {
        let answer = stage.get("/serp?q=a").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "other-prices-hold"));
    }
    assert_eq!(stage.holds().await, 1);
}
