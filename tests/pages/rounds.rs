//! A page is one question to the database and its answer, and the database still says each time who may see it.

use serde_json::json;

use super::activity::request;
use super::browser::{Browser, hidden};
use super::held_wire::HeldWire;
use super::operator::operator;
use crate::harness::Harness;
use crate::http::client::Answer;
use crate::http::stage::{Stage, id_of, secret_of};

/// A stage whose pages ask through a wire that can be held.
async fn staged() -> (Stage, HeldWire) {
    let harness = Harness::start().await;
    let wire = HeldWire::to(harness.postgres()).await;
    let harness = harness.by_wire(wire.address);
    (Stage::on(harness, true).await, wire)
}

/// Every kind of page that a customer has, and what they can take away.
async fn addresses(browser: &Browser, key: &str) -> Vec<String> {
    let activity = browser.page("/portal/activity").await;
    let event = activity.split("class=\"event\" href=\"activity/").nth(1).unwrap();
    let event = event.split('"').next().unwrap();
    let pages = [
        "keys",
        "keys/new",
        &format!("keys/{key}/rename"),
        &format!("keys/{key}/delete"),
        &format!("keys/{key}/rotate"),
        "credits",
        &format!("credits?key={key}"),
        "credits/charges.csv",
        "activity",
        "activity?kind=every",
        &format!("activity?key={key}&kind=keys"),
        &format!("activity/{event}"),
        &format!("activity/{event}/document"),
    ];
    pages.map(|page| format!("/portal/{page}")).to_vec()
}

/// An answer and the statements of each round before it. A machine that stands still in the midst of a round makes two of
/// it, so the best of some counts: a page that needs two never does with one.
async fn best_of_some(wire: &HeldWire, browser: &Browser, path: &str) -> (Answer, Vec<u64>) {
    let mut best = wire.rounds(browser.get(path)).await;
    for _ in 0..3 {
        if best.1.len() > 1 {
            best = wire.rounds(browser.get(path)).await;
        }
    }
    best
}

#[tokio::test]
async fn a_page_is_there_after_one_round_of_queries() {
    let (stage, wire) = staged().await;
    let (account, key) = stage.customer("100").await;
    let id = id_of(&key["key"]);
    request(&stage, &account, secret_of(&key), "203.0.113.0/24", true).await;
    let ada = Browser::inside(&stage, &account).await;
    crate::harness::until("the charge is there", async || {
        ada.page("/portal/credits").await.contains("0.5")
    })
    .await;
    let head = stage.harness.log().head().await.unwrap().position;
    let behind_head = ["keys", "credits"].map(|page| format!("/portal/{page}?after=0:{head}"));
    // One view may have the charge before another one has.
    for path in &behind_head {
        ada.page(path).await;
    }
    // From here on the pages alone ask by this wire.
    stage.stop_projector();
    let mut paths = addresses(&ada, id).await;
    // Whether the views are there is asked once, not each time that the page is loaded again.
    paths.extend(behind_head);
    for path in paths {
        let (page, rounds) = best_of_some(&wire, &ada, &path).await;
        assert_eq!((page.status.as_u16(), rounds.len()), (200, 1), "{path}: {rounds:?}");
    }
}

#[tokio::test]
async fn an_operator_sees_an_accounts_page_after_one_round_too() {
    let (stage, wire) = staged().await;
    let (account, _) = stage.customer("100").await;
    let ada = Browser::inside(&stage, &account).await;
    let op = operator(&stage).await;
    stage.stop_projector();
    let id = account.trim_start_matches("/v1/accounts/");
    for page in ["keys", "credits", "activity"] {
        let path = format!("/portal/operator/accounts/{id}/pages/{page}");
        assert_eq!(op.get(&path).await.status, 200);
        let (page, rounds) = best_of_some(&wire, &op, &path).await;
        assert_eq!((page.status.as_u16(), rounds.len()), (200, 1), "{path}: {rounds:?}");
    }
    // Neither is the other.
    let mut mixed = Browser::new(&stage);
    mixed.cookie = ada.cookie.replace("keyledger=", "keyledger-operator=");
    let path = format!("/portal/operator/accounts/{id}/pages/keys");
    assert_eq!(mixed.get(&path).await.status, 401);
    mixed.cookie = op.cookie.replace("keyledger-operator=", "keyledger=");
    assert_eq!(mixed.get("/portal/keys").await.status, 401);
}

#[tokio::test]
async fn a_made_up_cookie_costs_one_look_up_and_nothing_else() {
    let (stage, wire) = staged().await;
    let account = stage.account().await;
    let ada = Browser::inside(&stage, &account).await;
    stage.stop_projector();
    let mut eve = Browser::new(&stage);
    let secret = keyledger::sessions::CookieSecret::from_random([7; 32]);
    eve.cookie = format!("keyledger={}", secret.expose_text_to_its_holder());
    for _ in 0..2 {
        let (refused, rounds) = wire.rounds(eve.get("/portal/credits")).await;
        assert_eq!((refused.status.as_u16(), rounds), (401, vec![1]));
    }
    let (page, rounds) = wire.rounds(ada.get("/portal/credits")).await;
    assert_eq!(page.status, 200);
    assert!(rounds[0] > 1, "the wire counts statements: {rounds:?}");
}

#[tokio::test]
async fn who_signs_out_in_one_process_is_out_in_every_other_at_once() {
    let here = Stage::open().await;
    let there = Stage::on(here.harness.another(), true).await;
    let (account, key) = here.customer("100").await;
    let ada = Browser::inside(&here, &account).await;
    let mut elsewhere = Browser::new(&there);
    elsewhere.cookie.clone_from(&ada.cookie);
    let pages = addresses(&elsewhere, id_of(&key["key"])).await;
    for path in &pages {
        assert_eq!(elsewhere.get(path).await.status, 200, "{path}");
    }
    let page = ada.page("/portal/keys").await;
    let token = hidden(&page, "token").to_owned();
    let out = ada.post("/portal/sign-out", &[("token", &token)]).await;
    assert_eq!(out.status, 200);
    // A stranger is told the same, whether there is such a page or not.
    let nothing = ["activity/99999", "activity?kind=all", "keys/x/rename"].map(|page| format!("/portal/{page}"));
    for path in nothing.iter().chain(&pages) {
        // Each time by somebody whom the other process remembers.
        sqlx::query("update portal_sessions set cookie_digest = $1, ends_at = now() + interval '1 hour'")
            .bind(digest_of(&ada).as_slice())
            .execute(&here.harness.service_pool())
            .await
            .unwrap();
        assert_eq!(elsewhere.get("/portal/keys").await.status, 200);
        assert_eq!(ada.post("/portal/sign-out", &[("token", &token)]).await.status, 200);
        let refused = elsewhere.get(path).await;
        assert_eq!(refused.status, 401, "{path}");
        assert!(!refused.text.contains("Looker Studio") && !refused.text.contains("Acme"));
    }
    let refused = elsewhere
        .post("/portal/keys", &[("token", &token), ("name", "Late")])
        .await;
    assert_eq!(refused.status, 401);
    let keys = here.operator.get(&format!("{account}/keys")).await.json(200);
    assert_eq!(keys["items"].as_array().unwrap().len(), 1, "{}", json!(keys));
}

fn digest_of(browser: &Browser) -> [u8; 32] {
    let (_, text) = browser.cookie.split_once('=').unwrap();
    *keyledger_events::KeyDigest::of(text).as_bytes()
}
