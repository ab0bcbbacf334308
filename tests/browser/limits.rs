//! Limits of a key and its own page in a real browser: set, kept to, and told plainly when the key is dead.

use serde_json::json;

use super::{Browser, View};
use crate::http::stage::Stage;
use crate::pages::browser::invite;

async fn works(stage: &Stage, secret: &str, endpoint: &str) -> u16 {
    let hold = json!({"secret": secret, "endpoint": endpoint});
    stage.operator.post("/v1/reservations", hold).await.status.as_u16()
}

async fn steps(view: View) {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let link = invite(&stage, &account, json!({"name": "Ada"})).await;
    let browser = Browser::open(view).await;
    browser.goto(&format!("http://{}{link}", stage.address)).await;
    browser.click_said("Generate new key").await;
    if view.scripts {
        browser.click("#with-limits").await;
    }
    browser.type_in("#name", "Finance").await;
    browser.click("summary").await;
    browser.click("[name=only_serp]").await;
    browser.type_in("[name=limit_amount]", "0.5").await;
    browser.look("new-key-limits").await;
    browser.click_said("Generate key").await;
    browser.reads("You won’t see it again").await;
    let secret = browser.find("#secret").await.prop("value").await.unwrap().unwrap();
    assert_eq!(works(&stage, &secret, "echo").await, 403);
    assert_eq!(works(&stage, &secret, "serp").await, 201);
    assert_eq!(works(&stage, &secret, "serp").await, 402);
    browser.click("#stored").await;
    browser.reads("Only for serp. May spend 0.5 credits a day.").await;
    browser.click_said("Finance").await;
    browser.reads("What it may spend").await;
    browser.look("key").await;
    browser.run("document.querySelector('#limit-amount').value = ''").await;
    browser.type_in("#limit-amount", "2").await;
    browser.click("#set-limit").await;
    browser.reads("The key has its new limit.").await;
    assert_eq!(works(&stage, &secret, "serp").await, 201);
    browser.click_said("Delete").await;
    browser.click_said("Delete key").await;
    browser.reads("The key is deleted").await;
    assert_eq!(works(&stage, &secret, "serp").await, 401);
    stage.ledger.note_denials().await;
    let head = stage.harness.log().head().await.unwrap().position;
    browser
        .goto(&format!("http://{}/portal/keys?after=0:{head}", stage.address))
        .await;
    browser.reads("Keys that work no more were refused").await;
    browser.look("keys-tried").await;
    browser.click("#tried a").await;
    browser.reads("This key works nowhere any more.").await;
    browser.reads("It was tried once since then").await;
    browser.look("key-dead").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_limited_and_its_end_is_plain_on_a_desktop() {
    steps(View::DESKTOP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_limited_and_its_end_is_plain_on_a_phone_at_night() {
    steps(View::PHONE.dark()).await;
}
