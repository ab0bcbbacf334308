//! The Credits page in a real browser: on a phone and a desktop, with and without scripts, in both lights.

use serde_json::{Value, json};
use sqlx::Connection as _;

use super::{Browser, View};
use crate::http::stage::{Stage, id_of, secret_of};
use crate::pages::browser::invite;
use crate::pages::credits::{charge_dashboard, charge_key, hold};

/// A customer with a month behind: the days before today stand in the view alone, as if they had been folded.
async fn customer_of_a_month(stage: &Stage) -> String {
    let (account, made) = stage.customer("250").await;
    for (amount, source, reference, expires_at) in [
        ("1000", "purchase", "invoice-2026-117", Some("2999-12-31T00:00:00Z")),
        ("50", "promotion", "Welcome", None),
    ] {
        let grant = json!({"amount": amount, "source": source, "reference": reference, "expires_at": expires_at});
        stage.operator.post(&format!("{account}/grants"), grant).await.json(201);
    }
    come_again_and_set_aside(stage, &account).await;
    let mut position = String::new();
    for name in [
        "Internal Dashboard",
        "<script>alert(1)</script>",
        "ad\u{200D}min",
        "Nightly export to the warehouse",
    ] {
        let key = json!({"name": name});
        let made = stage.operator.post(&format!("{account}/keys"), key).await.json(201);
        charge_key(stage, &account, secret_of(&made), "ai_visibility").await;
    }
    for endpoint in ["serp", "serp", "echo", "conversions"] {
        charge_key(stage, &account, secret_of(&made), endpoint).await;
    }
    hold(stage, secret_of(&made), "serp").await;
    for _ in 0..14 {
        position = charge_dashboard(stage, &account, "serp", 2).await;
    }
    let charges = stage
        .operator
        .get(&format!("{account}/charges?after={position}"))
        .await
        .json(200);
    let refund = format!("{account}/charges/{}/refund", id_of(&charges["items"][1]));
    let refunded = stage
        .operator
        .post(&refund, json!({"amount": "0.25", "reason": "It was stale"}))
        .await;
    position = refunded.position().to_owned();
    refunded.json(201);
    // The rows of today are there before those of the other days come.
    let usage = stage.operator.get(&format!("{account}/usage?after={position}")).await;
    assert_eq!(usage.status, 200);
    let mut owner = stage.harness.owner().await;
    for statement in [
        "insert into views.usage_by_endpoint (account_id, hour, endpoint, uses, charges, quantity, charged, released_requested,
             released_queued, released_error, released_client_gone, released_expired, released_account_closed)
         select account_id, date_trunc('day', now(), 'UTC') - d * interval '1 day', e.name, n, n, n, n * 500000,
             0, 0, 0, 0, 0, 0
         from views.balance, generate_series(1, 29) d,
             (values ('serp', 34, 5), ('ai_visibility', 18, 3), ('conversions', 9, 2)) e (name, most, odd),
             lateral (select (e.most * (1 + (d * d * e.odd) % 7) / 7)::bigint as n) n
         where d % 7 not in (3, 4) or e.name = 'serp' and d % 7 = 3",
        "insert into views.usage (account_id, hour, caller_id, key_id, endpoint, uses, charges, quantity, charged,
             released_requested, released_queued, released_error, released_client_gone, released_expired,
             released_account_closed)
         select account_id, date_trunc('day', now(), 'UTC') - d * interval '1 day', key_id, key_id, 'serp', n, n, n,
             n * 500000, 0, 0, 0, 0, 0, 0
         from (select *, row_number() over (order by key_id) as k from views.key_list) keys, generate_series(1, 29) d,
             lateral (select (40 / k * (1 + (d * d * k) % 7) / 7)::bigint as n) n
         where d % 7 not in (3, 4) and k < 5 and n > 0",
        "insert into views.key_networks (account_id, key_id, network, last_used_at)
         select account_id, key_id, '203.0.' || n || '.0/24', now() from views.key_list, generate_series(1, 6) n
         where name = 'Internal Dashboard'",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    owner.close().await.unwrap();
    account
}

/// Credits that not every use may burn, and a plan.
async fn come_again_and_set_aside(stage: &Stage, account: &str) {
    for (amount, more) in [
        (
            "75",
            json!({"endpoints": ["ai_visibility", "serp"], "expires_at": "2999-06-30T00:00:00Z"}),
        ),
        (
            "500",
            json!({"starts_at": "2998-01-01T00:00:00Z", "reference": "invoice-2997-1"}),
        ),
    ] {
        let mut grant = json!({"amount": amount, "source": "promotion"});
        grant.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        stage.operator.post(&format!("{account}/grants"), grant).await.json(201);
    }
    let plan = json!({"amount": "100", "period": "month", "rollover_cap": "50"});
    stage.operator.post(&format!("{account}/plans"), plan).await.json(201);
}

async fn visit(view: View) {
    let stage = Stage::open().await;
    let account = customer_of_a_month(&stage).await;
    let link = invite(&stage, &account, json!({"name": "Ada"})).await;
    let browser = Browser::open(view).await;
    browser.goto(&format!("http://{}{link}", stage.address)).await;
    browser.click_said("Credits").await;
    browser.reads("Use by day").await;
    browser.find("#lines").await;
    browser.look("credits").await;
    // This month's statement is one click away: the browser keeps the file, and stays on the page.
    assert!(browser.count("#month option").await >= 1);
    browser.click("#statement button").await;
    browser.reads("Use by day").await;
    // The table behind each chart.
    browser.click_said("Credits by day as a table").await;
    browser.click_said("Endpoints as a table").await;
    browser.reads("Days without use are left out").await;
    browser.look("credits-tables").await;
    // A key's own charges, by the link of its name.
    let keys = stage.operator.get(&format!("{account}/keys")).await.json(200);
    let named = |key: &&Value| key["name"] == "Internal Dashboard";
    let key = id_of(keys["items"].as_array().unwrap().iter().find(named).unwrap());
    browser.click("#lines a[href*='key=']").await;
    browser.find("#all").await;
    browser
        .goto(&format!("http://{}/portal/credits?key={key}", stage.address))
        .await;
    browser.find("#all").await;
    assert_eq!(browser.count("#lines tbody tr").await, 1);
    let chosen = browser.find("#key").await.prop("value").await.unwrap();
    assert_eq!(chosen.as_deref(), Some(key), "the form says what it shows");
    browser.look("credits-of-a-key").await;
    browser.click_said("API access").await;
    browser.find(".spark").await;
    browser.reads("Used from 6 networks").await;
    browser.look("keys-used").await;
    browser.click_said("Credits").await;
    browser.find("[data-bars]").await;
    if view.scripts {
        arrows_go_from_day_to_day(&browser).await;
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}

async fn arrows_go_from_day_to_day(browser: &Browser) {
    let press = |key: &str| {
        format!(
            "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}}));
             return document.activeElement.querySelector('title').textContent;"
        )
    };
    browser
        .run("document.querySelector('[data-bars] g[tabindex=\"0\"]').focus()")
        .await;
    let seen = browser
        .run("return getComputedStyle(document.activeElement.querySelector('.tip')).visibility")
        .await;
    assert_eq!(seen, "visible", "a bar that has the focus shows its value");
    let mut told = Vec::new();
    for key in ["ArrowLeft", "ArrowRight", "Home", "ArrowLeft", "End"] {
        told.push(browser.run(&press(key)).await);
    }
    assert!(
        told[0] != told[1] && told[2] == told[3] && told[4] == told[1],
        "{told:?}"
    );
    assert_eq!(browser.count("[data-bars] g[tabindex='0']").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credits_page_is_good_on_a_desktop() {
    visit(View::DESKTOP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credits_page_is_good_on_a_phone_at_night() {
    visit(View::PHONE.dark()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credits_page_is_good_without_scripts() {
    visit(View::DESKTOP.dark().without_scripts()).await;
    visit(View::PHONE.without_scripts()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credits_page_of_a_new_customer_helps() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let link = invite(&stage, &account, json!({"name": "Ada"})).await;
    let browser = Browser::open(View::DESKTOP).await;
    browser.goto(&format!("http://{}{link}", stage.address)).await;
    browser.click_said("Credits").await;
    browser.reads("Nothing was charged yet").await;
    browser.look("credits-empty").await;
    browser.close().await;
}
