//! Who is kept out, and what they are told.

use http::Method;
use keyledger::config::{Colour, PagesConfig};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _};

use super::browser::{Browser, hidden, invite, value_after};
use crate::http::stage::Stage;

/// Moves the sessions' times, as if it were later.
async fn set(stage: &Stage, change: &'static str) {
    let mut owner = stage.harness.owner().await;
    let text = format!("update portal_sessions set {change}");
    sqlx::query(AssertSqlSafe(text)).execute(&mut owner).await.unwrap();
    owner.close().await.unwrap();
}

#[tokio::test]
async fn a_link_opens_the_pages_once() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let link = invite(&stage, &account, json!({})).await;
    // Those who only look ahead do not use it up.
    let stranger = stage.stranger();
    stranger.send(Method::HEAD, &link, &[], "").await;
    let ahead = stranger
        .send(Method::GET, &link, &[("sec-purpose", "prefetch")], "")
        .await;
    assert_eq!(ahead.status, 503);
    let (mut ada, mut eve) = (Browser::new(&stage), Browser::new(&stage));
    let entered = ada.open(&link).await;
    assert_eq!(entered.status, 303);
    let cookie = entered.header("set-cookie");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    assert!(!entered.header("location").contains("kl"), "a secret in an address");
    let used = eve.open(&link).await;
    assert_eq!(used.status, 410);
    assert!(used.text.contains("This link was used before"));
    // The way back in the same browser is no second use.
    assert_eq!(ada.open(&link).await.status, 303);
    let expired = invite(&stage, &account, json!({})).await;
    set(&stage, "link_expires_at = created_at - interval '1 second'").await;
    let told = eve.open(&expired).await;
    assert_eq!(told.status, 410);
    assert!(told.text.contains("This link has expired"));
    assert_eq!(eve.open("/portal/open/kll_no").await.status, 404);
}

#[tokio::test]
async fn a_stay_ends_when_nobody_looks_when_its_time_is_over_and_at_sign_out() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let ada = Browser::inside(&stage, &account).await;
    set(&stage, "last_seen_at = last_seen_at - interval '29 minutes'").await;
    assert_eq!(
        ada.get("/portal/keys").await.status,
        200,
        "a visit within the idle time"
    );
    set(&stage, "last_seen_at = last_seen_at - interval '31 minutes'").await;
    let over = ada.get("/portal/keys").await;
    assert_eq!(over.status, 401);
    assert!(over.text.contains("Your session has ended"));
    let ada = Browser::inside(&stage, &account).await;
    set(&stage, "ends_at = created_at").await;
    assert_eq!(ada.get("/portal/keys").await.status, 401);
    let ada = Browser::inside(&stage, &account).await;
    let page = ada.page("/portal/keys").await;
    let out = ada.post("/portal/sign-out", &[("token", hidden(&page, "token"))]).await;
    assert!(out.text.contains("You are signed out") && out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(ada.get("/portal/keys").await.status, 401);
}

#[tokio::test]
async fn another_accounts_key_is_no_key_here() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let (_, other) = stage.customer("10").await;
    let id = other["key"]["id"].as_str().unwrap();
    let ada = Browser::inside(&stage, &account).await;
    let form = ada.page("/portal/keys/new").await;
    for what in ["rename", "delete"] {
        let path = format!("/portal/keys/{id}/{what}");
        assert_eq!(ada.get(&path).await.status, 404);
        let fields = [("token", hidden(&form, "token")), ("name", "Mine")];
        assert_eq!(ada.post(&path, &fields).await.status, 404);
    }
}

#[tokio::test]
async fn a_form_from_elsewhere_changes_nothing() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let mut ada = Browser::inside(&stage, &account).await;
    let form = ada.page("/portal/keys/new").await;
    let token = hidden(&form, "token");
    let bob = Browser::inside(&stage, &account).await;
    let bobs = bob.page("/portal/keys/new").await;
    for stolen in ["", "x", hidden(&bobs, "token")] {
        let refused = ada.post("/portal/keys", &[("token", stolen), ("name", "Forged")]).await;
        assert_eq!(refused.status, 403, "{stolen}");
    }
    for origin in ["https://evil.example", "null"] {
        ada.origin = origin.to_owned();
        let refused = ada.post("/portal/keys", &[("token", token), ("name", "Forged")]).await;
        assert_eq!(refused.status, 403);
        assert!(refused.text.contains("came from another site"));
    }
    let keys = stage.operator.get(&format!("{account}/keys")).await.json(200);
    assert_eq!(keys["items"], json!([]));
}

#[tokio::test]
async fn who_may_only_look_changes_nothing() {
    let stage = Stage::open().await;
    let (account, key) = stage.customer("10").await;
    let id = key["key"]["id"].as_str().unwrap();
    let mut auditor = Browser::new(&stage);
    let entered = auditor
        .open(&invite(&stage, &account, json!({"read_only": true})).await)
        .await;
    let list = auditor.follow(&entered).await;
    assert!(list.contains("Looker Studio") && !list.contains("Generate new key") && !list.contains("Delete"));
    let token = hidden(&list, "token").to_owned();
    let refused = auditor
        .post(&format!("/portal/keys/{id}/delete"), &[("token", &token)])
        .await;
    assert_eq!(refused.status, 403);
    assert_eq!(auditor.get("/portal/keys/new").await.status, 403);
}

#[tokio::test]
async fn every_page_keeps_frames_scripts_and_caches_out() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let ada = Browser::inside(&stage, &account).await;
    for path in [
        "/portal/keys",
        "/portal/keys/new",
        "/portal/credits",
        "/portal/nothing",
        "/portal/open/x",
    ] {
        let page = ada.get(path).await;
        let policy = page.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert_eq!(page.header("cache-control"), "no-store");
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
        assert!(
            !page.text.contains("style=\"") && !page.text.contains("onclick"),
            "{path}"
        );
    }
    assert_eq!(ada.get("/portal/nothing").await.status, 404);
    assert_eq!(Browser::new(&stage).get("/portal/keys").await.status, 401);
}

#[tokio::test]
async fn only_an_operator_invites_and_only_to_an_account_that_is_there() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let path = format!("{account}/portal-sessions");
    let metering = stage.client(keyledger::tokens::Role::Metering).await;
    assert_eq!(metering.post(&path, json!({})).await.problem(403), "forbidden");
    let nobody = "/v1/accounts/acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA/portal-sessions";
    assert_eq!(
        stage.operator.post(nobody, json!({})).await.problem(404),
        "unknown-account"
    );
    let script = json!({"return_url": "javascript:alert(1)"});
    assert_eq!(stage.operator.post(&path, script).await.status, 422);
}

#[tokio::test]
async fn the_pages_carry_the_platforms_own_name_colours_and_logo() {
    const LOGO: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\"><title>SERP360</title></svg>";
    let dressed = PagesConfig {
        name: "SERP360".to_owned(),
        accent: Colour::BLACK,
        accent_dark: Colour::WHITE,
        logo: Some(LOGO.to_owned()),
        ..PagesConfig::default()
    };
    let stage = Stage::with_pages(dressed).await;
    let (account, _) = stage.customer("10").await;
    let ada = Browser::inside(&stage, &account).await;
    let page = ada.page("/portal/keys").await;
    assert!(page.contains("SERP360</title>") && !page.contains("Keyledger"));
    let asset = async |mark: &str, attribute: &str| {
        let place = value_after(&page, mark, attribute).to_owned();
        ada.get(&format!("/portal/{place}")).await
    };
    assert_eq!(asset("<span class=\"brand\">", "src").await.text, LOGO);
    let style = asset("rel=\"stylesheet\"", "href").await.text;
    assert!(
        style.contains(&format!("--accent:{}", Colour::BLACK))
            && style.contains(&format!("--accent:{}", Colour::WHITE))
    );
    assert!(
        asset("rel=\"icon\"", "href")
            .await
            .text
            .contains(&Colour::BLACK.to_string())
    );
}
