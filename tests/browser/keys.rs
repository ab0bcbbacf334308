//! The help page's steps in a real browser: on a phone and a desktop, with and without scripts, in both lights.

use keyledger_events::{KeyPrefix, KeySecret};
use serde_json::json;

use super::{Browser, View};
use crate::http::stage::Stage;
use crate::pages::browser::invite;

/// What the key opens, asked as the gateway's neighbours do.
async fn works(stage: &Stage, secret: &str) -> u16 {
    let hold = json!({"secret": secret, "endpoint": "serp"});
    stage.operator.post("/v1/reservations", hold).await.status.as_u16()
}

async fn steps(view: View) {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let link = invite(&stage, &account, json!({"name": "Ada"})).await;
    let browser = Browser::open(view).await;
    browser.goto(&format!("http://{}{link}", stage.address)).await;
    browser.reads("Looker Studio").await;
    browser.look("keys").await;
    browser.click_said("Generate new key").await;
    let name = if view.scripts { "#new-name" } else { "#name" };
    browser.type_in(name, "Internal Dashboard").await;
    browser.look("new-key").await;
    browser.click_said("Generate key").await;
    browser.reads("You won’t see it again").await;
    let secret = browser.find("#secret").await.prop("value").await.unwrap().unwrap();
    assert!(
        KeySecret::parse(&KeyPrefix::default(), &secret).is_ok(),
        "what is shown is a key"
    );
    assert_eq!(works(&stage, &secret).await, 201);
    // The picture of a throw-away key of a throw-away database.
    browser.look("key-created").await;
    browser.click("#stored").await;
    browser.find("#keys").await;
    browser.reads("Internal Dashboard").await;
    assert!(!browser.client.source().await.unwrap().contains(&secret));
    browser.click_said("Delete Internal Dashboard").await;
    browser.reads("will stop working immediately").await;
    browser.look("delete-key").await;
    browser.click_said("Delete key").await;
    browser.reads("The key is deleted").await;
    assert!(!browser.shows("Internal Dashboard").await);
    assert_eq!(works(&stage, &secret).await, 401);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_pages_steps_work_on_a_desktop() {
    steps(View::DESKTOP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_pages_steps_work_on_a_phone_at_night() {
    steps(View::PHONE.dark()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_pages_steps_work_without_scripts() {
    steps(View::DESKTOP.dark().without_scripts()).await;
    steps(View::PHONE.without_scripts()).await;
}
