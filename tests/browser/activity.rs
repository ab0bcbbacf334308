//! Activity and the operators' pages in a real browser.

use http::StatusCode;
use keyledger::webhooks::Kind;
use serde_json::json;

use super::{Browser, View};
use crate::http::stage::{Stage, id_of, secret_of};
use crate::pages::activity::{account_of, request};
use crate::pages::browser::invite;
use crate::pages::operator::link;
use crate::webhooks::receiver::Receiver;
use crate::webhooks::{Shifted, couriers, cross, registered, watched};

/// A customer to whom some things have happened: the account's address, a key's id and its text.
async fn customer(stage: &Stage) -> (String, String, String) {
    let (account, key) = stage.customer("100").await;
    let key_id = id_of(&key["key"]).to_owned();
    let secret = secret_of(&key).to_owned();
    for (n, network) in ["203.0.113.0/24", "2001:db8::/48", "198.51.100.0/24"]
        .iter()
        .enumerate()
    {
        request(stage, &account, &secret, network, n != 1).await;
    }
    let gift =
        json!({"amount": "25", "source": "promotion", "reference": "welcome", "expires_at": "2099-01-01T00:00:00Z"});
    stage.operator.post(&format!("{account}/grants"), gift).await.json(201);
    let name = json!({"name": "<script>alert(1)</script> a name that is long enough to need a second line"});
    let made = stage.operator.post(&format!("{account}/keys"), name).await.json(201);
    let path = format!("{account}/keys/{}?reason=compromised", id_of(&made["key"]));
    stage.operator.delete(&path).await.json(200);
    (account, key_id, secret)
}

async fn history(view: View) {
    let stage = Stage::open().await;
    let (account, key, _) = customer(&stage).await;
    let link = invite(&stage, &account, json!({"name": "Ada"})).await;
    let browser = Browser::open(view).await;
    browser.goto(&format!("http://{}{link}", stage.address)).await;
    browser.reads("Looker Studio").await;
    browser.click_said("Activity").await;
    browser.reads("because it was compromised").await;
    browser
        .reads("A request to serp was charged 0.5 credits to Looker Studio")
        .await;
    browser.look("activity").await;
    // By kind and by key, by a form that is in the address then.
    browser.click("#by-kind option[value=charges]").await;
    browser.click("#filter").await;
    browser.arrives_at("/portal/activity?key=&kind=charges").await;
    browser.find("#activity").await;
    assert_eq!(browser.count("#activity tbody tr").await, 2);
    browser.click(&format!("#by-key option[value={key}]")).await;
    browser.click("#by-kind option[value=every]").await;
    browser.click("#filter").await;
    browser
        .arrives_at(&format!("/portal/activity?key={key}&kind=every"))
        .await;
    browser.find("#activity").await;
    assert_eq!(browser.count("#activity tbody tr").await, 9);
    browser.look("activity-of-key").await;
    // Each line opens its event.
    browser.click(".event").await;
    browser.reads("As it stands in the log").await;
    browser.reads("The steps of this request").await;
    browser.reads("keyledger.CreditsCharged.v1").await;
    browser.click("summary").await;
    browser.find("details[open] #exact").await;
    browser.look("event").await;
    browser.click("#event-before").await;
    browser.reads("keyledger.CreditsReserved.v1").await;
    browser.click("#of-key").await;
    browser.find("#activity").await;
    browser.click("#by-kind option[value=credits]").await;
    browser.click("#filter").await;
    browser.reads("Nothing of this kind yet").await;
    browser.look("activity-empty").await;
    // The account as it was: the slider is let go at its beginning.
    browser.click_said("Activity").await;
    browser.click("#then").await;
    browser.reads("folded from the events up to then").await;
    browser.reads("Deleted since").await;
    browser.look("then").await;
    if browser.view.scripts {
        const HOME: &str = "\u{E011}";
        browser.find("#part").await.send_keys(HOME).await.unwrap();
        browser.arrives_at("/portal/then?part=0").await;
    } else {
        browser
            .goto(&format!("http://{}/portal/then?part=0", stage.address))
            .await;
    }
    browser.reads("There were none").await;
    browser.look("then-first").await;
    browser.click("#step-on").await;
    browser.reads("One event back").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}

async fn operator(view: View) {
    let stage = Stage::open().await;
    let (account, ..) = customer(&stage).await;
    for name in [
        "Bolt Analytics",
        "A customer with a name that is as long as a name may be, and has no break in it",
    ] {
        let body = json!({"name": name, "external_ref": "crm-4711"});
        stage.operator.post("/v1/accounts", body).await.json(201);
    }
    // The page shows the accounts as the views know them when it is asked for, and does not change afterwards.
    crate::harness::until("the views know every account", async || {
        let listed = stage.operator.get("/v1/accounts").await.json(200);
        listed.to_string().contains("has no break in it")
    })
    .await;
    let receiver = Receiver::start().await;
    couriers(&stage, &[receiver.config("billing", &Kind::ALL)], &Shifted::default());
    registered(&stage, "billing").await;
    let (path, id) = watched(&stage).await;
    stage.operator.patch(&path, json!({"name": "Cobalt"})).await.json(200);
    cross(&stage, &id, 2).await;
    receiver.has_taken(2).await;
    receiver.answer(StatusCode::SERVICE_UNAVAILABLE);
    cross(&stage, &id, 1).await;
    receiver.was_asked(3).await;
    let browser = Browser::open(view).await;
    let link = link(&stage.operator, json!({"name": "Grace, on call"})).await;
    browser.goto(&format!("http://{}{link}", stage.address)).await;
    browser.reads("Grace, on call").await;
    browser.reads("Bolt Analytics").await;
    browser.look("operator-accounts").await;
    browser.type_in("#search", "acm").await;
    browser.click("#find").await;
    browser.arrives_at("/portal/operator/accounts?search=acm").await;
    browser.click(".event").await;
    browser.reads("Grants").await;
    browser.reads("welcome").await;
    browser.look("operator-account").await;
    browser.click("#open-pages").await;
    browser.reads("you see what this customer sees").await;
    browser.look("operator-keys").await;
    browser.click_said("Activity").await;
    browser.reads("25 credits were granted as a gift").await;
    browser.look("operator-activity").await;
    browser.click_said("Back to the account").await;
    browser
        .arrives_at(&format!("/portal/operator/accounts/{}", account_of(&account)))
        .await;
    browser.click_said("Health").await;
    browser.reads("The log ends at position").await;
    browser.look("operator-health").await;
    browser.click_said("Prices").await;
    browser.reads("ai_visibility").await;
    browser.look("operator-prices").await;
    browser.click_said("Webhooks").await;
    browser.reads("answered 503").await;
    browser.look("operator-webhooks").await;
    browser.click_said("Sign out").await;
    browser.reads("You are signed out").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_reads_well_on_a_desktop() {
    history(View::DESKTOP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_reads_well_on_a_phone_at_night() {
    history(View::PHONE.dark()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_works_without_scripts() {
    history(View::DESKTOP.dark().without_scripts()).await;
    history(View::PHONE.without_scripts()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_find_their_way_on_a_desktop_and_on_a_phone() {
    operator(View::DESKTOP).await;
    operator(View::PHONE.dark()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_find_their_way_without_scripts() {
    operator(View::PHONE.without_scripts()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_shows_a_charge_by_itself() {
    let stage = Stage::open().await;
    let (account, key, secret) = customer(&stage).await;
    let link = invite(&stage, &account, json!({"name": "Ada"})).await;
    let browser = Browser::open(View::DESKTOP).await;
    browser.goto(&format!("http://{}{link}", stage.address)).await;
    browser.reads("123.5 credits available").await;
    let used = format!("return document.querySelector('#{key} [data-label=\"Last used\"] time')?.dateTime ?? null");
    let before = browser.run(&used).await;
    request(&stage, &account, &secret, "203.0.113.0/24", true).await;
    browser.reads("123 credits available").await;
    crate::harness::until("the key's row has heard", async || {
        let told = browser.run(&used).await;
        told.is_string() && told != before
    })
    .await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}
