//! Price books that are published: what they say, and from when on.

use std::time::Duration;

use http::Method;
use keyledger::clock;
use keyledger::tokens::Role;
use keyledger_events::{Event, Timestamp};
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::stage::{Stage, id_of, secret_of};
use crate::harness::until;
use crate::ledger::priced::prices_are_those_that_held;
use crate::ledger::writers::whole_log;

/// A book with one price for everything that is charged here.
pub fn book(price: &str) -> Value {
    json!({"prices": [{"endpoint": "serp", "match": "GET /serp", "price": price}]})
}

fn from(moment: Timestamp, price: &str) -> Value {
    let mut book = book(price);
    book["valid_from"] = json!(moment.to_string());
    book
}

async fn charge(client: &Client, account: &str) -> Answer {
    let id = account.rsplit('/').next().unwrap();
    let body = json!({"account": id, "endpoint": "serp"});
    client.post("/v1/charges", body).await
}

/// What a charge costs now, and by which version.
async fn cost(stage: &Stage, account: &str) -> (String, u64) {
    let charged = charge(&stage.operator, account).await;
    let lines = format!("{account}/charges?limit=1&after={}", charged.position());
    let line = stage.operator.get(&lines).await.json(200)["items"][0].clone();
    assert_eq!(line["id"], charged.json(201)["id"]);
    (
        line["unit_price"].as_str().unwrap().to_owned(),
        line["price_version"].as_u64().unwrap(),
    )
}

#[tokio::test]
async fn a_published_book_takes_the_place_of_the_config_file() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("100").await;
    let before = stage.operator.get("/v1/prices").await.json(200);
    assert_eq!((&before["version"], &before["valid_from"]), (&json!(0), &Value::Null));
    assert_eq!(before["items"][0]["match"], "GET /serp");
    assert_eq!(cost(&stage, &account).await, ("0.5".to_owned(), 0));

    let whole = json!({"prices": [
        {"endpoint": "serp", "match": "GET /serp", "price": "0.75"},
        {"endpoint": "ai_visibility", "match": "GET /ai/{*rest}", "price": "2", "unit": "conversation",
         "quantity": {"json": "/conversations"}, "quantity_max": 50, "when_more": "top-up", "once_per": "path",
         "rate_per_second": 10, "rate_burst": 20, "settle": "later"},
        {"endpoint": "rows", "match": "ANY /rows", "price": "0.000001", "quantity": {"header": "X-Count"}, "quantity_max": 9},
    ]});
    let published = stage.operator.put("/v1/prices", whole).await;
    let told = published.json(200);
    assert_eq!(told["version"], 1);
    let told_now = stage.operator.get("/v1/prices").await.json(200);
    assert_eq!((&told_now["items"], &told_now["next"]), (&told["items"], &Value::Null));
    let counted = &told["items"][1];
    assert_eq!(
        (&counted["match"], &counted["quantity"], &counted["quantity_max"]),
        (
            &json!("GET /ai/{*rest}"),
            &json!({"json": "/conversations"}),
            &json!(50)
        )
    );
    assert_eq!(cost(&stage, &account).await, ("0.75".to_owned(), 1));
    // What is not in it has no price any more.
    let id = account.rsplit('/').next().unwrap();
    let gone = json!({"account": id, "endpoint": "echo"});
    assert_eq!(
        stage.operator.post("/v1/charges", gone).await.problem(404),
        "unknown-endpoint"
    );
    // The log has it whole, by whom it was published.
    let log = whole_log(&stage.harness.log()).await;
    let event = log
        .iter()
        .find(|recorded| matches!(recorded.event, Event::PricesPublished(_)))
        .unwrap();
    assert_eq!(event.actor.to_string(), stage.operator_token.0.to_string());
    prices_are_those_that_held(&log);
}

#[tokio::test]
async fn books_are_published_by_billing_and_operators_and_read_by_auditors() {
    let stage = Stage::open().await;
    for (role, status) in [
        (Role::Billing, 200),
        (Role::Operator, 200),
        (Role::Metering, 403),
        (Role::Auditor, 403),
    ] {
        let answer = stage.client(role).await.put("/v1/prices", book("1")).await;
        assert_eq!(answer.status, status, "{role:?}");
    }
    let auditor = stage.client(Role::Auditor).await;
    assert_eq!(auditor.get("/v1/prices").await.json(200)["version"], 2);
}

#[tokio::test]
async fn a_book_holds_from_its_moment_on_and_what_is_held_keeps_its_price() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("100").await;
    let reserve = json!({"secret": secret_of(&made), "endpoint": "serp", "quantity": 4});
    let early = stage.operator.post("/v1/reservations", reserve.clone()).await.json(201);
    let moment = clock::now().plus_seconds(2);
    let published = stage.operator.put("/v1/prices", from(moment, "3")).await.json(200);
    assert_eq!(published["valid_from"], json!(moment.to_string()));
    let shown = stage.operator.get("/v1/prices").await.json(200);
    assert_eq!((&shown["version"], &shown["next"]["version"]), (&json!(0), &json!(1)));
    assert_eq!(shown["next"]["items"][0]["price"], "3");
    assert_eq!(cost(&stage, &account).await, ("0.5".to_owned(), 0));
    until("the book holds", async || {
        cost(&stage, &account).await == ("3".to_owned(), 1)
    })
    .await;
    assert!(clock::now() >= moment);
    let shown = stage.operator.get("/v1/prices").await.json(200);
    assert_eq!((&shown["version"], &shown["next"]), (&json!(1), &Value::Null));
    // The hold is of before: a part of it is charged at its own price, by its own version.
    let settle = format!("{account}/reservations/{}/charge", id_of(&early));
    let settled = stage.operator.post(&settle, json!({"quantity": 3})).await;
    assert_eq!(settled.json(200)["charged"], "1.5");
    let late = stage.operator.post("/v1/reservations", reserve).await.json(201);
    assert_eq!(late["unit_price"], "3");
    prices_are_those_that_held(&whole_log(&stage.harness.log()).await);
}

#[tokio::test]
async fn a_later_publication_takes_the_place_of_what_was_to_come() {
    let stage = Stage::open().await;
    let at = |seconds| clock::now().plus_seconds(seconds);
    let moments = [at(3_000), at(2_000), at(5_000)];
    for (moment, price) in moments.iter().zip(["1", "2", "3"]) {
        stage.operator.put("/v1/prices", from(*moment, price)).await.json(200);
    }
    let next = stage.operator.get("/v1/prices").await.json(200)["next"].clone();
    assert_eq!((&next["version"], &next["items"][0]["price"]), (&json!(2), &json!("2")));
    // Ten may be to come, and one that is published for now ends them all.
    for n in 0..8 {
        stage
            .operator
            .put("/v1/prices", from(at(6_000 + n * 10), "4"))
            .await
            .json(200);
    }
    let one_more = stage.operator.put("/v1/prices", from(at(9_000), "4")).await;
    assert_eq!(one_more.problem(409), "too-many-books");
    stage.operator.put("/v1/prices", book("9")).await.json(200);
    let shown = stage.operator.get("/v1/prices").await.json(200);
    assert_eq!((&shown["version"], &shown["next"]), (&json!(12), &Value::Null));
}

#[tokio::test]
async fn versions_are_listed_and_shown_one_by_one() {
    let stage = Stage::open().await;
    for price in ["1", "2", "3"] {
        stage.operator.put("/v1/prices", book(price)).await.json(200);
    }
    let first = stage.operator.get("/v1/prices/versions?limit=2").await.json(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = stage
        .operator
        .get(&format!("/v1/prices/versions?limit=2&cursor={cursor}"))
        .await
        .json(200);
    let version = |row: &Value| {
        (
            row["version"].clone(),
            row["prices"].clone(),
            row["published_by"].clone(),
        )
    };
    let token = json!(stage.operator_token.0.to_string());
    let rows: Vec<_> = [&first, &second]
        .iter()
        .flat_map(|page| page["items"].as_array().unwrap())
        .map(version)
        .collect();
    let expected: Vec<_> = (1..=3).map(|n| (json!(n), json!(1), token.clone())).collect();
    assert_eq!((rows, &second["next_cursor"]), (expected, &Value::Null));
    let shown = stage.operator.get("/v1/prices/versions/2").await.json(200);
    assert_eq!(
        (&shown["version"], &shown["items"][0]["price"]),
        (&json!(2), &json!("2"))
    );
    for none in ["0", "4", "x", "-1", "99999999999999999999"] {
        let path = format!("/v1/prices/versions/{none}");
        assert_eq!(stage.operator.get(&path).await.problem(404), "unknown-prices", "{none}");
    }
}

#[tokio::test]
async fn a_repeated_publication_is_the_same_book() {
    let stage = Stage::open().await;
    let key = [("idempotency-key", "june"), ("content-type", "application/json")];
    let put = async |body: Value| {
        stage
            .operator
            .send(Method::PUT, "/v1/prices", &key, body.to_string())
            .await
    };
    let first = put(book("2")).await;
    assert_eq!(first.header("idempotent-replayed"), "");
    stage.operator.put("/v1/prices", book("3")).await.json(200);
    let again = put(book("2")).await;
    assert_eq!(
        (first.json(200), again.header("idempotent-replayed")),
        (again.json(200), "true")
    );
    assert_eq!(put(book("4")).await.problem(422), "idempotency-mismatch");
    assert_eq!(stage.operator.get("/v1/prices").await.json(200)["version"], 2);
}

#[tokio::test]
async fn the_same_request_has_the_same_answer_under_other_prices() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let id = clock::fresh_reservation_id().to_string();
    let reserve = json!({"secret": secret_of(&made), "endpoint": "serp", "id": id});
    let first = stage.operator.post("/v1/reservations", reserve.clone()).await.json(201);
    let charged = json!({
        "account": account.rsplit('/').next().unwrap(), "endpoint": "serp", "id": clock::fresh_reservation_id().to_string(),
    });
    let at_once = stage.operator.post("/v1/charges", charged.clone()).await.json(201);
    stage.operator.put("/v1/prices", book("3")).await.json(200);
    let again = stage.operator.post("/v1/reservations", reserve).await.json(201);
    assert_eq!(
        (&again["unit_price"], &again["amount"], &again["expires_at"]),
        (&first["unit_price"], &first["amount"], &first["expires_at"])
    );
    let again = stage.operator.post("/v1/charges", charged).await.json(201);
    assert_eq!(again, at_once);
}

#[tokio::test]
async fn what_was_written_keeps_its_answer_when_its_endpoint_has_left_the_book() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let fresh = || clock::fresh_reservation_id().to_string();
    let reserve = json!({"secret": secret_of(&made), "endpoint": "serp", "id": fresh()});
    let charge = json!({"account": account.rsplit('/').next().unwrap(), "endpoint": "serp", "id": fresh()});
    let held = stage.operator.post("/v1/reservations", reserve.clone()).await.json(201);
    let charged = stage.operator.post("/v1/charges", charge.clone()).await.json(201);
    let other = json!({"prices": [{"endpoint": "other", "match": "GET /other", "price": "1"}]});
    stage.operator.put("/v1/prices", other).await.json(200);
    let again = stage.operator.post("/v1/reservations", reserve.clone()).await.json(201);
    assert_eq!(
        (&again["amount"], &again["expires_at"]),
        (&held["amount"], &held["expires_at"])
    );
    assert_eq!(
        stage.operator.post("/v1/charges", charge.clone()).await.json(201),
        charged
    );
    let ndjson = [("content-type", "application/x-ndjson")];
    let lines = format!(
        "{}\n{}\n",
        json!({"reserve": reserve}),
        json!({"charge_at_once": charge})
    );
    let answer = stage.operator.send(Method::POST, "/v1/batch", &ndjson, lines).await;
    for line in answer.text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&line["status"], &line["replayed"]),
            (&json!(201), &json!(true)),
            "{line}"
        );
    }
    // What is new has no price.
    for (path, mut body) in [("/v1/reservations", reserve), ("/v1/charges", charge)] {
        body["id"] = json!(fresh());
        assert_eq!(stage.operator.post(path, body).await.problem(404), "unknown-endpoint");
    }
}

#[tokio::test]
async fn a_price_that_went_down_lets_in_who_was_too_poor_before() {
    let stage = Stage::open().await;
    stage.operator.put("/v1/prices", book("8")).await.json(200);
    let (account, _) = stage.customer("1").await;
    assert_eq!(
        charge(&stage.operator, &account).await.problem(402),
        "insufficient-credits"
    );
    stage.operator.put("/v1/prices", book("0.25")).await.json(200);
    assert_eq!(cost(&stage, &account).await, ("0.25".to_owned(), 2));
}

#[tokio::test]
async fn the_systems_own_history_is_nobodys_account() {
    let stage = Stage::open().await;
    stage.operator.put("/v1/prices", book("1")).await.json(200);
    let system = "/v1/accounts/acct_00000000000000000000000000";
    let name = json!({"name": "Mine"});
    for made in [
        stage.operator.post(&format!("{system}/keys"), name.clone()).await,
        stage.operator.patch(system, name).await,
        stage
            .operator
            .post(&format!("{system}/grants"), json!({"amount": "1", "source": "plan"}))
            .await,
        stage.operator.get(system).await,
        charge(&stage.operator, system).await,
    ] {
        assert_eq!(made.problem(404), "unknown-account");
    }
    let events = stage.operator.get(&format!("{system}/events")).await.json(200);
    assert_eq!(events["items"][0]["type"], "keyledger.PricesPublished.v1");
    // Nothing is halted by it.
    let accounts = stage.operator.get("/v1/accounts?after=0:1").await.json(200);
    assert_eq!(accounts["items"], json!([]));
}

#[tokio::test]
async fn many_charge_while_books_come_and_each_charge_is_of_the_book_that_held() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("1000000").await;
    let charging: Vec<_> = (0..8)
        .map(|_| {
            let (client, account) = (stage.operator.clone(), account.clone());
            tokio::spawn(async move {
                for _ in 0..25 {
                    charge(&client, &account).await.json(201);
                }
            })
        })
        .collect();
    for n in 1..=12 {
        let body = if n % 3 == 0 {
            from(clock::now().plus_seconds(1), &n.to_string())
        } else {
            book(&n.to_string())
        };
        stage.operator.put("/v1/prices", body).await.json(200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for one in charging {
        one.await.unwrap();
    }
    prices_are_those_that_held(&whole_log(&stage.harness.log()).await);
}
