//! What the pages say of credits that come again.

use serde_json::json;

use super::activity::read;
use super::browser::Browser;
use crate::http::stage::{Stage, id_of};

#[tokio::test]
async fn a_plan_stands_beside_the_credits_that_it_gave_until_it_ends() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let path = format!("{account}/plans");
    let body = json!({"amount": "100", "period": "month", "rollover_cap": "50"});
    let started = stage.operator.post(&path, body).await;
    let position = started.position().to_owned();
    let started = started.json(201);
    let ada = Browser::inside(&stage, &account).await;
    let page = read(&ada.page(&format!("/portal/credits?after={position}")).await);
    assert!(page.contains("100 credits every month , next on"), "{page}");
    assert!(
        page.contains("up to 50 of what is left go on into the next month"),
        "{page}"
    );
    assert!(page.contains("100 of 100 left"), "{page}");
    let ended = stage.operator.delete(&format!("{path}/{}", id_of(&started))).await;
    let page = read(&ada.page(&format!("/portal/credits?after={}", ended.position())).await);
    assert!(
        !page.contains("every month") && page.contains("100 of 100 left"),
        "{page}"
    );
    let activity = read(&ada.page("/portal/activity").await);
    for sentence in [
        "Keyledger started a plan: 100 credits every month",
        "100 credits were granted as part of the plan, good until",
        "Keyledger ended a plan",
    ] {
        assert!(activity.contains(sentence), "{sentence}: {activity}");
    }
}
