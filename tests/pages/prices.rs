//! Prices that are published, as customers and operators see them.

use keyledger::clock;
use serde_json::{Value, json};

use super::browser::Browser;
use super::operator::operator;
use crate::http::stage::Stage;

fn book(price: &str) -> Value {
    json!({"prices": [
        {"endpoint": "serp", "match": "GET /serp/{*rest}", "price": price},
        {"endpoint": "rows", "match": "GET /rows", "price": "0.25", "unit": "row",
         "quantity": {"header": "X-Count"}, "quantity_max": 20},
    ]})
}

#[tokio::test]
async fn a_customer_sees_the_prices_that_hold_and_the_next_ones_with_their_moment() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let ada = Browser::inside(&stage, &account).await;
    assert!(!ada.page("/portal/credits").await.contains("next-prices"));
    stage.operator.put("/v1/prices", book("0.75")).await.json(200);
    let mut next = book("2");
    next["valid_from"] = json!("2999-01-01T00:00:00Z");
    stage.operator.put("/v1/prices", next).await.json(200);
    let page = ada.page("/portal/credits").await;
    let (now, then) = page.split_once("id=\"next-prices\"").unwrap();
    assert!(now.contains("<dt>serp</dt><dd><b>0.75 credits per request</b></dd>"));
    assert!(!now.contains("<dt>echo</dt>"), "what is not in the book has no price");
    assert!(
        then.contains("1 Jan 2999, 00:00:00") && then.contains("<dt>serp</dt><dd><b>2 credits per request</b></dd>")
    );
    assert!(then.contains("For each row in the answer, up to 20."));
}

#[tokio::test]
async fn an_operator_sees_both_books_with_version_and_moment() {
    let stage = Stage::open().await;
    let grace = operator(&stage).await;
    let page = grace.page("/portal/operator/prices").await;
    assert!(page.contains("version 0: none were published yet") && !page.contains("next-prices"));
    stage.operator.put("/v1/prices", book("0.75")).await.json(200);
    let mut next = json!({"prices": []});
    next["valid_from"] = json!(clock::now().plus_seconds(3_600).to_string());
    stage.operator.put("/v1/prices", next).await.json(200);
    let page = grace.page("/portal/operator/prices").await;
    assert!(
        page.contains("Version 1 holds since") && page.contains("GET /serp/{*rest}") && page.contains("Header x-count")
    );
    assert!(page.contains("Version 2, from") && page.contains("It has no prices: every request will be refused."));
}
