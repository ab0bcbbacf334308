//! Statements on the Credits page: a month each, as files.

use keyledger::clock;
use keyledger::statements::Month;
use serde_json::json;

use super::browser::{Browser, invite};
use super::credits::charge_key;
use crate::http::stage::{Stage, secret_of};

#[tokio::test]
async fn each_month_since_the_account_was_opened_has_its_statement() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("10").await;
    let position = charge_key(&stage, &account, secret_of(&made), "serp").await;
    let ada = Browser::inside(&stage, &account).await;
    let page = ada.page(&format!("/portal/credits?after={position}")).await;
    let month = Month::of(clock::now());
    for part in [
        "action=\"credits/statement.csv\"",
        "formaction=\"credits/statement.parquet\"",
        &format!("<option value=\"{month}\">"),
        ", so far</option>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let file = ada.get(&format!("/portal/credits/statement.csv?month={month}")).await;
    assert_eq!(
        (file.status.as_u16(), file.header("content-type")),
        (200, "text/csv; charset=utf-8")
    );
    let name = format!("attachment; filename=\"statement-{month}.csv\"");
    assert_eq!(file.header("content-disposition"), name);
    let of_api = stage
        .operator
        .get(&format!("{account}/statement?month={month}&format=csv"))
        .await;
    assert_eq!(file.text, of_api.text);
    assert!(
        file.text.contains("\"charge\"") && file.text.contains("\"Looker Studio\""),
        "{}",
        file.text
    );
    let parquet = format!("/portal/credits/statement.parquet?month={month}");
    let (headers, bytes) = stage
        .stranger()
        .download_with(&parquet, &[("cookie", &ada.cookie)])
        .await;
    assert_eq!(headers["content-type"], "application/vnd.apache.parquet");
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    let before = month.before();
    let past = ada.get(&format!("/portal/credits/statement.csv?month={before}")).await;
    let kinds: Vec<&str> = past.text.lines().filter_map(|line| line.split(',').nth(1)).collect();
    assert_eq!(kinds, ["\"type\"", "\"opening\"", "\"closing\""]);
}

#[tokio::test]
async fn a_statement_is_for_those_who_may_look_and_for_months_alone() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let other = stage.account().await;
    let month = Month::of(clock::now());
    let mut auditor = Browser::new(&stage);
    auditor
        .open(&invite(&stage, &account, json!({"read_only": true})).await)
        .await;
    let neighbour = Browser::inside(&stage, &other).await;
    for ending in ["csv", "parquet"] {
        let path = format!("/portal/credits/statement.{ending}");
        let of_month = format!("{path}?month={month}");
        assert_eq!(Browser::new(&stage).get(&of_month).await.status, 401);
        for query in [
            "",
            "?month=2026-13",
            "?month=",
            "?month=2026-11&month=2026-10",
            "?from=2026-11-01",
        ] {
            assert_eq!(
                auditor.get(&format!("{path}{query}")).await.status,
                404,
                "{path}{query}"
            );
        }
    }
    let of_month = format!("/portal/credits/statement.csv?month={month}");
    assert!(auditor.page(&of_month).await.contains("\"grant\""));
    assert!(
        !neighbour.page(&of_month).await.contains("\"grant\""),
        "another account's is never seen"
    );
}
