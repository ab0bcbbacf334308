//! Addresses: ids, queries, cursors, paths, methods.

use http::Method;
use serde_json::json;

use super::{bad, get, none_of_it_is_taken, post, world};
use crate::http::stage::Stage;

#[tokio::test]
async fn ids_that_nobody_has_and_that_nobody_can_have() {
    none_of_it_is_taken(|world| {
        let unknown = "01JDE5Z8W4M3X7Q2V9T6R1K0PA";
        let mut ids = vec![
            unknown.to_owned(),
            unknown.to_lowercase(),
            "1".to_owned(),
            "x".repeat(10 << 10),
        ];
        ids.extend(
            [
                "..%2f..%2fetc",
                "%00",
                "%ff",
                "'%20or%201=1--",
                "00000000-0000-0000-0000-000000000000",
            ]
            .map(str::to_owned),
        );
        ids.push(format!("{unknown}%20"));
        let mut table = Vec::new();
        for id in ids {
            // Bytes that are no UTF-8 name nothing at all.
            let code = |code| if id == "%ff" { "not-found" } else { code };
            for rest in [
                "",
                "/keys",
                "/grants",
                "/balance",
                "/reservations",
                "/charges",
                "/usage",
                "/statement",
                "/events",
            ] {
                let path = format!("/v1/accounts/acct_{id}{rest}");
                table.push(get(path, 404, code("unknown-account")));
            }
            let grant = r#"{"amount":"1","source":"plan"}"#;
            table.push(post(
                &format!("/v1/accounts/acct_{id}/grants"),
                grant,
                404,
                code("unknown-account"),
            ));
            let name = r#"{"name":"x"}"#;
            table.push(post(
                &format!("/v1/accounts/acct_{id}/keys"),
                name,
                404,
                code("unknown-account"),
            ));
            let key = format!("{}/keys/key_{id}", world.account);
            table.push(bad(Method::DELETE, &key, 404, code("unknown-key")));
            table.push(get(format!("{key}/history"), 404, code("unknown-key")));
            let reservation = format!("{}/reservations/rsv_{id}", world.account);
            table.push(get(&reservation, 404, code("unknown-reservation")));
            table.push(post(
                &format!("{reservation}/charge"),
                "{}",
                404,
                code("unknown-reservation"),
            ));
        }
        // Another account's own things are as unknown.
        let other = &world.other_account;
        table.push(bad(
            Method::DELETE,
            format!("{other}/keys/{}", world.key_id),
            404,
            "unknown-key",
        ));
        table.push(get(
            format!("{other}/keys/{}/history", world.key_id),
            404,
            "unknown-key",
        ));
        let settle = format!("{other}/reservations/{}/charge", world.reservation);
        table.push(post(&settle, "{}", 404, "unknown-reservation"));
        table
    })
    .await;
}

#[tokio::test]
async fn malformed_and_unknown_ids_have_the_same_answer() {
    let stage = Stage::open().await;
    let world = world(&stage).await;
    for (malformed, unknown) in [
        (
            "/v1/accounts/x".to_owned(),
            "/v1/accounts/acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA".to_owned(),
        ),
        (
            format!("{}/keys/x/history", world.account),
            format!("{}/keys/key_01JDE5Z8W4M3X7Q2V9T6R1K0PA/history", world.account),
        ),
        (
            format!("{}/reservations/x", world.account),
            format!("{}/reservations/rsv_01JDE5Z8W4M3X7Q2V9T6R1K0PA", world.account),
        ),
    ] {
        assert_eq!(
            stage.operator.get(&malformed).await.text,
            stage.operator.get(&unknown).await.text
        );
    }
    let unknown = "/v1/accounts/acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA/grants";
    let grant = json!({"amount": "1", "source": "plan"});
    let by_rule = stage.operator.post(unknown, grant).await.text;
    assert_eq!(by_rule, stage.operator.get(unknown).await.text);
}

#[tokio::test]
async fn queries_that_are_none() {
    none_of_it_is_taken(|world| {
        let account = &world.account;
        let mut table = Vec::new();
        for list in ["keys", "grants", "reservations", "charges", "events"] {
            let path = format!("{account}/{list}");
            for limit in ["0", "-1", "1000000000", "201", "abc", "", "1.5", "+5"] {
                let path = format!("{path}?limit={limit}");
                table.push(get(path, 422, "invalid-query").field("limit"));
            }
            table.push(get(format!("{path}?limit=1&limit=1"), 422, "invalid-query").field("limit"));
            table.push(get(format!("{path}?order=asc"), 422, "invalid-query").field("order"));
            for cursor in ["", "x", "AAAA", "%00", "MTIzNDU2Nzg5MA", &"A".repeat(2_000)] {
                table.push(get(format!("{path}?cursor={cursor}"), 400, "bad-cursor").field("cursor"));
            }
            for after in [
                "",
                "-1",
                "abc",
                "812",
                "0:-1",
                "0:18446744073709551616",
                "0:",
                "1:1",
                "0:1:1",
                "%00",
            ] {
                table.push(get(format!("{path}?after={after}"), 400, "bad-position").field("after"));
            }
        }
        table.push(get(format!("{account}/keys?state=deleted"), 422, "invalid-query").field("state"));
        table.push(
            bad(
                Method::DELETE,
                format!("{}?reason=rotated", world.key),
                422,
                "invalid-query",
            )
            .field("reason"),
        );
        table.push(bad(Method::DELETE, format!("{}?why=x", world.key), 422, "invalid-query").field("why"));
        for (query, field) in [
            ("from=yesterday", "from"),
            ("to=2026-11-24", "to"),
            ("from=2026-11-24T00:00:00Z&to=2026-11-24T00:00:00Z", "to"),
            ("from=2020-01-01T00:00:00Z", "from"),
            ("by=hour&from=2026-10-01T00:00:00Z&to=2026-11-01T00:00:00Z", "from"),
            ("by=account", "by"),
            ("by=day&step=hour", "step"),
            ("by=key&step=minute", "step"),
            ("limit=1", "limit"),
        ] {
            table.push(get(format!("{account}/usage?{query}"), 422, "invalid-query").field(field));
        }
        for (query, field) in [
            ("from=yesterday", "from"),
            ("from=2026-02-30", "from"),
            ("to=2026-11", "to"),
            ("to=", "to"),
            ("from=2026-11-24&to=2026-11-24", "to"),
            ("from=2026-11-24&to=2026-11-23T23:59:59Z", "to"),
            ("from=9999-01-01", "from"),
            ("to=1970-01-01", "to"),
            ("month=2026-13", "month"),
            ("month=2026", "month"),
            ("month=2026-11&from=2026-11-01", "month"),
            ("month=2026-11&month=2026-10", "month"),
            ("format=xlsx", "format"),
            ("format=CSV", "format"),
            ("lines=0", "lines"),
            ("lines=false&format=csv", "lines"),
            ("limit=1", "limit"),
        ] {
            table.push(get(format!("{account}/statement?{query}"), 422, "invalid-query").field(field));
        }
        for of in ["usage", "statement"] {
            table.push(get(format!("{account}/{of}?after=1:1"), 400, "bad-position").field("after"));
        }
        table.push(get(format!("{account}/statement?after=0:999999"), 503, "view-behind"));
        for (query, field) in [
            ("key=1", "key"),
            ("key=acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA", "key"),
            ("endpoint=", "endpoint"),
            ("from=x", "from"),
            ("from=2026-11-24T00:00:00Z&to=2026-11-23T00:00:00Z", "to"),
        ] {
            table.push(get(format!("{account}/charges?{query}"), 422, "invalid-query").field(field));
        }
        for text in ["", "%00", "%20", &"x".repeat(81)] {
            table.push(get(format!("{account}/keys?name={text}"), 422, "invalid-query").field("name"));
            table.push(get(format!("/v1/accounts?search={text}"), 422, "invalid-query").field("search"));
        }
        table.push(get("/v1/events?from=0", 422, "invalid-query").field("from"));
        table.push(get("/v1/events?from=-1", 422, "invalid-query").field("from"));
        table.push(get("/v1/events?from=9223372036854775808", 422, "invalid-query").field("from"));
        table.push(get("/v1/events?shard=1", 404, "not-found"));
        table.push(get("/v1/events?shard=70000", 422, "invalid-query").field("shard"));
        table
    })
    .await;
}

#[tokio::test]
async fn a_cursor_is_good_for_its_own_list_only() {
    let stage = Stage::open().await;
    let world = world(&stage).await;
    let page = stage
        .operator
        .get(&format!("{}/events?limit=1", world.account))
        .await
        .json(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    for path in [format!("{}/events", world.other_account), "/v1/events".to_owned()] {
        let answer = stage.operator.get(&format!("{path}?cursor={cursor}")).await;
        assert_eq!(answer.problem(400), "bad-cursor");
    }
}

#[tokio::test]
async fn addresses_and_methods_that_are_none() {
    none_of_it_is_taken(|world| {
        let mut table = Vec::new();
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v0/accounts",
            "/v1/accounts/",
            "/v1/../admin",
            "//v1/accounts",
            "/debug",
            "/v1/accounts/%2e%2e/%2e%2e/etc",
        ] {
            table.push(get(path, 404, "not-found"));
        }
        for (method, path) in [
            (Method::PUT, "/v1/accounts".to_owned()),
            (Method::TRACE, "/v1/accounts".to_owned()),
            (Method::OPTIONS, "/v1/accounts".to_owned()),
            ("FOO".parse().unwrap(), "/v1/accounts".to_owned()),
            (Method::DELETE, world.account.clone()),
            (Method::POST, "/healthz".to_owned()),
            (Method::POST, "/v1/prices".to_owned()),
            (Method::GET, "/v1/charges".to_owned()),
        ] {
            table.push(bad(method, path, 405, "method-not-allowed"));
        }
        table
    })
    .await;
    let stage = Stage::open().await;
    let answer = stage.operator.send(Method::PUT, "/v1/accounts", &[], "").await;
    let mut allowed: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
}
