//! The operators' pages: who gets in, what they see, and that nothing is changed from there.

use http::Method;
use keyledger::config::PagesConfig;
use keyledger::tokens::Role;
use keyledger_events::{Credits, CreditsExpired, Event, GrantId};
use serde_json::{Value, json};

use super::activity::{account_of, read};
use super::browser::{Browser, hidden, invite};
use crate::harness::until;
use crate::http::client::Client;
use crate::http::stage::{Stage, id_of, secret_of};
use crate::projector::appended::append;

/// The path of a link onto the operators' pages.
pub async fn link(client: &Client, body: Value) -> String {
    let made = client.post("/v1/operator-sessions", body).await.json(201);
    let url = made["url"].as_str().unwrap();
    let (_, rest) = url.split_once("/portal/").unwrap();
    format!("/portal/{rest}")
}

/// An operator on the pages.
pub async fn operator(stage: &Stage) -> Browser {
    let mut grace = Browser::new(stage);
    let entered = grace.open(&link(&stage.operator, json!({"name": "Grace"})).await).await;
    assert!(entered.header("set-cookie").starts_with("keyledger-operator="));
    let accounts = grace.follow(&entered).await;
    assert!(accounts.contains("Accounts") && accounts.contains("Grace"));
    grace
}

/// An account's address on the operators' pages.
fn place(account: &str) -> String {
    format!("/portal/operator/accounts/{}", account_of(account))
}

const ALL: [&str; 5] = [
    "operator/accounts",
    "operator/health",
    "operator/prices",
    "operator/webhooks",
    "operator/access",
];

#[tokio::test]
async fn only_an_operator_gets_in_and_only_by_a_link_of_their_own() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    for role in [Role::Metering, Role::Billing, Role::Auditor] {
        let client = stage.client(role).await;
        let refused = client.post("/v1/operator-sessions", json!({})).await;
        assert_eq!(refused.problem(403), "forbidden");
    }
    let bad = stage.operator.post("/v1/operator-sessions", json!({"name": ""})).await;
    assert_eq!(bad.status, 422);
    // A customer is none, and an operator is no customer.
    let ada = Browser::inside(&stage, &account).await;
    let grace = operator(&stage).await;
    let mut swapped = Browser::new(&stage);
    swapped.cookie = ada.cookie.replace("keyledger=", "keyledger-operator=");
    let mut turned = Browser::new(&stage);
    turned.cookie = grace.cookie.replace("keyledger-operator=", "keyledger=");
    let mut paths: Vec<String> = ALL.iter().map(|path| format!("/portal/{path}")).collect();
    paths.extend([place(&account), format!("{}/pages/keys", place(&account))]);
    for path in paths {
        assert_eq!(grace.get(&path).await.status, 200, "{path}");
        for nobody in [&ada, &swapped, &turned, &Browser::new(&stage)] {
            assert_eq!(nobody.get(&path).await.status, 401, "{path}");
        }
    }
    for path in ["/portal/keys", "/portal/activity", "/portal/live"] {
        assert_eq!(turned.get(path).await.status, 401);
        assert_eq!(grace.get(path).await.status, 401);
    }
    let once = link(&stage.operator, json!({})).await;
    let (mut first, mut second) = (Browser::new(&stage), Browser::new(&stage));
    assert_eq!(first.open(&once).await.status, 303);
    assert_eq!(second.open(&once).await.status, 410);
    assert_eq!(first.open(&once).await.status, 303, "the way back in the same browser");
}

#[tokio::test]
async fn a_stay_ends_at_sign_out_and_when_its_token_is_revoked() {
    let stage = Stage::open().await;
    let grace = operator(&stage).await;
    let page = grace.page("/portal/operator/accounts").await;
    let forged = grace.post("/portal/operator/sign-out", &[("token", "x")]).await;
    assert_eq!(forged.status, 403);
    let out = grace
        .post("/portal/operator/sign-out", &[("token", hidden(&page, "token"))])
        .await;
    assert!(out.text.contains("You are signed out") && out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(grace.get("/portal/operator/accounts").await.status, 401);
    let (token, secret) = stage.tokens.create(Role::Operator, "on call").await.unwrap();
    let client = Client::new(stage.address, Some(secret.expose_text_to_its_maker().to_owned()));
    let mut grace = Browser::new(&stage);
    grace.open(&link(&client, json!({})).await).await;
    assert_eq!(grace.get("/portal/operator/accounts").await.status, 200);
    stage.revoke(token).await;
    assert_eq!(grace.get("/portal/operator/accounts").await.status, 401);
}

#[tokio::test]
async fn accounts_are_found_with_their_balance_and_their_grants() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("12.5").await;
    let attack = "<script>alert(1)</script>";
    let body = json!({"name": attack, "external_ref": "\"><img src=x onerror=alert(1)>"});
    let other = stage.operator.post("/v1/accounts", body).await.json(201);
    let grant = json!({"amount": "7", "source": "promotion", "reference": attack});
    let path = format!("/v1/accounts/{}", id_of(&other));
    stage.operator.post(&format!("{path}/grants"), grant).await.json(201);
    let grace = operator(&stage).await;
    until("the list has both accounts", async || {
        let list = read(&grace.page("/portal/operator/accounts").await);
        list.contains("12.5") && list.contains("7 0 0")
    })
    .await;
    let list = grace.page("/portal/operator/accounts").await;
    assert!(!list.contains(attack) && !list.contains("<img src=x"));
    for (search, found) in [
        ("ACM", 1),
        ("%3CScript", 1),
        ("nobody", 0),
        ("acct_", 0),
        ("AC%00M", 1),
        ("%00", 2),
        ("", 2),
    ] {
        let page = grace.page(&format!("/portal/operator/accounts?search={search}")).await;
        assert_eq!(page.matches("class=\"event\"").count(), found, "{search}");
    }
    let id = account_of(&account).to_string();
    let found = grace.page(&format!("/portal/operator/accounts?search={id}")).await;
    assert_eq!(found.matches("class=\"event\"").count(), 1);
    let shown = grace.page(&place(&account)).await;
    let text = read(&shown);
    assert!(
        text.contains("Available 12.5") && text.contains("purchase") && text.contains(&id),
        "{text}"
    );
    let shown = grace.page(&place(&path)).await;
    assert!(!shown.contains(attack) && read(&shown).contains("promotion"));
    let nobody = "/portal/operator/accounts/acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA";
    for path in [nobody, &format!("{nobody}/pages/keys"), "/portal/operator/accounts/x"] {
        assert_eq!(grace.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn an_operator_sees_an_accounts_pages_and_changes_nothing_there() {
    let stage = Stage::open().await;
    let (account, key) = stage.customer("10").await;
    let id = id_of(&key["key"]);
    let ada = Browser::inside(&stage, &account).await;
    let grace = operator(&stage).await;
    let base = format!("{}/pages", place(&account));
    until("the views know the key", async || {
        grace.page(&format!("{base}/keys")).await.contains(id)
    })
    .await;
    let seen = grace.page(&format!("{base}/keys")).await;
    assert!(seen.contains("you see what this customer sees") && seen.contains("Looker Studio"));
    assert!(!seen.contains("Generate new key") && !seen.contains("Sign out"));
    assert!(
        !ada.page("/portal/keys")
            .await
            .contains("you see what this customer sees")
    );
    let activity = grace.page(&format!("{base}/activity")).await;
    assert!(
        activity.contains("you see what this customer sees") && read(&activity).contains("10 credits were granted")
    );
    let event = activity
        .split("class=\"event\" href=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert_eq!(grace.get(&format!("{base}/{event}")).await.status, 200);
    // Whatever is not a question is refused, with a form's token or without, and so are the questions before a change.
    let before = stage.operator.get(&format!("{account}/events")).await;
    let token = hidden(&grace.page("/portal/operator/accounts").await, "token").to_owned();
    let customers = hidden(&ada.page("/portal/keys").await, "token").to_owned();
    for token in [token.as_str(), customers.as_str()] {
        for path in [
            "keys",
            &format!("keys/{id}/rename"),
            &format!("keys/{id}/delete"),
            "sign-out",
        ] {
            let fields = [("token", token), ("name", "Mine"), ("environment", "live")];
            let refused = grace.post(&format!("{base}/{path}"), &fields).await;
            assert_eq!(refused.status, 403, "{path}");
            assert!(refused.text.contains("You may look, but not change anything"));
        }
    }
    for path in ["keys/new", &format!("keys/{id}/rename"), &format!("keys/{id}/delete")] {
        assert_eq!(grace.get(&format!("{base}/{path}")).await.status, 403, "{path}");
    }
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let asked = stage
            .stranger()
            .send(method, &format!("{base}/keys"), &[("cookie", &grace.cookie)], "")
            .await;
        assert_eq!(asked.status, 403);
    }
    let after = stage.operator.get(&format!("{account}/events")).await;
    assert_eq!(before.text, after.text);
    // Another account's event is not this account's, for an operator too.
    let (other, _) = stage.customer("10").await;
    let theirs = stage.operator.get(&format!("{other}/events")).await.json(200);
    let position = &theirs["items"][0]["position"];
    assert_eq!(grace.get(&format!("{base}/activity/{position}")).await.status, 404);
}

#[tokio::test]
async fn nobody_frames_what_operators_see_wherever_customers_pages_may_stand() {
    let framed = PagesConfig {
        frame_ancestors: vec!["https://a.example".to_owned()],
        ..PagesConfig::default()
    };
    let stage = Stage::with_pages(framed).await;
    let (account, _) = stage.customer("10").await;
    let ada = Browser::inside(&stage, &account).await;
    let grace = operator(&stage).await;
    let seen = format!("{}/pages/keys", place(&account));
    for (browser, path, policy) in [
        (&ada, "/portal/keys", "frame-ancestors https://a.example"),
        (&grace, "/portal/operator/accounts", "frame-ancestors 'none'"),
        (&grace, &seen, "frame-ancestors 'none'"),
        (&grace, "/portal/operator/nothing", "frame-ancestors 'none'"),
    ] {
        let page = browser.get(path).await;
        assert!(page.header("content-security-policy").contains(policy), "{path}");
    }
}

#[tokio::test]
async fn access_says_who_was_let_in_and_what_was_published_for_everybody() {
    let stage = Stage::open().await;
    let grace = operator(&stage).await;
    let asked = json!({"role": "billing", "name": "<b>Nightly run"});
    let made = stage.operator.post("/v1/tokens", asked).await.json(201);
    let token = format!("/v1/tokens/{}", id_of(&made["token"]));
    stage.operator.delete(&token).await.json(200);
    let book = json!({"prices": [{"endpoint": "serp", "match": "GET /serp", "price": "1"}]});
    stage.operator.put("/v1/prices", book).await.json(200);
    let page = grace.page("/portal/operator/access").await;
    assert!(!page.contains("<b>Nightly"));
    let text = read(&page);
    let by = stage.operator_token.0;
    for told in [
        format!("{by} let Grace onto the operators"),
        format!("{by} made the access token"),
        "Nightly run with the role billing".to_owned(),
        format!("{by} revoked the access token"),
        format!("{by} published prices"),
    ] {
        assert!(text.contains(&told), "{told} is not in {text}");
    }
    let older = grace.page("/portal/operator/access?before=2").await;
    assert!(older.contains("onto the operators") && !older.contains("Nightly"));
    assert_eq!(grace.get("/portal/operator/access?before=x").await.status, 404);
}

#[tokio::test]
async fn health_says_how_far_everything_is_and_what_has_halted() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let grace = operator(&stage).await;
    until("all views are level", async || {
        let text = read(&grace.page("/portal/operator/health").await);
        text.matches(" level").count() == 6
    })
    .await;
    let text = read(&grace.page("/portal/operator/health").await);
    for part in [
        "Shard 0",
        // Three of the customer, and one of the operator's link.
        "position 4",
        "key_list 4 0",
        "balance 4 0",
        "? ?",
        "The bus cannot be asked",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    // What is left of a grant that there never was: no fold can make sense of it, and the projection stops there.
    let expired = CreditsExpired {
        grant: GrantId::from_parts(1, 1),
        amount: "1".parse().unwrap(),
        repays: Credits::ZERO,
    };
    append(&stage.harness, account_of(&account), vec![Event::from(expired)]).await;
    until("the balance's projection has halted", async || {
        let text = read(&grace.page("/portal/operator/health").await);
        text.contains("event 5 cannot be folded") && text.contains("needs attention")
    })
    .await;
    stage.harness.close_database().await;
    let away = grace.get("/portal/operator/health").await;
    assert_eq!(away.status, 503);
}

#[tokio::test]
async fn prices_are_those_in_force() {
    let stage = Stage::open().await;
    let grace = operator(&stage).await;
    let text = read(&grace.page("/portal/operator/prices").await);
    for part in [
        "ai_visibility",
        "JSON /conversations",
        "a key pays once a day",
        "more than was held for is charged too",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("you see what this customer sees"));
    let ada = Browser::inside(&stage, &stage.account().await).await;
    let link = invite(&stage, &stage.account().await, json!({})).await;
    assert_eq!(Browser::new(&stage).open(&link).await.status, 303);
    assert_eq!(ada.get("/portal/operator").await.status, 303);
    assert_eq!(ada.get("/portal/operator/prices").await.status, 401);
}

#[tokio::test]
async fn an_account_that_is_closed_and_what_was_set_aside_in_it_are_told_of() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("12.5").await;
    for more in [
        json!({"endpoints": ["serp"]}),
        json!({"starts_at": "2999-01-01T00:00:00Z"}),
    ] {
        let mut grant = json!({"amount": "3", "source": "promotion"});
        grant.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        stage.operator.post(&format!("{account}/grants"), grant).await.json(201);
    }
    let correction = json!({"amount": "-2.5", "reason": "Granted twice"});
    stage
        .operator
        .post(&format!("{account}/corrections"), correction)
        .await
        .json(201);
    let reason = json!({"reason": "Contract ended"});
    let closed = stage.operator.post(&format!("{account}/close"), reason).await;
    let read_own = format!("{account}?after={}", closed.position());
    stage.operator.get(&read_own).await.json(200);
    let grace = operator(&stage).await;
    let list = read(&grace.page("/portal/operator/accounts").await);
    assert!(list.contains("Acme closed"), "{list}");
    let page = read(&grace.page(&place(&account)).await);
    for told in [
        "Available 10 For some endpoints 3 For later 3",
        "Corrected −2.5",
        "only serp",
        "from 1 Jan 2999",
        "closed",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
}

#[tokio::test]
async fn what_is_planned_watched_for_and_left_of_an_account_is_told() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let head = stage.harness.log().head().await.unwrap().position;
    let known = stage.operator.get(&format!("{account}/balance?after=0:{head}")).await;
    known.json(200);
    let grace = operator(&stage).await;
    let before = read(&grace.page(&place(&account)).await);
    for told in ["no balance is watched for", "No credits come by themselves."] {
        assert!(before.contains(told), "{told}: {before}");
    }
    let plan = |amount: &str, cap: &str| json!({"amount": amount, "period": "month", "rollover_cap": cap});
    let plans = format!("{account}/plans");
    let first = stage.operator.post(&plans, plan("5", "0")).await.json(201);
    stage.operator.post(&plans, plan("100", "50")).await.json(201);
    let ended = stage.operator.delete(&format!("{plans}/{}", id_of(&first))).await;
    ended.json(200);
    let thresholds = json!({"thresholds": ["2.5", "50"]});
    stage
        .operator
        .put(&format!("{account}/thresholds"), thresholds)
        .await
        .json(200);
    let charge = json!({"account": account.rsplit('/').next().unwrap(), "endpoint": "serp", "quantity": 3});
    let charged = stage.operator.post("/v1/charges", charge).await;
    let after = charged.position().to_owned();
    charged.json(201);
    stage
        .operator
        .get(&format!("{account}/balance?after={after}"))
        .await
        .json(200);
    let page = read(&grace.page(&place(&account)).await);
    for told in [
        "Told of when it comes down to 50 , 2.5 .",
        "100 credits every month up to 50 of what is left go on into the next month",
        "5 credits every month ended what is left at the end of a month expires",
        id_of(&first),
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
    // Of the three grants the plans' end first, and so are spent first: amount, left, held, spent, expired, priority.
    let spent = ["5 3.5 0 1.5 0 0", "100 98.5 0 1.5 0 0"];
    assert!(spent.iter().any(|row| page.contains(row)), "{page}");
    assert!(!page.contains(secret_of(&made)));
}
