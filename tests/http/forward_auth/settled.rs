//! What a proxy tells after the answer, and what becomes of its hold.

use futures_util::future::join_all;
use keyledger_events::Event;
use serde_json::json;

use super::behind::Behind;
use crate::ledger::writers::whole_log;

const STATUS: (&str, &str) = ("x-keyledger-upstream-status", "200");
const FIVE: [(&str, &str); 2] = [STATUS, ("x-keyledger-quantity", "5")];

/// What was charged in the log, in its order: units and credits.
async fn charges(behind: &Behind) -> Vec<(u64, String)> {
    let log = whole_log(&behind.stage.harness.log()).await;
    let charge = |event| {
        if let Event::CreditsCharged(charged) = event {
            Some((charged.quantity, charged.charged.to_string()))
        } else {
            None
        }
    };
    log.into_iter().filter_map(|recorded| charge(recorded.event)).collect()
}

#[tokio::test]
async fn forward_auth_is_settled_by_the_gateways_table() {
    let behind = Behind::proxy("10").await;
    for (status, delivered, outcome) in [
        ("200", "whole", "charged"),
        ("203", "whole", "charged"),
        ("206", "whole", "charged"),
        ("202", "whole", "queued"),
        ("204", "whole", "error"),
        ("304", "whole", "error"),
        ("404", "whole", "error"),
        ("502", "whole", "error"),
        ("200", "client-gone", "client-gone"),
        ("200", "broken", "error"),
    ] {
        let asked = behind.ask("GET", "/serp").await;
        let told = [
            ("x-keyledger-upstream-status", status),
            ("x-keyledger-delivered", delivered),
        ];
        let settled = behind.settle(&asked, &told).await;
        assert_eq!(settled.json(200)["outcome"], outcome, "{status} {delivered}");
        // A lost answer is asked for again, and nothing happens twice.
        let again = behind.settle(&asked, &told).await.json(200);
        assert_eq!(again["outcome"], outcome);
    }
    let balance = behind.balance().await;
    assert_eq!(
        (&balance["charged"], &balance["reserved"]),
        (&"1.5".into(), &"0".into())
    );
}

#[tokio::test]
async fn forward_auth_is_told_how_many_units_were_delivered() {
    let behind = Behind::proxy("100").await;
    let plain = behind.ask("GET", "/serp").await;
    assert_eq!(plain.header("x-keyledger-quantity"), "1");
    let asked = behind.ask("GET", "/ai_visibility").await;
    assert_eq!(
        (asked.header("credits-held"), asked.header("x-keyledger-quantity")),
        ("25", "0")
    );
    let status = ("x-keyledger-upstream-status", "200");
    let settled = behind.settle(&asked, &[status, ("x-keyledger-quantity", "3")]).await;
    assert_eq!(settled.json(200)["charged"], "1.5");
    // More than was held for is charged as what was held for, where the price says nothing else.
    let asked = behind.ask("GET", "/ai_visibility").await;
    for _ in 0..2 {
        let settled = behind.settle(&asked, &[status, ("x-keyledger-quantity", "60")]).await;
        let settled = settled.json(200);
        assert_eq!((&settled["charged"], &settled["shortfall"]), (&"25".into(), &10.into()));
        assert!(settled.get("top_up").is_none());
    }
    let otherwise = behind.settle(&asked, &[("x-keyledger-upstream-status", "500")]).await;
    assert_eq!(otherwise.problem(409), "reservation-closed");
    for wrong in [
        &[][..],
        &[("x-keyledger-upstream-status", "20")],
        &[status, ("x-keyledger-quantity", "-1")],
        &[status, ("x-keyledger-delivered", "half")],
    ] {
        assert_eq!(behind.settle(&plain, wrong).await.problem(400), "bad-request");
    }
}

#[tokio::test]
async fn forward_auth_at_once_is_charged_when_it_is_held() {
    let behind = Behind::proxy("10").await;
    let answer = behind.ask("GET", "/conversions").await;
    assert_eq!(
        (answer.header("credits-charged"), answer.header("credits-remaining")),
        ("0.5", "9.5")
    );
    let balance = behind.balance().await;
    assert_eq!(
        (&balance["charged"], &balance["reserved"]),
        (&"0.5".into(), &"0".into())
    );
    // Settling what is settled changes nothing.
    let again = behind.settle(&answer, &[("x-keyledger-upstream-status", "200")]).await;
    assert_eq!(again.json(200)["charged"], "0.5");
}

#[tokio::test]
async fn forward_auth_gives_a_result_that_was_paid() {
    let behind = Behind::proxy("0.5").await;
    let status = ("x-keyledger-upstream-status", "200");
    let first = behind.ask("GET", "/result?as=csv").await;
    assert_eq!(behind.settle(&first, &[status]).await.json(200)["charged"], "0.5");
    let second = behind.ask("GET", "/result").await;
    assert_eq!((second.status.as_u16(), second.header("credits-held")), (200, "0"));
    for _ in 0..2 {
        let given = behind.settle(&second, &[status]).await.json(200);
        assert_eq!(
            (&given["outcome"], &given["charged"]),
            (&"requested".into(), &"0".into())
        );
    }
    assert_eq!(behind.balance().await["charged"], "0.5");
}

#[tokio::test]
async fn forward_auth_tops_up_from_the_balance_what_came_beyond_a_hold() {
    let behind = Behind::proxy("100").await;
    let asked = behind.ask("GET", "/topped").await;
    assert_eq!(asked.header("credits-held"), "1");
    let told = behind.settle(&asked, &FIVE).await;
    let after = told.position().to_owned();
    let settled = told.json(200);
    assert_eq!(
        (&settled["charged"], &settled["returned"], &settled["available"]),
        (&"1".into(), &"0".into(), &"97.5".into())
    );
    assert_eq!(
        (&settled["top_up"]["quantity"], &settled["top_up"]["charged"]),
        (&3.into(), &"1.5".into())
    );
    assert_eq!(settled["shortfall"], 0);
    assert_eq!(charges(&behind).await, [(2, "1".to_owned()), (3, "1.5".to_owned())]);
    let balance = behind.balance().await;
    assert_eq!(
        (&balance["charged"], &balance["reserved"]),
        (&"2.5".into(), &"0".into())
    );
    // A top-up is a billing line like any other.
    let lines = behind
        .stage
        .operator
        .get(&format!("{}/charges?after={after}", behind.account))
        .await
        .json(200);
    assert_eq!(lines["items"][0]["id"], settled["top_up"]["id"]);
    assert_eq!(lines["items"][0]["key"], behind.key.as_str());
}

#[tokio::test]
async fn what_becomes_of_more_is_said_by_the_book_of_the_hold() {
    let behind = Behind::proxy("100").await;
    let priced = |when_more: &str| {
        let price = json!({
            "endpoint": "topped", "match": "GET /topped", "price": "0.5", "quantity": {"header": "x-count"},
            "quantity_max": 2, "when_more": when_more,
        });
        json!({ "prices": [price] })
    };
    let operator = &behind.stage.operator;
    let of_file = behind.ask("GET", "/topped").await;
    operator.put("/v1/prices", priced("shortfall")).await.json(200);
    let of_first = behind.ask("GET", "/topped").await;
    operator.put("/v1/prices", priced("top-up")).await.json(200);
    for (asked, charged, shortfall) in [(of_file, json!("1.5"), 0), (of_first, json!(null), 3)] {
        let settled = behind.settle(&asked, &FIVE).await.json(200);
        assert_eq!(
            (&settled["top_up"]["charged"], &settled["shortfall"]),
            (&charged, &shortfall.into())
        );
    }
}

/// The race: eight calls at once, each of which finds the hold open when it comes. Two commands instead of one let two of
/// them charge the rest.
#[tokio::test(flavor = "multi_thread")]
async fn forward_auth_tops_up_once_however_often_and_at_once_it_is_told() {
    let behind = Behind::proxy("100").await;
    let asked = behind.ask("GET", "/topped").await;
    let first = join_all((0..8).map(|_| behind.settle(&asked, &FIVE))).await;
    let again = [behind.settle(&asked, &FIVE).await];
    for answer in first.iter().chain(&again) {
        let settled = answer.json(200);
        assert_eq!(
            (&settled["charged"], &settled["top_up"]["charged"]),
            (&"1".into(), &"1.5".into())
        );
    }
    assert_eq!(charges(&behind).await.len(), 2);
    // Told otherwise, it is refused.
    for other in ["0", "2", "4", "6", "18446744073709551615"] {
        let otherwise = behind.settle(&asked, &[STATUS, ("x-keyledger-quantity", other)]).await;
        assert_eq!(otherwise.problem(409), "reservation-closed", "{other}");
    }
    assert_eq!(behind.balance().await["charged"], "2.5");
}

#[tokio::test]
async fn forward_auth_charges_what_was_held_when_the_balance_lacks_the_rest() {
    let behind = Behind::proxy("2").await;
    let asked = behind.ask("GET", "/topped").await;
    let huge = behind.ask("GET", "/topped").await;
    for _ in 0..2 {
        let settled = behind.settle(&asked, &FIVE).await.json(200);
        assert_eq!((&settled["charged"], &settled["shortfall"]), (&"1".into(), &3.into()));
        // A shortfall stays one, even when there are credits again.
        let grant = json!({"amount": "100", "source": "purchase"});
        let grants = format!("{}/grants", behind.account);
        behind.stage.operator.post(&grants, grant).await.json(201);
    }
    let beyond_measure = [STATUS, ("x-keyledger-quantity", "18446744073709551615")];
    assert_eq!(behind.settle(&huge, &beyond_measure).await.json(200)["charged"], "1");
    assert_eq!(charges(&behind).await, [(2, "1".to_owned()), (2, "1".to_owned())]);
}
