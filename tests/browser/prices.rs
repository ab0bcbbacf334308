//! The next price book in a real browser: on the customer's Credits and on the operators' prices.

use serde_json::json;

use super::{Browser, View};
use crate::http::stage::Stage;
use crate::pages::browser::invite;
use crate::pages::operator::link;

async fn steps(view: View) {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let book = |price: &str, from: &str| {
        json!({"valid_from": from, "prices": [
            {"endpoint": "serp", "match": "GET /serp/{*rest}", "price": price},
            {"endpoint": "ai_visibility", "match": "GET /ai-visibility/{*rest}", "price": "0.5", "unit": "conversation",
             "quantity": {"json": "/conversations"}, "quantity_max": 50, "when_more": "top-up", "once_per": "path"},
        ]})
    };
    let now = keyledger::clock::now().to_string();
    stage.operator.put("/v1/prices", book("0.75", &now)).await.json(200);
    let next = book("1.25", "2999-01-01T12:00:00Z");
    stage.operator.put("/v1/prices", next).await.json(200);
    let browser = Browser::open(view).await;
    let entrance = invite(&stage, &account, json!({"name": "Ada"})).await;
    browser.goto(&format!("http://{}{entrance}", stage.address)).await;
    browser.click_said("Credits").await;
    browser.reads("0.75 credits per request").await;
    browser.reads("1.25 credits per request").await;
    browser.reads("1 Jan 2999").await;
    browser.look("credits-next-prices").await;
    let entrance = link(&stage.operator, json!({"name": "Grace"})).await;
    browser.goto(&format!("http://{}{entrance}", stage.address)).await;
    browser.click_said("Prices").await;
    browser.reads("Version 1 holds since").await;
    browser.reads("Version 2, from").await;
    browser.look("operator-next-prices").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_prices_are_plain_on_a_desktop() {
    steps(View::DESKTOP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_prices_are_plain_on_a_phone_at_night() {
    steps(View::PHONE.dark()).await;
}
