//! What the key list says of each key's last thirty days.

use serde_json::json;
use sqlx::Connection as _;

use super::browser::{Browser, value_after};
use super::credits::charge_key;
use crate::harness::until;
use crate::http::stage::{Stage, id_of, secret_of};

#[tokio::test]
async fn the_list_shows_what_each_key_was_used_for() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let other = json!({"name": "Never used"});
    stage.operator.post(&format!("{account}/keys"), other).await.json(201);
    for _ in 0..3 {
        charge_key(&stage, &account, secret_of(&made), "serp").await;
    }
    let ada = Browser::inside(&stage, &account).await;
    let key = id_of(&made["key"]);
    let row = async |id: &str| {
        let list = ada.page("/portal/keys").await;
        let (_, row) = list.split_once(&format!("<tr role=\"row\" id=\"{id}\">")).unwrap();
        row.split("</tr>").next().unwrap().to_owned()
    };
    until("the curve is there", async || {
        row(key).await.contains("<title>Used on 1 of the last 30 days")
    })
    .await;
    let used = row(key).await;
    assert!(
        used.contains("<span>3</span>")
            && used.contains(">1.5<span class=\"off\"> credits: the charges of Looker Studio")
    );
    // The way to its charges.
    let charges = value_after(&used, "Credits, 30 days", "href").to_owned();
    let charges = charges.split('#').next().unwrap();
    until("its charges are listed", async || {
        ada.page(&format!("/portal/{charges}"))
            .await
            .matches("data-clock")
            .count()
            == 3
    })
    .await;
    let list = ada.page("/portal/keys").await;
    assert_eq!(
        list.matches("class=\"spark\"").count(),
        1,
        "a key that was not used has no curve"
    );
}

#[tokio::test]
async fn a_key_that_many_networks_use_is_hinted_at() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let ada = Browser::inside(&stage, &account).await;
    let networks = async |from: u8, to: u8| {
        let mut owner = stage.harness.owner().await;
        sqlx::query(
            "insert into views.key_networks (account_id, key_id, network, last_used_at)
             select account_id, key_id, '203.0.' || n || '.0/24', now() from views.key_list, generate_series($1, $2) n",
        )
        .bind(i32::from(from))
        .bind(i32::from(to))
        .execute(&mut owner)
        .await
        .unwrap();
        owner.close().await.unwrap();
        ada.page("/portal/keys").await
    };
    let few = networks(1, 4).await;
    assert!(few.contains(id_of(&made["key"])) && !few.contains("networks in 30 days"));
    let many = networks(5, 6).await;
    assert!(many.contains("Used from 6 networks in 30 days. Use a separate key for each integration."));
}
