//! What the help page says, click by click, without a script.

use serde_json::json;

use super::browser::{Browser, encode, hidden, value_after};
use crate::http::stage::Stage;

fn secret_in(page: &str) -> &str {
    value_after(page, "id=\"secret\"", "value")
}

/// What the key opens, asked as the gateway's neighbours do.
async fn works(stage: &Stage, secret: &str) -> u16 {
    let hold = json!({"secret": secret, "endpoint": "serp"});
    stage.operator.post("/v1/reservations", hold).await.status.as_u16()
}

#[tokio::test]
async fn the_help_pages_steps_lead_where_it_says() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let ada = Browser::inside(&stage, &account).await;
    let list = ada.page("/portal/keys").await;
    assert!(list.contains("Generate new key") && list.contains("Looker Studio"));
    let made = ada.generate("Internal Dashboard").await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.header("cache-control"), "no-store");
    assert!(made.text.contains("You won’t see it again"));
    let secret = secret_in(&made.text).to_owned();
    assert_eq!(works(&stage, &secret).await, 201);
    // On to the list, by the link on the page: the new key is there, its text is not.
    let on = value_after(&made.text, "id=\"stored\"", "href").to_owned();
    let (on, key) = on.split_once('#').unwrap();
    let list = ada.page(&format!("/portal/{on}")).await;
    assert!(list.contains("Internal Dashboard") && list.contains(&secret[..11]) && !list.contains(&secret));
    for column in ["Name", "Key preview", "Created", "Last used"] {
        assert!(list.contains(&format!(">{column}</th>")), "{column}");
    }
    // Delete, after a question that names the key.
    let question = ada.page(&format!("/portal/keys/{key}/delete")).await;
    assert!(question.contains("Internal Dashboard") && question.contains("will stop working immediately"));
    let done = ada
        .post(
            &format!("/portal/keys/{key}/delete"),
            &[("token", hidden(&question, "token"))],
        )
        .await;
    assert_eq!(works(&stage, &secret).await, 401);
    let list = ada.follow(&done).await;
    assert!(!list.contains("Internal Dashboard") && list.contains("The key is deleted"));
    assert_eq!(ada.get(&format!("/portal/keys/{key}/delete")).await.status, 410);
}

#[tokio::test]
async fn a_key_is_rotated_and_the_list_says_when_the_old_one_stops() {
    let stage = Stage::open().await;
    let (account, old) = stage.customer("10").await;
    let id = old["key"]["id"].as_str().unwrap();
    let ada = Browser::inside(&stage, &account).await;
    let path = format!("/portal/keys/{id}/rotate");
    let question = ada.page(&path).await;
    assert!(question.contains("Looker Studio") && question.contains("It has never been used"));
    let fields = [
        ("token", hidden(&question, "token")),
        ("request", hidden(&question, "request")),
        ("overlap", "day"),
    ];
    let made = ada.post(&path, &fields).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert!(made.text.contains("You won’t see it again") && made.text.contains("works for another 1 day"));
    let secret = secret_in(&made.text).to_owned();
    for key in [secret.as_str(), old["secret"].as_str().unwrap()] {
        assert_eq!(works(&stage, key).await, 201);
    }
    // The same form again shows no text and makes no third key.
    let again = ada.post(&path, &fields).await;
    assert_eq!(again.status, 200);
    assert!(again.text.contains("already shown") && !again.text.contains(&secret));
    let on = value_after(&made.text, "id=\"stored\"", "href").to_owned();
    let list = ada
        .page(&format!(
            "/portal/{}",
            on.trim_start_matches("../").split('#').next().unwrap()
        ))
        .await;
    assert_eq!(list.matches("class=\"name\">Looker Studio").count(), 2);
    assert_eq!(list.matches("It has a successor and stops").count(), 1);
    assert!(list.contains(">in 23 hours</time>"), "{list}");
    assert_eq!(ada.get(&path).await.status, 409);
    let told = ada.page("/portal/activity?kind=keys").await;
    assert!(told.contains(" a successor, and it stops at "), "{told}");
    let bad = [fields[0], fields[1], ("overlap", "2")];
    assert_eq!(ada.post(&path, &bad).await.status, 400);
}

#[tokio::test]
async fn a_key_that_is_refused_says_so_on_its_line_and_in_the_history() {
    let stage = Stage::open().await;
    let (account, key) = stage.customer("0.5").await;
    let secret = key["secret"].as_str().unwrap();
    assert_eq!(works(&stage, secret).await, 201);
    for _ in 0..3 {
        assert_eq!(works(&stage, secret).await, 402);
    }
    stage.ledger.note_denials().await;
    let ada = Browser::inside(&stage, &account).await;
    let head = stage.harness.log().head().await.unwrap().position;
    let list = ada.page(&format!("/portal/keys?after=0:{head}")).await;
    assert!(list.contains("Refused 3 times today"), "{list}");
    let why = value_after(&list, "Refused 3 times today", "href").replace("&amp;", "&");
    let told = ada.page(&format!("/portal/{why}")).await;
    assert!(
        told.contains(
            "Requests with the key <bdi>Looker Studio</bdi> were refused 3 times: there were not enough credits"
        ),
        "{told}"
    );
}

#[tokio::test]
async fn loading_the_new_keys_page_again_makes_no_second_key_and_shows_no_text() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let ada = Browser::inside(&stage, &account).await;
    let form = ada.page("/portal/keys/new").await;
    let fields = [
        ("token", hidden(&form, "token")),
        ("request", hidden(&form, "request")),
        ("name", "Once"),
    ];
    let first = ada.post("/portal/keys", &fields).await;
    let secret = secret_in(&first.text).to_owned();
    let again = ada.post("/portal/keys", &fields).await;
    assert_eq!(again.status, 200);
    assert!(again.text.contains("already shown") && !again.text.contains(&secret));
    let on = value_after(&again.text, "id=\"stored\"", "href")
        .split('#')
        .next()
        .unwrap()
        .to_owned();
    let list = ada.page(&format!("/portal/{on}")).await;
    assert_eq!(list.matches("<bdi class=\"name\">Once</bdi>").count(), 1);
}

#[tokio::test]
async fn a_key_is_renamed_and_its_history_says_who_did_it() {
    let stage = Stage::open().await;
    let (account, key) = stage.customer("10").await;
    let id = key["key"]["id"].as_str().unwrap();
    let ada = Browser::inside(&stage, &account).await;
    let form = ada.page(&format!("/portal/keys/{id}/rename")).await;
    let path = format!("/portal/keys/{id}/rename");
    let empty = ada
        .post(&path, &[("token", hidden(&form, "token")), ("name", " ")])
        .await;
    assert_eq!(empty.status, 422);
    assert!(empty.text.contains("aria-invalid=\"true\"") && empty.text.contains("must not be empty"));
    let done = ada
        .post(&path, &[("token", hidden(&form, "token")), ("name", "Finance")])
        .await;
    let list = ada.follow(&done).await;
    assert!(list.contains("Finance") && !list.contains("Looker Studio</bdi>"));
    let history = stage
        .operator
        .get(&format!("{account}/keys/{id}/history"))
        .await
        .json(200);
    let renamed = history["items"].as_array().unwrap().last().unwrap();
    assert!(renamed["actor"].as_str().unwrap().starts_with("ses_"), "{renamed}");
}

#[tokio::test]
async fn names_that_attack_are_shown_as_text() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let emoji = "🦀".repeat(80);
    for name in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "ad\u{200D}min\u{00AD}",
        "{{7*7}}",
        "javascript:alert(1)",
        emoji.as_str(),
    ] {
        let made = stage
            .operator
            .post(&format!("{account}/keys"), json!({"name": name}))
            .await;
        assert_eq!(made.status, 201, "{name:?}");
    }
    let mut ada = Browser::new(&stage);
    let link = super::browser::invite(&stage, &account, json!({"name": "<b>\"Ada"})).await;
    let entered = ada.open(&link).await;
    let list = ada.follow(&entered).await;
    assert!(!list.contains("<script>") && !list.contains("<img src=x") && !list.contains("<b>\"Ada"));
    assert!(list.contains("ad[U+200D]min[U+00AD]") && list.contains("{{7*7}}") && list.contains(&emoji));
    let refused = ada.generate("a\u{202E}b").await;
    assert_eq!(refused.status, 422);
    assert!(refused.text.contains("invisible formatting"));
}

#[tokio::test]
async fn a_long_list_goes_on_and_a_page_stays_light() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    for n in 0..30 {
        let name = json!({"name": format!("Key {n:02} of many, with a name that is not short")});
        stage.operator.post(&format!("{account}/keys"), name).await.json(201);
    }
    let mut ada = Browser::new(&stage);
    let entered = ada
        .open(&super::browser::invite(&stage, &account, json!({})).await)
        .await;
    let first = ada.follow(&entered).await;
    let weight = ada.weight(&first).await;
    assert!(weight < 60_000, "{weight} bytes");
    let next = first.split("keys?below=").nth(1).unwrap().split('"').next().unwrap();
    let second = ada.page(&format!("/portal/keys?below={}", encode(next))).await;
    // Keys of one millisecond stand in any order, so which ones are on a page is not asked for.
    let rows = |page: &str| page.matches("class=\"name\"").count();
    assert_eq!((rows(&first), rows(&second)), (25, 5));
    for n in 0..30 {
        let name = format!("class=\"name\">Key {n:02} ");
        assert!(
            first.contains(&name) != second.contains(&name),
            "{name} stands on one page"
        );
    }
}

#[tokio::test]
async fn an_account_without_keys_is_told_how_to_make_one() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let mut ada = Browser::new(&stage);
    let entered = ada
        .open(&super::browser::invite(&stage, &account, json!({})).await)
        .await;
    let page = ada.follow(&entered).await;
    assert!(page.contains("You have no keys yet") && page.contains("curl -H"));
}

#[tokio::test]
async fn what_a_key_is_limited_to_stands_under_its_name() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let limited = json!({
        "name": "Limited",
        "scopes": ["serp", "echo", "conversions", "ai_visibility"],
        "rate_limit": {"per_second": 1_000, "burst": 5},
        "spending_limit": {"amount": "12.5", "per": "month"}
    });
    let made = stage.operator.post(&format!("{account}/keys"), limited).await;
    let after = made.position().to_owned();
    made.json(201);
    let ada = Browser::inside(&stage, &account).await;
    let list = ada.page(&format!("/portal/keys?after={after}")).await;
    let said = "Only for ai_visibility, conversions, echo and 1 more. Up to 1,000 calls a second. May spend 12.5 credits a month.";
    assert_eq!(list.matches(said).count(), 1, "{list}");
    assert_eq!(list.matches("Only for").count(), 1);
}
