//! A key is shown once, so nobody leaves it behind by a slip.

use serde_json::{Value, json};

use super::{Browser, View};
use crate::http::stage::Stage;
use crate::pages::browser::invite;

/// Whether the browser would ask before it leaves. WebDriver answers the question itself, so the page is asked.
async fn would_ask(browser: &Browser) -> bool {
    let asked = "const leaving = new Event('beforeunload', {cancelable: true}); dispatchEvent(leaving); return leaving.defaultPrevented";
    browser.run(asked).await == Value::Bool(true)
}

async fn at_a_new_key(stage: &Stage) -> Browser {
    let (account, _) = stage.customer("10").await;
    let link = invite(stage, &account, json!({"name": "Ada"})).await;
    let browser = Browser::open(View::DESKTOP).await;
    browser.goto(&format!("http://{}{link}", stage.address)).await;
    browser.click_said("Generate new key").await;
    browser.type_in("#new-name", "Looker Studio 2").await;
    browser.click_said("Generate key").await;
    browser.find("#secret").await;
    browser
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_a_key_that_was_not_copied_asks_first() {
    let stage = Stage::open().await;
    let browser = at_a_new_key(&stage).await;
    assert!(would_ask(&browser).await, "nothing was copied yet");
    browser.click("#copy").await;
    crate::harness::until("a copied key may be left", async || !would_ask(&browser).await).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_a_key_by_saying_that_it_is_stored_asks_nothing() {
    let stage = Stage::open().await;
    let browser = at_a_new_key(&stage).await;
    assert!(would_ask(&browser).await, "nothing was stored yet");
    browser.click("#stored").await;
    browser.find("#keys").await;
    assert!(!would_ask(&browser).await, "there is no key on the list");
    browser.close().await;
}
