//! The account as it was, on its page.

use keyledger::clock;
use serde_json::json;

use super::activity::{account_of, read, request};
use super::browser::Browser;
use crate::http::stage::{Stage, id_of, secret_of};

/// What stands in the element with this id.
fn told(page: &str, id: &str) -> String {
    let start = format!("id=\"{id}\">");
    let at = page.find(&start).unwrap_or_else(|| panic!("no {id} in {page}")) + start.len();
    page[at..].split('<').next().unwrap().to_owned()
}

/// The moment as the field takes it, after whatever has happened in this second.
async fn a_second_later() -> String {
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let at = clock::now().to_string().chars().take(19).collect();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    at
}

#[tokio::test]
async fn balance_keys_and_charts_are_those_of_the_moment() {
    let stage = Stage::open().await;
    let (account, key) = stage.customer("100").await;
    let ada = Browser::inside(&stage, &account).await;
    for _ in 0..2 {
        request(&stage, &account, secret_of(&key), "203.0.113.0/24", true).await;
    }
    let then = a_second_later().await;
    for _ in 0..3 {
        request(&stage, &account, secret_of(&key), "203.0.113.0/24", true).await;
    }
    let gone = format!("{account}/keys/{}", id_of(&key["key"]));
    let deleted = stage.operator.delete(&gone).await;
    let second = stage
        .operator
        .post(&format!("{account}/keys"), json!({"name": "Second"}))
        .await;
    assert_eq!((deleted.status.as_u16(), second.status.as_u16()), (200, 201));
    stage
        .operator
        .get(&format!("{account}/usage?from=2026-01-01&after={}", second.position()))
        .await;

    let page = ada.page(&format!("/portal/then?at={then}")).await;
    assert_eq!(
        (told(&page, "then-available"), told(&page, "then-charged")),
        ("99".to_owned(), "1".to_owned())
    );
    let text = read(&page);
    assert!(
        text.contains("Active") && !text.contains("Deleted") && !text.contains("Second"),
        "{text}"
    );
    let chart = |page: &str| read(page).split("Use by day").nth(1).unwrap().to_owned();
    assert!(
        chart(&page).contains("serp") && chart(&page).contains(" 1 "),
        "{}",
        chart(&page)
    );

    let now = ada.page("/portal/then").await;
    assert_eq!(
        (told(&now, "then-available"), told(&now, "then-charged")),
        ("97.5".to_owned(), "2.5".to_owned())
    );
    let text = read(&now);
    assert!(text.contains("Deleted since") && text.contains("Second"), "{text}");
    assert!(chart(&now).contains("2.5"), "{}", chart(&now));

    // The slider's ends are the opening and now.
    assert_eq!(
        told(&ada.page("/portal/then?part=1000").await, "then-available"),
        "97.5"
    );
    assert_eq!(told(&ada.page("/portal/then?part=0").await, "then-granted"), "0");
}

#[tokio::test]
async fn each_event_is_a_step_to_look_at() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("100").await;
    let ada = Browser::inside(&stage, &account).await;
    let events = stage.operator.get(&format!("{account}/events")).await.json(200);
    let mut granted = Vec::new();
    for event in events["items"].as_array().unwrap() {
        let page = ada.page(&format!("/portal/then?position={}", event["position"])).await;
        granted.push(told(&page, "then-granted"));
        assert!(page.contains(&format!("/{}\" id=\"last-event\"", event["position"])));
    }
    assert_eq!(granted.first().unwrap(), "0");
    assert_eq!(granted.last().unwrap(), "100");
    let event = ada
        .page(&format!("/portal/activity/{}", events["items"][0]["position"]))
        .await;
    assert!(event.contains("id=\"as-it-was\""));
}

#[tokio::test]
async fn what_is_no_moment_is_told_and_what_was_before_is_nothing() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("100").await;
    let ada = Browser::inside(&stage, &account).await;
    let wrong = ada.get("/portal/then?at=yesterday").await;
    assert!(wrong.status == 422 && wrong.text.contains("at-wrong"));
    for nothing in ["at=2020-01-01T00:00", "position=x", "part=-1"] {
        assert_eq!(
            ada.get(&format!("/portal/then?{nothing}")).await.status,
            404,
            "{nothing}"
        );
    }
    assert_eq!(Browser::new(&stage).get("/portal/then").await.status, 401);
    let _ = account_of(&account);
}
