//! No key text anywhere but in the creating response.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::client::Client;
use super::dev::Dev;

/// Every file below a folder that holds these bytes.
fn files_with(folder: &Path, needle: &[u8], found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(kind) = fs::symlink_metadata(&path).map(|metadata| metadata.file_type()) else {
            continue;
        };
        if kind.is_dir() {
            files_with(&path, needle, found);
        } else if kind.is_file() {
            // Postgres may remove a file between the listing and the reading.
            let bytes = fs::read(&path).unwrap_or_default();
            if bytes.windows(needle.len()).any(|window| window == needle) {
                found.push(path.display().to_string());
            }
        }
    }
}

#[tokio::test]
async fn a_keys_text_is_nowhere_but_in_the_creating_response() {
    let dev = Dev::start().await;
    let operator = Client::new(&dev.api(), &dev.text("/operator_token"));
    let account = dev.text("/demo/account");
    let keys = format!("/v1/accounts/{account}/keys");
    let made = operator.post(&keys, json!({ "name": "Looker Studio" })).await;
    let secret = made.text("/secret");
    assert_eq!(made.headers["cache-control"], "no-store");
    // Used in every way there is, right and wrong.
    let client = Client::new(&dev.gateway(), &secret);
    assert_eq!(client.get("/serp?q=rust").await.status, 200);
    assert_eq!(client.get("/serp?fail=500").await.status, 500);
    assert_eq!(client.get("/nothing-here").await.status, 404);
    assert_eq!(client.get(&format!("/{secret}?key={secret}")).await.status, 404);
    let reserve = json!({ "secret": secret, "endpoint": "serp" });
    assert_eq!(operator.post("/v1/reservations", reserve).await.status, 201);
    for wrong in [
        json!({ "secret": secret, "endpoint": "unknown" }),
        json!({ "secret": secret }),
        json!({ "secret": format!("{secret}x"), "endpoint": "serp" }),
        json!({ "name": "x", "secret": secret }),
    ] {
        let refused = operator.post("/v1/reservations", wrong).await;
        assert!(refused.status.is_client_error());
        assert!(!refused.json.to_string().contains(&secret), "a refusal repeats the key");
    }
    let _ = Client::new(&dev.api(), &secret).get(&keys).await;
    operator.delete(&format!("{keys}/{}", made.text("/key/id"))).await;
    assert_eq!(client.get("/serp?q=rust").await.status, 401);

    let random_part = &secret["sk_live_".len() + 3..];
    for path in [
        "/metrics",
        "/openapi.json",
        "/readyz",
        &format!("{keys}?state=all"),
        &format!("/v1/accounts/{account}/events"),
    ] {
        let shown = operator.get_text(path).await;
        assert!(!shown.contains(random_part), "{path} shows it");
    }
    let mut database = PgConnection::connect(&dev.text("/postgres")).await.unwrap();
    sqlx::query("checkpoint").execute(&mut database).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&mut database)
    .await
    .unwrap();
    assert!(tables.len() > 5);
    for table in tables {
        let query = format!(
            "select count(*) from {table} t where t::text like '%{random_part}%' or t::text like '%' || encode('{random_part}', 'hex') || '%'"
        );
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_one(&mut database)
            .await
            .unwrap();
        assert_eq!(rows, 0, "{table} holds it");
    }
    drop(database);
    dev.stop().await;
    // Data files, write-ahead log, the stream's store, the logs at `trace`.
    let mut found = Vec::new();
    files_with(dev.data_dir(), random_part.as_bytes(), &mut found);
    assert_eq!(found, Vec::<String>::new());
    let log = fs::read_to_string(dev.log()).unwrap();
    assert!(log.contains("TRACE"), "the log was as talkative as it can be");
    assert!(!log.contains(random_part), "a log line holds it");
    assert!(!log.contains("duration_ms"), "access lines are in their own log");
    let access = dev.access_log();
    assert!(!access.contains(random_part) && !access.contains("q=rust"), "{access}");
    let lines: Vec<Value> = access.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen = |status: u64, path: &str| {
        lines
            .iter()
            .find(|line| line["status"] == status && line["path"] == path)
    };
    let charged = seen(200, "/serp").unwrap();
    assert_eq!(
        (&charged["outcome"], &charged["charged"]),
        (&json!("charged"), &json!("0.5"))
    );
    assert_eq!(
        (&charged["account"], &charged["key"]),
        (&json!(account), &made.json["key"]["id"])
    );
    assert_eq!(
        (&charged["method"], &charged["endpoint"]),
        (&json!("GET"), &json!("serp"))
    );
    assert!(charged["bytes"].as_u64().unwrap() > 100 && charged["duration_ms"].is_u64());
    for id in ["request", "trace", "reservation", "timestamp"] {
        assert!(charged[id].as_str().unwrap().len() >= 20, "{id}");
    }
    let refused = seen(401, "/serp").unwrap();
    assert_eq!(
        (&refused["outcome"], &refused["key"]),
        (&json!("key-deleted"), &Value::Null)
    );
    assert!(seen(404, "/[key]").is_some());
    assert_eq!(lines.len(), 5);
}
