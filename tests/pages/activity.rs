//! The account's history on its page.

use keyledger::ledger::{ChargeReservation, Payer, Price, ReserveCredits, Usage};
use keyledger_events::{AccountId, Endpoint, KeyDigest, ReservationId};
use serde_json::{Value, json};

use super::browser::{Browser, hidden, invite, value_after};
use crate::http::stage::{Stage, id_of, secret_of};
use crate::ledger::customer::by_system;

/// The account that an address below `/v1` names.
pub fn account_of(address: &str) -> AccountId {
    address.rsplit('/').next().unwrap().parse().unwrap()
}

/// A request as the gateway makes it: held with where it comes from, and charged when it was delivered.
pub async fn request(stage: &Stage, account: &str, secret: &str, network: &str, charge: bool) -> ReservationId {
    let ledger = stage.harness.ledger();
    let reservation = keyledger::clock::fresh_reservation_id();
    let hold = ReserveCredits {
        payer: Payer::Key(KeyDigest::of(secret)),
        reservation,
        endpoint: Endpoint::parse("serp").unwrap(),
        quantity: 1,
        price: Price {
            unit: "0.5".parse().unwrap(),
            version: 0,
        },
        ttl_seconds: 900,
        usage: Usage {
            request: Some("req-1".to_owned()),
            network: Some(network.to_owned()),
            user_agent: Some("curl/8".to_owned()),
        },
        once: None,
    };
    ledger.submit(hold, by_system()).await.unwrap();
    if charge {
        let charge = ChargeReservation {
            account: account_of(account),
            reservation,
            quantity: None,
        };
        ledger.submit(charge, by_system()).await.unwrap();
    }
    reservation
}

/// The page as a person reads it: no tags, and spaces as a browser shows them.
pub fn read(page: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in page.chars() {
        match c {
            '<' => {
                inside = true;
                text.push(' ');
            }
            '>' => inside = false,
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The events that a page links to, in order.
fn positions(page: &str) -> Vec<u64> {
    let links = page.split("class=\"event\" href=\"activity/").skip(1);
    links
        .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
        .collect()
}

/// Every event that the pages from here on link to, in order.
async fn all_pages(browser: &Browser, path: &str) -> Vec<u64> {
    let mut found = Vec::new();
    let mut next = path.to_owned();
    loop {
        let page = browser.page(&next).await;
        found.extend(positions(&page));
        if !page.contains("id=\"older\"") {
            return found;
        }
        let (before, _) = page.split_once("\" id=\"older\"").unwrap();
        let link = before.rsplit_once("href=\"").unwrap().1.replace("&amp;", "&");
        next = format!("/portal/{link}");
    }
}

async fn log_of(stage: &Stage, account: &str) -> Vec<Value> {
    let list = stage
        .operator
        .get(&format!("{account}/events?limit=200"))
        .await
        .json(200);
    list["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_history_is_told_in_plain_words() {
    let stage = Stage::open().await;
    let (account, key) = stage.customer("100").await;
    request(&stage, &account, secret_of(&key), "203.0.113.0/24", true).await;
    let ada = Browser::inside(&stage, &account).await;
    assert_eq!(ada.generate("Internal Dashboard").await.status, 201);
    crate::harness::until("the new key's name is known", async || {
        read(&ada.page("/portal/activity").await).contains("Ada made the key Internal Dashboard")
    })
    .await;
    let page = ada.page("/portal/activity").await;
    let text = read(&page);
    for sentence in [
        "Keyledger opened the account Acme",
        "100 credits were granted as a purchase",
        "by Keyledger",
        "Keyledger made the key Looker Studio",
        "A request to serp was charged 0.5 credits to Looker Studio",
        "203.0.113.0/24",
        "−0.5",
        "+100",
    ] {
        assert!(text.contains(sentence), "{sentence} is not in {text}");
    }
    // The first steps of the request are told when somebody asks for them.
    assert!(!text.contains("asked for serp") && !text.contains("were held"));
    let every = read(&ada.page("/portal/activity?kind=every").await);
    assert!(every.contains("Looker Studio asked for serp") && every.contains("0.5 credits were held"));
    assert_eq!(every.matches("203.0.113.0/24").count(), 3);
    assert!(!page.contains(secret_of(&key)));
}

#[tokio::test]
async fn each_line_opens_its_event_as_it_stands_in_the_log() {
    let stage = Stage::open().await;
    let (account, key) = stage.customer("100").await;
    request(&stage, &account, secret_of(&key), "203.0.113.0/24", true).await;
    let ada = Browser::inside(&stage, &account).await;
    let stored = stage.operator.get(&format!("{account}/events")).await;
    for event in log_of(&stage, &account).await {
        let position = &event["position"];
        let path = format!("/portal/activity/{position}");
        let page = ada.page(&path).await;
        let exact = ada.get(&format!("{path}/document")).await;
        assert_eq!(exact.status, 200);
        assert_eq!(serde_json::from_str::<Value>(&exact.text).unwrap(), event);
        assert_eq!(exact.header("content-type"), "application/cloudevents+json");
        assert!(stored.text.contains(&exact.text), "byte for byte");
        let text = read(&page);
        for part in [
            event["id"].as_str().unwrap(),
            event["type"].as_str().unwrap(),
            &format!("position 0:{position}"),
            &format!("number {}", event["accountseq"]),
            event["actor"].as_str().unwrap(),
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!page.contains(secret_of(&key)));
    }
    // The steps of a request lead to each other.
    let charge = ada.page("/portal/activity?kind=charges").await;
    let charge = ada.page(&format!("/portal/activity/{}", positions(&charge)[0])).await;
    assert!(charge.contains("The steps of this request") && read(&charge).contains("Looker Studio asked for serp"));
}

#[tokio::test]
async fn an_event_has_its_proof_on_its_page_as_soon_as_it_is_sealed() {
    use keyledger::audit::merkle::{Hash, includes};

    let stage = Stage::open().await;
    let (account, _) = stage.customer("100").await;
    let ada = Browser::inside(&stage, &account).await;
    let position = log_of(&stage, &account).await[0]["position"].as_u64().unwrap();
    let path = format!("/portal/activity/{position}");
    assert!(read(&ada.page(&path).await).contains("Not sealed yet"));
    assert_eq!(ada.get(&format!("{path}/proof")).await.status, 404);
    let head = stage.harness.log().head().await.unwrap().position;
    let _state = crate::audit::tiles::seal(&stage, head).await;
    let page = ada.page(&path).await;
    let file = ada.get(&format!("{path}/proof")).await;
    let proof: Value = serde_json::from_str(&file.text).unwrap();
    let hash = |text: &Value| -> Hash {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap());
        bytes.unwrap().try_into().unwrap()
    };
    let note = proof["checkpoint"]["note"].as_str().unwrap();
    let sealed = crate::audit::stage::believed(note, &crate::audit::stage::verifier(1));
    let leaf = keyledger_events::leaf_hash(proof["event"].as_str().unwrap().as_bytes());
    let hashes: Vec<Hash> = proof["path"].as_array().unwrap().iter().map(hash).collect();
    assert!(includes(&sealed.root, sealed.size, position - 1, leaf, &hashes));
    assert!(page.contains("proof-file") && read(&page).contains(proof["leaf"].as_str().unwrap()));
    let other = stage.account().await;
    let event = &log_of(&stage, &other).await[0]["position"];
    assert_eq!(
        ada.get(&format!("/portal/activity/{event}/proof")).await.status,
        404,
        "another account's"
    );
}

#[tokio::test]
async fn another_accounts_event_is_no_event_here() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let (other, theirs) = stage.customer("10").await;
    let ada = Browser::inside(&stage, &account).await;
    for event in log_of(&stage, &other).await {
        let path = format!("/portal/activity/{}", event["position"]);
        assert_eq!(ada.get(&path).await.status, 404);
        assert_eq!(ada.get(&format!("{path}/document")).await.status, 404);
    }
    for nothing in [
        "activity/0",
        "activity/01",
        "activity/99999",
        "activity/18446744073709551615",
        "activity/x",
        "activity?kind=all",
        "activity?key=x",
        "activity?before=-1",
        &format!("activity?key={}", id_of(&theirs["key"])),
    ] {
        assert_eq!(ada.get(&format!("/portal/{nothing}")).await.status, 404, "{nothing}");
    }
    let nobody = Browser::new(&stage);
    assert_eq!(nobody.get("/portal/activity").await.status, 401);
    assert_eq!(nobody.get("/portal/activity/1").await.status, 401);
}

#[tokio::test]
async fn paging_shows_every_event_once_and_in_order() {
    let stage = Stage::open().await;
    let (account, key) = stage.customer("100").await;
    let (second_key, id) = {
        let made = stage
            .operator
            .post(&format!("{account}/keys"), json!({"name": "Second"}))
            .await;
        let made = made.json(201);
        (secret_of(&made).to_owned(), id_of(&made["key"]).to_owned())
    };
    // Two accounts take turns, so that positions have gaps.
    let (other, theirs) = stage.customer("100").await;
    for n in 0..24 {
        let secret = if n % 3 == 0 { &second_key } else { secret_of(&key) };
        request(&stage, &account, secret, "203.0.113.0/24", n % 2 == 0).await;
        request(&stage, &other, secret_of(&theirs), "203.0.113.0/24", true).await;
    }
    crate::harness::until("the views know the keys", async || {
        let keys = stage.operator.get(&format!("{account}/keys")).await.json(200);
        keys["items"].as_array().unwrap().len() == 2
    })
    .await;
    let ada = Browser::inside(&stage, &account).await;
    let log = log_of(&stage, &account).await;
    let newest_first = |of: &dyn Fn(&Value) -> bool| -> Vec<u64> {
        let found = log.iter().rev().filter(|event| of(event));
        found.map(|event| event["position"].as_u64().unwrap()).collect()
    };
    let kind = |event: &Value, name: &str| event["type"].as_str().unwrap().contains(name);
    let of_second = |event: &Value| event["data"].to_string().contains(&id);
    for (path, wanted) in [
        ("kind=every".to_owned(), newest_first(&|_| true)),
        (
            "kind=main".to_owned(),
            newest_first(&|event| {
                !["KeyUsed", "CreditsReserved", "SessionInvited"]
                    .iter()
                    .any(|name| kind(event, name))
            }),
        ),
        (
            "kind=charges&key=".to_owned(),
            newest_first(&|event| kind(event, "CreditsCharged")),
        ),
        (
            "kind=access".to_owned(),
            newest_first(&|event| kind(event, "PortalSessionInvited")),
        ),
        ("kind=keys".to_owned(), newest_first(&|event| kind(event, "KeyCreated"))),
        (format!("kind=every&key={id}"), newest_first(&of_second)),
        (
            format!("kind=requests&key={id}"),
            newest_first(&|event| of_second(event) && kind(event, "KeyUsed")),
        ),
    ] {
        assert!(!wanted.is_empty());
        assert_eq!(
            all_pages(&ada, &format!("/portal/activity?{path}")).await,
            wanted,
            "{path}"
        );
    }
    assert!(newest_first(&|_| true).len() > 50, "more than a page");
    // What is chosen stays chosen on the next page, and a light page stays light.
    let page = ada.page(&format!("/portal/activity?kind=every&key={id}")).await;
    assert!(page.contains(&format!("<option value=\"{id}\" selected>")));
    let page = ada.page("/portal/activity?kind=every").await;
    assert!(
        page.contains("<option value=\"every\" selected>") && page.len() < 40_000,
        "{}",
        page.len()
    );
}

#[tokio::test]
async fn texts_that_attack_are_shown_as_text() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let attack = "<script>alert(1)</script>";
    let image = "\"><img src=x onerror=alert(1)>";
    let made = stage
        .operator
        .post(&format!("{account}/keys"), json!({"name": attack}))
        .await;
    let secret = secret_of(&made.json(201)).to_owned();
    let reference = format!("{image}\u{202E}{{{{7*7}}}}");
    let grant = json!({"amount": "10", "source": "promotion", "reference": reference});
    stage.operator.post(&format!("{account}/grants"), grant).await.json(201);
    request(&stage, &account, &secret, image, true).await;
    let mut ada = Browser::new(&stage);
    let entered = ada.open(&invite(&stage, &account, json!({"name": attack})).await).await;
    ada.follow(&entered).await;
    assert_eq!(ada.generate("=1+1").await.status, 201);
    for kind in ["main", "every"] {
        let page = ada.page(&format!("/portal/activity?kind={kind}")).await;
        assert!(!page.contains(attack) && !page.contains("<img src=x") && !page.contains('\u{202E}'));
        let reads = read(&page);
        assert!(
            reads.contains("{{7*7}}") && reads.contains("[U+202E]") && reads.contains("&#60;img"),
            "{reads}"
        );
    }
    for event in log_of(&stage, &account).await {
        let page = ada.page(&format!("/portal/activity/{}", event["position"])).await;
        assert!(!page.contains(attack) && !page.contains("<img src=x"));
    }
    // The filter is a form like any other, and carries nothing of the session in its address.
    let page = ada.page("/portal/activity").await;
    let filter = page
        .split_once("class=\"filters\"")
        .unwrap()
        .1
        .split_once("</form>")
        .unwrap()
        .0;
    assert!(!filter.contains(hidden(&page, "token")));
    assert_eq!(value_after(&page, "<form method=\"get\"", "action"), "activity");
}
