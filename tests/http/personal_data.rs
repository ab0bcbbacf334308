//! Erasing personal data: what was sealed is gone everywhere, and every byte of the log stays.

use keyledger::ledger::{Payer, Price, ReserveCredits, Usage};
use keyledger::log::Snapshot;
use keyledger::projector::{View, check_views};
use keyledger_events::{
    AccountId, ERASED, Endpoint, Event, KeyDigest, KeyId, KeyName, KeyRenamed, Position, Recorded, SEALED, Seq,
    leaf_hash,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use super::client::Client;
use super::stage::{Stage, id_of, secret_of};
use crate::harness::{Harness, until};
use crate::ledger::customer::by_system;
use crate::ledger::writers::whole_log;
use crate::pages::activity::account_of;
use crate::pages::browser::Browser;
use crate::projector::appended::append;

/// In every name of the account, and in nothing else.
const MARK: &str = "Zebulon";

/// Tables of the database that have a text in them somewhere, as text or as bytes.
async fn tables_with(harness: &Harness, text: &str) -> Vec<String> {
    let mut owner = harness.owner().await;
    let tables = sqlx::query(
        "select quote_ident(table_schema) || '.' || quote_ident(table_name) as name from information_schema.tables
         where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')",
    );
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut found = Vec::new();
    for row in tables.fetch_all(&mut owner).await.unwrap() {
        let name: String = row.get("name");
        let count = format!("select count(*) from {name} t where t::text ilike '%{text}%' or t::text like '%{hex}%'");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(count))
            .fetch_one(&mut owner)
            .await
            .unwrap();
        if count > 0 {
            found.push(name);
        }
    }
    found.sort();
    found
}

/// The log byte for byte.
async fn bytes(stage: &Stage) -> Vec<Vec<u8>> {
    let stored = stage.harness.log().read(Position::START, 10_000).await.unwrap();
    stored.into_iter().map(|stored| stored.body).collect()
}

/// An account that is full of names, with a key that was used.
async fn named(stage: &Stage) -> (String, Value) {
    let opened = json!({"name": format!("{MARK} Ltd"), "external_ref": format!("crm/{MARK}")});
    let opened = stage.operator.post("/v1/accounts", opened).await.json(201);
    let account = format!("/v1/accounts/{}", id_of(&opened));
    let grant = json!({"amount": "10", "source": "purchase"});
    stage.operator.post(&format!("{account}/grants"), grant).await.json(201);
    let key = stage
        .operator
        .post(&format!("{account}/keys"), json!({"name": format!("{MARK}'s laptop")}))
        .await
        .json(201);
    let path = format!("{account}/keys/{}", id_of(&key["key"]));
    let renamed = json!({"name": format!("{MARK}'s desk")});
    stage.operator.patch(&path, renamed).await.json(200);
    let hold = ReserveCredits {
        payer: Payer::Key(KeyDigest::of(secret_of(&key))),
        reservation: keyledger::clock::fresh_reservation_id(),
        endpoint: Endpoint::parse("serp").unwrap(),
        quantity: 1,
        price: Price {
            unit: "0.5".parse().unwrap(),
            version: 0,
        },
        ttl_seconds: 900,
        usage: Usage {
            request: Some("req-1".to_owned()),
            network: Some(format!("{MARK}.0/24")),
            user_agent: Some(format!("{MARK}/8")),
        },
        once: None,
    };
    stage.ledger.submit(hold, by_system()).await.unwrap();
    let changed = json!({"name": format!("{MARK} & Sons")});
    let changed = stage.operator.patch(&account, changed).await;
    let after = changed.position().to_owned();
    stage.operator.get(&format!("{account}?after={after}")).await.json(200);
    (account, key)
}

async fn close(stage: &Stage, account: &str) {
    let close = json!({"reason": "Contract ended"});
    stage.operator.post(&format!("{account}/close"), close).await.json(200);
}

/// What lies beside the log: a snapshot, and a message that waits.
async fn copies(stage: &Stage, account: AccountId) {
    let snapshot = Snapshot {
        account,
        seq: Seq(1),
        position: Position(1),
        state: MARK.into(),
    };
    stage.harness.log().keep_snapshot(&snapshot, 0).await.unwrap();
    let mut owner = stage.harness.owner().await;
    sqlx::query("insert into webhook_receivers (receiver, url, kinds) values ('r', 'http://127.0.0.1:9/', '{}')")
        .execute(&mut owner)
        .await
        .unwrap();
    let body = json!({"type": "key.denied", "data": {"account": account, "name": MARK, "external_ref": MARK,
        "key": {"id": "key_1", "name": MARK}}});
    sqlx::query(
        "insert into webhook_deliveries (receiver, message, kind, account_id, body, queued_at, state, next_at)
         values ('r', 'm', 'key.denied', $1, $2, now(), 'waiting', now())",
    )
    .bind(sqlx::types::Uuid::from_bytes(account.to_bytes()))
    .bind(body.to_string())
    .execute(&mut owner)
    .await
    .unwrap();
}

#[tokio::test]
async fn after_an_erasure_no_table_has_a_name_and_no_byte_of_the_log_is_another_one() {
    let stage = Stage::open().await;
    let (account, key) = named(&stage).await;
    let other = stage.customer("5").await.0;
    let ada = json!({"name": format!("Ada {MARK}"), "return_url": format!("https://example.com/{MARK}")});
    stage
        .operator
        .post(&format!("{account}/portal-sessions"), ada)
        .await
        .json(201);
    copies(&stage, account_of(&account)).await;
    close(&stage, &account).await;
    let before = bytes(&stage).await;
    let full = [
        "public.account_snapshots",
        "public.portal_sessions",
        "public.webhook_deliveries",
        "views.balance",
        "views.key_list",
        "views.key_networks",
    ];
    until("the views have all of it", async || {
        tables_with(&stage.harness, MARK).await == full
    })
    .await;
    // As a rebuild that was killed leaves it.
    stage
        .harness
        .owner()
        .await
        .execute("create table views_next.key_list as select * from views.key_list")
        .await
        .unwrap();
    let path = format!("{account}/personal-data?reason=Asked%20for");
    let erased = stage.operator.delete(&path).await;
    let position = erased.position().to_owned();
    let erased = erased.json(200);
    assert_eq!(
        (&erased["in_clear"], &erased["position"]),
        (&json!(false), &json!(position))
    );
    assert!(erased["erased_at"].is_string());
    assert_eq!(tables_with(&stage.harness, MARK).await, Vec::<String>::new());
    // The bytes, and so all that is proved of them.
    let after = bytes(&stage).await;
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.len(), before.len() + 1);
    for body in &before {
        let decoded = Recorded::decode(body).unwrap();
        assert_eq!(leaf_hash(&decoded.encode()), leaf_hash(body));
    }
    // What is erased shows as such; other accounts are as they were.
    let shown = stage.operator.get(&account).await.json(200);
    assert_eq!((&shown["name"], &shown["external_ref"]), (&json!(ERASED), &Value::Null));
    let keys = stage.operator.get(&format!("{account}/keys?state=all")).await.json(200);
    assert_eq!(keys["items"][0]["name"], ERASED);
    assert_eq!(keys["items"][0]["id"], key["key"]["id"]);
    let statement = format!("{account}/statement?from=2026-01-01&to=2100-01-01");
    let statement = stage.operator.get(&statement).await.text;
    assert!(statement.contains(ERASED) && !statement.contains(MARK), "{statement}");
    let raw = stage.operator.get(&format!("{account}/events?limit=200")).await.text;
    assert!(raw.contains(SEALED) && !raw.contains(MARK));
    assert_eq!(stage.operator.get(&other).await.json(200)["name"], "Acme");
    // Somebody who still looks is not named, and nobody is from now on.
    let late = json!({"name": format!("Late {MARK}")});
    stage
        .operator
        .post(&format!("{account}/portal-sessions"), late)
        .await
        .json(201);
    assert_eq!(tables_with(&stage.harness, MARK).await, Vec::<String>::new());
    // Snapshots of whoever had it in memory do not come back.
    copies_do_not_come_back(&stage, account_of(&account)).await;
    for (view, checked) in check_views(stage.harness.owner_url(), &View::ALL, |_, _| {})
        .await
        .unwrap()
    {
        assert_eq!(checked.unwrap().first, None, "{view}");
    }
}

async fn copies_do_not_come_back(stage: &Stage, account: AccountId) {
    let snapshot = Snapshot {
        account,
        seq: Seq(2),
        position: Position(2),
        state: MARK.into(),
    };
    stage.harness.log().keep_snapshot(&snapshot, 0).await.unwrap();
    assert_eq!(tables_with(&stage.harness, MARK).await, Vec::<String>::new());
}

#[tokio::test]
async fn names_are_on_the_pages_until_they_are_erased_and_in_no_event() {
    let stage = Stage::open().await;
    let (account, _) = named(&stage).await;
    let ada = Browser::inside(&stage, &account).await;
    for body in bytes(&stage).await {
        assert!(!String::from_utf8_lossy(&body).contains(MARK));
    }
    let shown = ada.page("/portal/activity?kind=every").await;
    assert!(
        shown.contains("s desk") && shown.contains(&format!("{MARK}.0/24")),
        "{shown}"
    );
    close(&stage, &account).await;
    stage
        .operator
        .delete(&format!("{account}/personal-data"))
        .await
        .json(200);
    let shown = ada.page("/portal/activity?kind=every").await;
    assert!(shown.contains(ERASED) && !shown.contains(MARK), "{shown}");
    assert!(shown.contains("erased the names of this account"));
    let keys = ada.page("/portal/keys").await;
    assert!(keys.contains(ERASED) && !keys.contains(MARK), "{keys}");
}

#[tokio::test]
async fn only_a_closed_account_is_erased_and_once() {
    let stage = Stage::open().await;
    let (account, _) = named(&stage).await;
    let path = format!("{account}/personal-data");
    assert_eq!(stage.operator.delete(&path).await.problem(409), "account-open");
    let nobody = stage.operator.delete("/v1/accounts/acct_1/personal-data").await;
    assert_eq!(nobody.problem(404), "unknown-account");
    let auditor = stage.client(keyledger::tokens::Role::Auditor).await;
    assert_eq!(auditor.delete(&path).await.problem(403), "forbidden");
    let open = stage.operator.get(&account).await.json(200);
    assert!(open["name"].as_str().unwrap().contains(MARK), "nothing has changed");
    close(&stage, &account).await;
    let first = stage.operator.delete(&path).await.json(200);
    let again = stage.operator.delete(&path).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.json(200)["erased_at"], first["erased_at"]);
    let log = whole_log(&stage.harness.log()).await;
    let many = log
        .iter()
        .filter(|one| matches!(one.event, Event::PersonalDataErased(_)));
    assert_eq!(many.count(), 1);
}

#[tokio::test]
async fn an_erasure_whose_process_died_is_finished_by_the_same_request_in_another() {
    let stage = Stage::open().await;
    let (account, _) = named(&stage).await;
    close(&stage, &account).await;
    // It got as far as the key.
    let log = stage.harness.log();
    log.destroy_data_key(account_of(&account), keyledger::clock::now())
        .await
        .unwrap();
    let other = Stage::on(stage.harness.another(), true).await;
    let there = Client::new(other.address, Some(stage.operator_token.1.clone()));
    there.delete(&format!("{account}/personal-data")).await.json(200);
    assert_eq!(tables_with(&stage.harness, MARK).await, Vec::<String>::new());
    // Who had the account in memory tells nothing of it either.
    let key = json!({"name": "New"});
    let refused = stage.operator.post(&format!("{account}/keys"), key).await;
    assert_eq!(refused.problem(409), "account-closed");
    until("both show it", async || {
        let shown = stage.operator.get(&account).await.json(200);
        shown["name"] == ERASED
    })
    .await;
}

#[tokio::test]
async fn what_stands_in_the_log_in_the_clear_is_read_and_is_told_of() {
    let harness = Harness::start().await;
    let account = AccountId::from_parts(1, 7);
    let opened = keyledger_events::AccountOpened {
        name: keyledger_events::AccountName::parse("Old & Clear").unwrap(),
        external_ref: None,
        credit_limit: keyledger_events::Credits::ZERO,
    };
    append(&harness, account, vec![opened.into()]).await;
    let stage = Stage::on(harness, true).await;
    let path = format!("/v1/accounts/{account}");
    until("the view has it", async || {
        stage.operator.get(&path).await.status == 200
    })
    .await;
    assert_eq!(stage.operator.get(&path).await.json(200)["name"], "Old & Clear");
    // What is new is sealed there too.
    let made = stage
        .operator
        .post(&format!("{path}/keys"), json!({"name": MARK}))
        .await
        .json(201);
    assert_eq!(made["key"]["name"], MARK);
    assert!(
        !bytes(&stage)
            .await
            .iter()
            .any(|body| String::from_utf8_lossy(body).contains(MARK))
    );
    close(&stage, &path).await;
    let erased = stage.operator.delete(&format!("{path}/personal-data")).await.json(200);
    assert_eq!(erased["in_clear"], true);
    assert_eq!(stage.operator.get(&path).await.json(200)["name"], ERASED);
    for (view, checked) in check_views(stage.harness.owner_url(), &View::ALL, |_, _| {})
        .await
        .unwrap()
    {
        assert_eq!(checked.unwrap().first, None, "{view}");
    }
}

/// The race: two processes make the first data key of one account.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_seal_with_one_key() {
    let harness = Harness::start().await;
    let account = AccountId::from_parts(1, 8);
    let opened = keyledger_events::AccountOpened {
        name: keyledger_events::AccountName::parse("Old").unwrap(),
        external_ref: None,
        credit_limit: keyledger_events::Credits::ZERO,
    };
    append(&harness, account, vec![opened.into()]).await;
    let one = Stage::on(harness.another(), true).await;
    let two = Stage::on(harness.another(), true).await;
    let path = format!("/v1/accounts/{account}/keys");
    let mut made = Vec::new();
    for n in 0..10 {
        let ask = async |stage: &Stage, who: &str| {
            let answer = stage.operator.post(&path, json!({"name": format!("{who} {n}")})).await;
            id_of(&answer.json(201)["key"]).to_owned()
        };
        let (first, second) = tokio::join!(ask(&one, "one"), ask(&two, "two"));
        made.push((first, format!("one {n}")));
        made.push((second, format!("two {n}")));
    }
    let log = whole_log(&harness.log()).await;
    for (key, name) in made {
        let key: KeyId = key.parse().unwrap();
        let found = log
            .iter()
            .any(|recorded| matches!(&recorded.event, Event::KeyCreated(e) if e.key == key && e.name.as_str() == name));
        assert!(found, "{name} can be read");
    }
    let renamed = KeyRenamed {
        key: KeyId::from_parts(1, 1),
        name: KeyName::parse(MARK).unwrap(),
    };
    assert!(Event::from(renamed).part().is_some());
}
