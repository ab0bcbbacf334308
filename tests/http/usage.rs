//! Use over time, and lists that are looked through: by key, endpoint, time, name.

use serde_json::{Value, json};

use super::stage::{Stage, id_of, secret_of};

/// Charges the key once for `serp` and the dashboard once for two `echo`; where the log then stands.
async fn busy(stage: &Stage, account: &str, secret: &str) -> String {
    let reserve = json!({"secret": secret, "endpoint": "serp"});
    let held = stage.operator.post("/v1/reservations", reserve).await.json(201);
    let charge = format!("{account}/reservations/{}/charge", id_of(&held));
    stage.operator.post(&charge, json!({})).await.json(200);
    let id = account.rsplit('/').next().unwrap();
    let charge = json!({"account": id, "endpoint": "echo", "quantity": 2});
    let charged = stage.operator.post("/v1/charges", charge).await;
    let position = charged.position().to_owned();
    charged.json(201);
    position
}

fn items(list: &Value) -> &Vec<Value> {
    list["items"].as_array().unwrap()
}

#[tokio::test]
async fn use_is_shown_in_all_by_endpoint_and_by_key() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let position = busy(&stage, &account, secret_of(&made)).await;
    let usage = async |query: &str| {
        let path = format!("{account}/usage?after={position}{query}");
        stage.operator.get(&path).await.json(200)
    };
    let sum = |body: &Value, member: &str| {
        items(body)
            .iter()
            .map(|item| item[member].as_u64().unwrap())
            .sum::<u64>()
    };
    let all = usage("").await;
    assert_eq!(
        (&all["step"], sum(&all, "uses"), sum(&all, "quantity")),
        (&json!("day"), 2, 3)
    );
    assert_eq!(usage("&by=hour").await["step"], "hour");
    let endpoints = usage("&by=endpoint&step=hour").await;
    let serp = items(&endpoints)
        .iter()
        .find(|item| item["endpoint"] == "serp")
        .unwrap();
    assert_eq!((&serp["of"], &serp["charged"]), (&json!("endpoint"), &json!("0.5")));
    assert_eq!(serp["released"]["client-gone"], 0);
    let keys = usage("&by=key").await;
    let key = items(&keys).iter().find(|item| item["of"] == "key").unwrap();
    assert_eq!(key["key"], made["key"]["id"]);
    let dashboard = items(&keys).iter().find(|item| item["of"] == "dashboard").unwrap();
    assert_eq!((&dashboard["charged"], &dashboard["key"]), (&json!("1"), &Value::Null));
    let past = usage("&from=2020-01-01T00:00:00Z&to=2020-01-03T00:00:00Z").await;
    assert_eq!(
        (items(&past).len(), &past["to"]),
        (0, &json!("2020-01-03T00:00:00.000000Z"))
    );
}

#[tokio::test]
async fn billing_lines_are_found_by_key_endpoint_and_time() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let mut position = String::new();
    for _ in 0..3 {
        position = busy(&stage, &account, secret_of(&made)).await;
    }
    let found = async |query: &str| {
        let path = format!("{account}/charges?after={position}{query}");
        stage.operator.get(&path).await.json(200)
    };
    let all = found("").await;
    assert_eq!(items(&all).len(), 6);
    let key = id_of(&made["key"]);
    let by_key = found(&format!("&key={key}")).await;
    assert!(items(&by_key).len() == 3 && items(&by_key).iter().all(|line| line["key"] == key));
    let by_endpoint = found("&endpoint=echo").await;
    assert!(items(&by_endpoint).len() == 3 && items(&by_endpoint).iter().all(|line| line["endpoint"] == "echo"));
    assert_eq!(items(&found(&format!("&key={key}&endpoint=echo")).await).len(), 0);
    let third = items(&all)[3]["charged_at"].as_str().unwrap();
    assert_eq!(items(&found(&format!("&to={third}")).await).len(), 2);
    assert_eq!(items(&found(&format!("&from={third}")).await).len(), 4);
    assert_eq!(items(&found(&format!("&from={third}&endpoint=echo")).await).len(), 2);
    assert_eq!(items(&found("&from=2999-01-01T00:00:00Z").await).len(), 0);
    let first = found("&endpoint=echo&limit=2").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = found(&format!("&endpoint=echo&limit=2&cursor={cursor}")).await;
    assert_eq!((items(&rest).len(), &rest["next_cursor"]), (1, &Value::Null));
    assert_eq!(items(&rest)[0], items(&by_endpoint)[2]);
    let elsewhere = stage.operator.get(&format!("{account}/charges?cursor={cursor}")).await;
    assert_eq!(elsewhere.problem(400), "bad-cursor");
}

#[tokio::test]
async fn keys_are_found_by_a_part_of_their_name() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let mut position = String::new();
    for name in ["Looker Studio", "LOOKER finance", "100% CI", "Café"] {
        let made = stage
            .operator
            .post(&format!("{account}/keys"), json!({"name": name}))
            .await;
        position = made.position().to_owned();
        made.json(201);
    }
    let found = async |name: &str| {
        let path = format!("{account}/keys?after={position}&name={name}");
        items(&stage.operator.get(&path).await.json(200)).len()
    };
    assert_eq!(found("looker").await, 2);
    assert_eq!(found("%25").await, 1, "nothing in a name is a pattern");
    assert_eq!(found("_").await, 0);
    assert_eq!(found("Cafe%CC%81").await, 1, "however it is written");
}

#[tokio::test]
async fn accounts_are_found_by_how_their_name_reference_or_id_begins() {
    let stage = Stage::open().await;
    let mut position = String::new();
    let mut ids = Vec::new();
    for (name, reference) in [("Acme", "crm-1"), ("ACME Labs", "crm-22"), ("Zebra", "acme")] {
        let body = json!({"name": name, "external_ref": reference});
        let opened = stage.operator.post("/v1/accounts", body).await;
        position = opened.position().to_owned();
        ids.push(id_of(&opened.json(201)).to_owned());
    }
    let found = async |text: &str| {
        let path = format!("/v1/accounts?after={position}&search={text}");
        let page = stage.operator.get(&path).await.json(200);
        let mut found: Vec<String> = items(&page).iter().map(|account| id_of(account).to_owned()).collect();
        found.sort();
        found
    };
    let mut all = ids.clone();
    all.sort();
    assert_eq!(found("acme").await, all, "two by name, one by reference");
    assert_eq!(found("crm-2").await, [ids[1].clone()]);
    assert_eq!(found(&ids[2]).await, [ids[2].clone()]);
    assert_eq!(found("acct_").await, Vec::<String>::new());
    assert_eq!(found("me").await, Vec::<String>::new());
}
