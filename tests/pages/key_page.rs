//! A key's own page, and what a customer limits a key to, without a script.

use serde_json::json;

use super::browser::{Browser, hidden, invite};
use crate::http::stage::{Stage, id_of, secret_of};

async fn hold(stage: &Stage, secret: &str, endpoint: &str) -> u16 {
    let hold = json!({"secret": secret, "endpoint": endpoint});
    stage.operator.post("/v1/reservations", hold).await.status.as_u16()
}

async fn generate(ada: &Browser, more: &[(&str, &str)]) -> crate::http::client::Answer {
    let form = ada.page("/portal/keys/new").await;
    let mut fields = vec![
        ("token", hidden(&form, "token").to_owned()),
        ("request", hidden(&form, "request").to_owned()),
        ("name", "Finance".to_owned()),
    ];
    fields.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    ada.post("/portal/keys", &fields).await
}

fn secret_in(page: &str) -> &str {
    super::browser::value_after(page, "id=\"secret\"", "value")
}

fn key_in(page: &str) -> &str {
    let on = super::browser::value_after(page, "id=\"stored\"", "href");
    on.split_once('#').unwrap().1
}

#[tokio::test]
async fn a_new_key_is_for_the_endpoints_that_are_ticked_and_spends_what_it_may() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let ada = Browser::inside(&stage, &account).await;
    let form = ada.page("/portal/keys/new").await;
    assert!(form.contains("name=\"only_serp\"") && form.contains("name=\"only_ai_visibility\""));
    let limits = [
        ("only_serp", "yes"),
        ("only_echo", "yes"),
        ("limit_amount", "1"),
        ("limit_per", "month"),
    ];
    let made = generate(&ada, &limits).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let (secret, key) = (secret_in(&made.text), key_in(&made.text));
    assert_eq!(hold(&stage, secret, "result").await, 403);
    assert_eq!(hold(&stage, secret, "serp").await, 201);
    assert_eq!(hold(&stage, secret, "echo").await, 201);
    assert_eq!(hold(&stage, secret, "serp").await, 402);
    let head = stage.harness.log().head().await.unwrap().position;
    let list = format!("{account}/keys?name=Finance&after=0:{head}");
    let shown = stage.operator.get(&list).await.json(200)["items"][0].clone();
    assert_eq!(
        (&shown["id"], &shown["scopes"]),
        (&json!(key), &json!(["echo", "serp"]))
    );
    assert_eq!(shown["spending_limit"], json!({"amount": "1", "per": "month"}));
    let page = ada.page(&format!("/portal/keys/{key}")).await;
    assert!(
        page.contains("Only for echo, serp. May spend 1 credits a month."),
        "{page}"
    );
}

#[tokio::test]
async fn a_new_key_works_to_the_end_of_its_last_day() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let ada = Browser::inside(&stage, &account).await;
    let today = keyledger::clock::now().start_of_day();
    let day = |days: u32| today.plus_seconds(days * 86_400).to_string()[..10].to_owned();
    let made = generate(&ada, &[("last_day", &day(2))]).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(hold(&stage, secret_in(&made.text), "serp").await, 201);
    let head = stage.harness.log().head().await.unwrap().position;
    let list = format!("{account}/keys?name=Finance&after=0:{head}");
    let shown = stage.operator.get(&list).await.json(200)["items"][0].clone();
    assert_eq!(shown["expires_at"], today.plus_seconds(3 * 86_400).to_string());
    let page = ada.page(&format!("/portal/keys/{}", key_in(&made.text))).await;
    assert!(page.contains("Good until"), "{page}");
    for wrong in ["2020-01-01", "tomorrow", "2026-02-30"] {
        let again = generate(&ada, &[("last_day", wrong)]).await;
        assert_eq!(again.status, 422, "{wrong}");
        assert!(again.text.contains("Choose a day from today on.") && again.text.contains("value=\"Finance\""));
    }
    let keys = stage.operator.get(&format!("{account}/keys")).await.json(200);
    assert_eq!(keys["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_limit_that_is_none_is_said_to_be_and_makes_no_key() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let ada = Browser::inside(&stage, &account).await;
    let limits = [("only_serp", "yes"), ("limit_amount", "five"), ("limit_per", "month")];
    let again = generate(&ada, &limits).await;
    assert_eq!(again.status, 422);
    for kept in [
        "value=\"Finance\"",
        "value=\"five\"",
        "name=\"only_serp\" value=\"yes\" checked",
        "value=\"month\" checked",
        "<details open>",
        "id=\"limit-error\"",
    ] {
        assert!(again.text.contains(kept), "{kept}: {}", again.text);
    }
    for none in [
        [("limit_amount", "1"), ("limit_per", "year")],
        [("only_No Name", "yes"), ("limit_per", "day")],
    ] {
        assert_eq!(generate(&ada, &none).await.status, 400);
    }
    let keys = stage.operator.get(&format!("{account}/keys")).await.json(200);
    assert_eq!(keys["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_key_may_spend_is_set_changed_and_taken_away_on_its_page() {
    let stage = Stage::open().await;
    let (account, key) = stage.customer("10").await;
    let ada = Browser::inside(&stage, &account).await;
    let path = format!("/portal/keys/{}", id_of(&key["key"]));
    let page = ada.page(&path).await;
    assert!(page.contains("<p id=\"limits\">It has no limits.</p>"));
    let token = hidden(&page, "token").to_owned();
    let set = async |amount: &str, per: &str| {
        let fields = [("token", token.as_str()), ("limit_amount", amount), ("limit_per", per)];
        ada.post(&format!("{path}/limit"), &fields).await
    };
    let done = ada.follow(&set("0.5", "day").await).await;
    assert!(done.contains("The key has its new limit.") && done.contains("May spend 0.5 credits a day."));
    assert!(done.contains("value=\"0.5\""), "what is so stands in the form");
    assert_eq!(hold(&stage, secret_of(&key), "serp").await, 201);
    assert_eq!(hold(&stage, secret_of(&key), "serp").await, 402);
    let wrong = set("-1", "month").await;
    assert!(wrong.status == 422 && wrong.text.contains("id=\"limit-error\"") && wrong.text.contains("value=\"-1\""));
    let done = ada.follow(&set("", "day").await).await;
    assert!(done.contains("<p id=\"limits\">It has no limits.</p>"));
    assert_eq!(hold(&stage, secret_of(&key), "serp").await, 201);
    // Who may only look sees no form, and no other account's key.
    let link = invite(&stage, &account, json!({"read_only": true})).await;
    let mut grace = Browser::new(&stage);
    let entered = grace.open(&link).await;
    grace.follow(&entered).await;
    let page = grace.page(&path).await;
    assert!(!page.contains("limit-form") && page.contains("Looker Studio"));
    assert_eq!(
        grace.post(&format!("{path}/limit"), &[("token", "x")]).await.status,
        403
    );
    let other = Browser::inside(&stage, &stage.customer("1").await.0).await;
    assert_eq!(other.get(&path).await.status, 404);
    assert_eq!(other.get("/portal/keys/key_x").await.status, 404);
}

#[tokio::test]
async fn a_dead_key_that_is_still_tried_says_so_on_its_page_and_over_the_list() {
    let stage = Stage::open().await;
    let (account, key) = stage.customer("10").await;
    let (id, secret) = (id_of(&key["key"]).to_owned(), secret_of(&key).to_owned());
    stage
        .operator
        .delete(&format!("{account}/keys/{id}?reason=leaked"))
        .await
        .json(200);
    let ada = Browser::inside(&stage, &account).await;
    let seen = async |path: &str| {
        let head = stage.harness.log().head().await.unwrap().position;
        ada.page(&format!("/portal/{path}?after=0:{head}")).await
    };
    let page = seen(&format!("keys/{id}")).await;
    assert!(page.contains("This key works nowhere any more.") && page.contains("It was found in public and deleted"));
    assert!(page.contains("Nobody has tried it since then.") && page.contains("id=\"none-refused\""));
    assert!(!seen("keys").await.contains("id=\"tried\""));
    for _ in 0..3 {
        assert_eq!(hold(&stage, &secret, "serp").await, 401);
    }
    stage.ledger.note_denials().await;
    let page = seen(&format!("keys/{id}")).await;
    assert!(page.contains("It was tried 3 times since then"), "{page}");
    assert!(
        page.contains("it is deleted</td>") && page.contains(">3 times</td>"),
        "{page}"
    );
    assert!(!page.contains("limit-form") && !page.contains("/rotate\""));
    let list = seen("keys").await;
    assert!(
        list.contains("id=\"tried\"") && list.contains(&format!("href=\"keys/{id}\"")),
        "{list}"
    );
    assert!(!list.contains(&secret) && !page.contains(&secret));
}
