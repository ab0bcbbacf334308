//! The Credits page: its figures, its charges, its file.

use http::Method;
use serde_json::json;
use sqlx::Connection as _;

use super::browser::{Browser, encode, invite};
use crate::http::stage::{Stage, id_of, secret_of};

/// Uses the key once for an endpoint and charges it; where the log then stands.
pub async fn charge_key(stage: &Stage, account: &str, secret: &str, endpoint: &str) -> String {
    let held = hold(stage, secret, endpoint).await;
    let charge = format!("{account}/reservations/{held}/charge");
    let charged = stage.operator.post(&charge, json!({})).await;
    assert_eq!(charged.status, 200, "{}", charged.text);
    charged.position().to_owned()
}

/// Holds credits for a request that does not end; the hold's id.
pub async fn hold(stage: &Stage, secret: &str, endpoint: &str) -> String {
    let reserve = json!({"secret": secret, "endpoint": endpoint});
    let held = stage.operator.post("/v1/reservations", reserve).await.json(201);
    id_of(&held).to_owned()
}

/// Charges the dashboard for some units; where the log then stands.
pub async fn charge_dashboard(stage: &Stage, account: &str, endpoint: &str, quantity: u64) -> String {
    let account = account.rsplit('/').next().unwrap();
    let charge = json!({"account": account, "endpoint": endpoint, "quantity": quantity});
    let charged = stage.operator.post("/v1/charges", charge).await;
    assert_eq!(charged.status, 201, "{}", charged.text);
    charged.position().to_owned()
}

/// What stands in the element of an id.
fn told<'a>(page: &'a str, id: &str) -> &'a str {
    let (_, rest) = page
        .split_once(&format!("id=\"{id}\">"))
        .unwrap_or_else(|| panic!("no {id} in {page}"));
    rest.split('<').next().unwrap()
}

/// How many charges the page lists.
fn lines(page: &str) -> usize {
    page.matches("data-clock").count()
}

/// The records of a file, without its header.
fn records(text: &str) -> Vec<csv::StringRecord> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().unwrap().len(), 12);
    reader.records().map(Result::unwrap).collect()
}

#[tokio::test]
async fn the_figures_are_what_was_spent() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    for _ in 0..3 {
        charge_key(&stage, &account, secret_of(&made), "serp").await;
    }
    hold(&stage, secret_of(&made), "serp").await;
    let position = charge_dashboard(&stage, &account, "echo", 2).await;
    let ada = Browser::inside(&stage, &account).await;
    let page = ada.page(&format!("/portal/credits?after={position}")).await;
    let figures = ["available", "held", "used", "lasts"].map(|id| told(&page, id));
    assert_eq!(figures, ["7", "0.5", "2.5", "About 19 days"]);
    assert!(page.contains("At this week’s pace, until "));
    for bar in [
        "serp: 1.5 credits",
        "echo: 1 credit",
        "Looker Studio: 1.5 credits",
        "Dashboard: 1 credit",
    ] {
        assert!(page.contains(&format!("<title>{bar}</title>")), "{bar}");
    }
    assert!(page.contains("<b>7</b> of 10 left") && page.contains("0.5 held") && page.contains("Never expires"));
    assert_eq!(lines(&page), 4);
    // In the navigation, from everywhere.
    assert!(page.contains("<a href=\"credits\" aria-current=\"page\">Credits</a>"));
    let form = ada.page("/portal/keys/new").await;
    assert!(form.contains("<a href=\"../credits\">Credits</a>"));
}

#[tokio::test]
async fn a_charge_that_was_taken_back_says_so_wherever_it_stands() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let held = hold(&stage, secret_of(&made), "serp").await;
    let path = format!("{account}/reservations/{held}/charge");
    stage.operator.post(&path, json!({})).await.json(200);
    let refund = json!({"amount": "0.25", "reason": "It was <stale>"});
    let path = format!("{account}/charges/{held}/refund");
    let refunded = stage.operator.post(&path, refund).await;
    let position = refunded.position().to_owned();
    refunded.json(201);
    let ada = Browser::inside(&stage, &account).await;
    let page = ada.page(&format!("/portal/credits?after={position}")).await;
    let figures = ["available", "used", "refunded"].map(|id| told(&page, id));
    assert_eq!(figures, ["9.75", "0.5", "0.25"]);
    assert!(page.contains("<span class=\"tag\">0.25 refunded</span>"), "{page}");
    let file = ada.page("/portal/credits/charges.csv").await;
    let record = records(&file).remove(0);
    assert_eq!((&record[9], &record[10]), ("0.5", "0.25"));
    let activity = super::activity::read(&ada.page("/portal/activity?kind=credits").await);
    assert!(
        activity.contains("0.25 credits were refunded for a request to serp by Looker Studio : It was &#60;stale&#62;"),
        "{activity}"
    );
}

#[tokio::test]
async fn grants_stand_in_the_order_in_which_they_expire() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let mut position = String::new();
    for (reference, expires_at) in [
        ("never", None),
        ("late", Some("2999-12-31T00:00:00Z")),
        ("early", Some("2999-01-01T00:00:00Z")),
    ] {
        let grant = json!({"amount": "5", "source": "plan", "reference": reference, "expires_at": expires_at});
        let granted = stage.operator.post(&format!("{account}/grants"), grant).await;
        position = granted.position().to_owned();
        granted.json(201);
    }
    let ada = Browser::inside(&stage, &account).await;
    let page = ada.page(&format!("/portal/credits?after={position}")).await;
    let places = ["early", "late", "never"].map(|name| page.find(&format!(">{name}</bdi>")).unwrap());
    assert!(places.is_sorted(), "{places:?}");
    assert!(page.contains("1 Jan 2999"));
}

#[tokio::test]
async fn charges_are_found_by_key_endpoint_and_day_and_go_on() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("100").await;
    for _ in 0..3 {
        charge_key(&stage, &account, secret_of(&made), "serp").await;
    }
    let mut position = String::new();
    for _ in 0..22 {
        position = charge_dashboard(&stage, &account, "echo", 1).await;
    }
    let ada = Browser::inside(&stage, &account).await;
    let first = ada.page(&format!("/portal/credits?after={position}")).await;
    assert_eq!(lines(&first), 15);
    let found = async |query: &str| ada.page(&format!("/portal/credits?{query}")).await;
    let key = id_of(&made["key"]);
    assert_eq!(lines(&found(&format!("key={key}")).await), 3);
    assert_eq!(lines(&found("endpoint=serp&key=&from=&to=").await), 3);
    assert_eq!(lines(&found(&format!("key={key}&endpoint=echo")).await), 0);
    assert_eq!(lines(&found("from=2020-01-01&to=2998-12-31").await), 15);
    let none = found("from=2998-12-31").await;
    assert!(lines(&none) == 0 && none.contains("No charges are like this"));
    // Where the list goes on, it is still of the same filter.
    let narrow = found("endpoint=echo").await;
    let (_, next) = narrow.split_once("credits?endpoint=echo&#38;before=").unwrap();
    let next = next.split('#').next().unwrap();
    let rest = found(&format!("endpoint=echo&before={next}")).await;
    assert_eq!((lines(&narrow), lines(&rest)), (15, 7));
    assert!(rest.contains("Latest charges") && !rest.contains("Older charges"));
}

#[tokio::test]
async fn a_filter_that_is_none_is_told_where_it_stands() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    charge_key(&stage, &account, secret_of(&made), "serp").await;
    let ada = Browser::inside(&stage, &account).await;
    for (query, told) in [
        ("from=2026-11-25&to=2026-11-24", "The last day is before the first"),
        ("from=yesterday", "The first day is no day"),
        ("endpoint=%3Cscript%3E", "There is no such endpoint"),
        ("key=%22%3E%3Cimg+onerror%3E", "There is no such key"),
    ] {
        let answer = ada.get(&format!("/portal/credits?{query}")).await;
        assert_eq!(answer.status, 422, "{query}");
        assert!(answer.text.contains(told), "{query}");
        assert!(
            !answer.text.contains("<script>") && !answer.text.contains("<img onerror"),
            "{query}"
        );
        assert_eq!(
            ada.get(&format!("/portal/credits/charges.csv?{query}")).await.status,
            404
        );
    }
    for query in ["before=x", "before=-1", "after=1"] {
        assert_eq!(
            ada.get(&format!("/portal/credits?{query}")).await.status,
            404,
            "{query}"
        );
    }
}

#[tokio::test]
async fn the_file_has_the_charges_that_are_looked_for() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    charge_key(&stage, &account, secret_of(&made), "serp").await;
    let position = charge_dashboard(&stage, &account, "echo", 3).await;
    let ada = Browser::inside(&stage, &account).await;
    let file = ada.get(&format!("/portal/credits/charges.csv?after={position}")).await;
    assert_eq!(file.status, 200);
    assert_eq!(file.header("content-type"), "text/csv; charset=utf-8");
    let name = file.header("content-disposition");
    assert!(
        name.starts_with("attachment; filename=\"credits-to-") && name.ends_with(".csv\""),
        "{name}"
    );
    assert_eq!(file.header("cache-control"), "no-store");
    let all = records(&file.text);
    assert_eq!(all.len(), 2);
    let fields = |record: &csv::StringRecord| [3, 5, 6, 7, 8, 9].map(|at| record[at].to_owned());
    assert_eq!(fields(&all[0]), ["", "dashboard", "echo", "3", "0.5", "1.5"]);
    assert_eq!(fields(&all[1]), ["Looker Studio", "api", "serp", "1", "0.5", "0.5"]);
    assert_eq!(&all[1][2], id_of(&made["key"]));
    assert!(
        file.text.lines().nth(1).unwrap().ends_with(",3,0.5,1.5,0,\"live\""),
        "numbers are not quoted"
    );
    let narrow = ada
        .get("/portal/credits/charges.csv?endpoint=serp&from=2020-01-01&to=2998-12-31")
        .await;
    assert_eq!(records(&narrow.text).len(), 1);
    assert!(
        narrow
            .header("content-disposition")
            .contains("credits-2020-01-01-to-2998-12-31.csv")
    );
}

#[tokio::test]
async fn a_long_file_has_every_charge_once() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    // Whoever is inside is in the views.
    let ada = Browser::inside(&stage, &account).await;
    let mut owner = stage.harness.owner().await;
    sqlx::query(
        "insert into views.charges (account_id, reservation_id, shard, position, channel, endpoint, quantity, unit_price,
             price_version, charged, returned, reserved_at, charged_at)
         select account_id, gen_random_uuid(), 0, 1000000 + n, 'api', 'serp', n, 500000, 0, 500000, 0,
             '2026-01-01', timestamptz '2026-01-01' + n * interval '1 second'
         from views.balance, generate_series(1, 2500) n",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    owner.close().await.unwrap();
    let file = ada.get("/portal/credits/charges.csv").await;
    let quantities: Vec<u64> = records(&file.text)
        .iter()
        .map(|record| record[7].parse().unwrap())
        .collect();
    assert_eq!(quantities, (1..=2_500).rev().collect::<Vec<u64>>());
}

#[tokio::test]
async fn names_that_attack_are_text_on_the_page_and_in_the_file() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("1000").await;
    let emoji = "🦀".repeat(80);
    let names = [
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("\"><img src=x onerror=alert(1)>", "\"><img src=x onerror=alert(1)>"),
        ("ad\u{200D}min\u{00AD}", "ad[U+200D]min[U+00AD]"),
        (
            "=HYPERLINK(\"https://evil.example\")",
            "'=HYPERLINK(\"https://evil.example\")",
        ),
        ("+49 30 1234", "'+49 30 1234"),
        ("-2+3|cmd", "'-2+3|cmd"),
        ("@SUM(1,2)", "'@SUM(1,2)"),
        ("a;=1+1", "a;'=1+1"),
        (emoji.as_str(), emoji.as_str()),
    ];
    let mut position = String::new();
    for (name, _) in names {
        let made = stage
            .operator
            .post(&format!("{account}/keys"), json!({"name": name}))
            .await
            .json(201);
        position = charge_key(&stage, &account, secret_of(&made), "serp").await;
    }
    let ada = Browser::inside(&stage, &account).await;
    let page = ada.page(&format!("/portal/credits?after={position}")).await;
    assert!(!page.contains("<script>") && !page.contains("<img src=x"));
    assert!(page.contains("ad[U+200D]min[U+00AD]") && page.contains(&emoji));
    let file = ada.get("/portal/credits/charges.csv").await;
    let told: Vec<String> = records(&file.text)
        .iter()
        .rev()
        .map(|record| record[3].to_owned())
        .collect();
    assert_eq!(told, names.map(|(_, cell)| cell.to_owned()));
}

#[tokio::test]
async fn another_accounts_use_is_never_seen() {
    let stage = Stage::open().await;
    let (others, made) = stage.customer("10").await;
    let key = id_of(&made["key"]);
    let position = charge_key(&stage, &others, secret_of(&made), "serp").await;
    let account = stage.account().await;
    let ada = Browser::inside(&stage, &account).await;
    for query in [
        format!("after={position}"),
        format!("key={key}"),
        "endpoint=serp".to_owned(),
    ] {
        let page = ada.page(&format!("/portal/credits?{query}")).await;
        assert!(lines(&page) == 0 && !page.contains("Looker Studio"), "{query}");
        assert_eq!(told(&page, "used"), "0");
        let file = ada.get(&format!("/portal/credits/charges.csv?{query}")).await;
        assert_eq!((file.status.as_u16(), records(&file.text).len()), (200, 0), "{query}");
    }
    for path in ["/portal/credits", "/portal/credits/charges.csv"] {
        assert_eq!(Browser::new(&stage).get(path).await.status, 401, "{path}");
        let answer = stage
            .stranger()
            .send(Method::POST, path, &[("cookie", &ada.cookie)], "")
            .await;
        assert_eq!(answer.status, 404, "{path} takes no form");
    }
}

#[tokio::test]
async fn who_may_only_look_sees_everything() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let position = charge_key(&stage, &account, secret_of(&made), "serp").await;
    let mut auditor = Browser::new(&stage);
    auditor
        .open(&invite(&stage, &account, json!({"read_only": true})).await)
        .await;
    let page = auditor.page(&format!("/portal/credits?after={position}")).await;
    assert_eq!(lines(&page), 1);
    assert_eq!(records(&auditor.get("/portal/credits/charges.csv").await.text).len(), 1);
}

#[tokio::test]
async fn a_new_customer_is_told_what_will_stand_here() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let mut ada = Browser::new(&stage);
    let entered = ada.open(&invite(&stage, &account, json!({})).await).await;
    ada.follow(&entered).await;
    let page = ada.page("/portal/credits").await;
    assert_eq!(
        ["available", "used", "lasts"].map(|id| told(&page, id)),
        ["0", "0", "No credits left"]
    );
    for text in [
        "Nothing was used",
        "There are none at the moment",
        "Nothing was charged yet",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("id=\"filter\""), "nothing to look through");
    // The prices are the book's.
    assert!(page.contains("<dt>serp</dt><dd><b>0.5 credits per request</b></dd>"));
    assert!(page.contains("The same result is charged once a day for each key."));
}

#[tokio::test]
async fn a_deleted_key_keeps_its_name_where_it_was_charged() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    charge_key(&stage, &account, secret_of(&made), "serp").await;
    let deleted = stage
        .operator
        .delete(&format!("{account}/keys/{}", id_of(&made["key"])))
        .await;
    let position = encode(deleted.position());
    let ada = Browser::inside(&stage, &account).await;
    ada.page(&format!("/portal/keys?after={position}")).await;
    let page = ada.page(&format!("/portal/credits?after={position}")).await;
    assert!(page.contains("Looker Studio") && page.contains("<span class=\"tag\">deleted</span>"));
}

#[tokio::test]
async fn a_full_page_stays_light() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let ada = Browser::inside(&stage, &account).await;
    let mut owner = stage.harness.owner().await;
    // Thirty days of five endpoints and twenty-five keys with long names, all with awkward amounts.
    for statement in [
        "insert into views.usage_by_endpoint select account_id, date_trunc('hour', now(), 'UTC') - d * interval '1 day',
             'endpoint_' || e, 1000, 1000, 1000, 123456789 + e * 1000003, 0, 0, 0, 0, 0, 0
         from views.balance, generate_series(0, 29) d, generate_series(1, 5) e",
        "insert into views.key_list (account_id, key_id, name, preview, environment, created_at, created_by, uses)
         select account_id, ('00000000-0000-0000-0000-0000000000' || k)::uuid, 'Key ' || k || ' of many, with a long name',
             'sk_live_abc...', 'live', now(), 'system', 1 from views.balance, generate_series(10, 34) k",
        "insert into views.usage select account_id, date_trunc('hour', now(), 'UTC'), key_id, 'serp', key_id, 1234, 1, 1,
             123456789, 0, 0, 0, 0, 0, 0 from views.key_list",
        "insert into views.charges (account_id, reservation_id, shard, position, key_id, channel, endpoint, quantity,
             unit_price, price_version, charged, returned, reserved_at, charged_at)
         select account_id, key_id, 0, row_number() over (), key_id, 'api', 'serp', 1, 500000, 0, 500000, 0, now(), now()
         from views.key_list",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    owner.close().await.unwrap();
    let page = ada.page("/portal/credits").await;
    assert_eq!(lines(&page), 15);
    let weight = ada.weight(&page).await;
    assert!(weight < 60_000, "{weight} bytes, {} of the page", page.len());
}

#[tokio::test]
async fn the_pages_of_a_closed_account_say_so_and_offer_nothing_to_change() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let ada = Browser::inside(&stage, &account).await;
    assert!(ada.page("/portal/keys").await.contains("generate-new-key"));
    let reason = json!({"reason": "Contract ended"});
    let closed = stage.operator.post(&format!("{account}/close"), reason).await;
    let position = closed.position().to_owned();
    let page = ada.page(&format!("/portal/credits?after={position}")).await;
    assert!(page.contains("This account is closed") && page.contains("<b>10</b> of 10 left"));
    let keys = ada.page("/portal/keys").await;
    assert!(keys.contains("This account is closed") && !keys.contains("generate-new-key"));
    let activity = super::activity::read(&ada.page("/portal/activity").await);
    assert!(
        activity.contains("Keyledger closed the account: Contract ended"),
        "{activity}"
    );
}

#[tokio::test]
async fn what_is_set_aside_stands_beside_what_is_available() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let bound = json!({"amount": "5", "source": "promotion", "endpoints": ["serp", "echo"]});
    stage.operator.post(&format!("{account}/grants"), bound).await.json(201);
    let later = json!({"amount": "7", "source": "purchase", "starts_at": "2999-01-01T00:00:00Z"});
    let later = stage.operator.post(&format!("{account}/grants"), later).await;
    let position = later.position().to_owned();
    let ada = Browser::inside(&stage, &account).await;
    let page = ada.page(&format!("/portal/credits?after={position}")).await;
    let figures = ["available", "aside"].map(|id| told(&page, id));
    assert_eq!(figures, ["10", "5 for some endpoints only, 7 for later"]);
    assert!(page.contains("<span class=\"tag\">only echo, serp</span>"));
    let text = super::activity::read(&page);
    assert!(text.contains("can be used from 1 Jan 2999"), "{text}");
    let activity = super::activity::read(&ada.page("/portal/activity").await);
    assert!(
        activity.contains("5 credits were granted as a gift, for echo and serp only"),
        "{activity}"
    );
    assert!(
        activity.contains("7 credits were granted as a purchase, for use from 1 Jan 2999"),
        "{activity}"
    );
}
