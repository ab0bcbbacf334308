//! Bodies: no JSON, another kind, another size, another shape.

use http::Method;

use super::{Bad, bad, none_of_it_is_taken, post};

#[tokio::test]
async fn bodies_that_are_no_json() {
    none_of_it_is_taken(|world| {
        let path = format!("{}/grants", world.account);
        let texts = [
            "",
            "{",
            r#"{"amount":"1","source":"plan""#,
            r#"{"amount":"1","source":"plan"} x"#,
            r#"{"amount":"1","source":"plan"}{"amount":"1","source":"plan"}"#,
            "\u{FEFF}{\"amount\":\"1\",\"source\":\"plan\"}",
            r#"{"amount":"1",/* one */"source":"plan"}"#,
            "{'amount':'1','source':'plan'}",
            r#"{"amount":NaN,"source":"plan"}"#,
            r#"{"amount":01,"source":"plan"}"#,
            r#"{"amount":+1,"source":"plan"}"#,
            r#"{"amount":0x10,"source":"plan"}"#,
            r#"{"amount":"1","source":"plan","reference":"\ud800"}"#,
        ];
        let mut table: Vec<Bad> = texts
            .iter()
            .map(|text| post(&path, *text, 400, "invalid-json"))
            .collect();
        for bytes in [
            &b"{\"amount\":\"\xff\"}"[..],
            b"{\"amount\":\"\xc0\xaf\"}",
            b"\xff\xfe{\x00}\x00",
        ] {
            table.push(post(&path, bytes, 400, "invalid-json"));
        }
        table
    })
    .await;
}

#[tokio::test]
async fn bodies_of_another_kind_or_size() {
    none_of_it_is_taken(|world| {
        let path = format!("{}/grants", world.account);
        let body = r#"{"amount":"1","source":"plan"}"#;
        let with = |header: &str, value: &str| Bad {
            body: body.into(),
            ..bad(Method::POST, &path, 415, "unsupported-media-type").header(header, value)
        };
        let huge = format!(
            r#"{{"amount":"1","source":"plan","reference":"{}"}}"#,
            "x".repeat(1 << 20)
        );
        vec![
            with("accept", "*/*"),
            with("content-type", "text/plain"),
            with("content-type", "application/json; charset=utf-16"),
            with("content-type", "application/x-www-form-urlencoded"),
            with("content-type", "application/json").header("content-type", "application/json"),
            with("content-type", "application/json").header("content-encoding", "gzip"),
            post(&path, huge, 413, "body-too-large"),
        ]
    })
    .await;
}

#[tokio::test]
async fn bodies_that_say_something_else() {
    none_of_it_is_taken(|world| {
        let path = format!("{}/grants", world.account);
        let mut table = Vec::new();
        for text in ["null", "[]", r#""x""#, "1", "true"] {
            table.push(post(&path, text, 422, "invalid-body"));
        }
        let deep = format!(
            r#"{{"amount":"1","source":{}{}}}"#,
            "[".repeat(10_000),
            "]".repeat(10_000)
        );
        let wide = format!(r#"{{"amount":"1","source":[{}1]}}"#, "1,".repeat(100_000));
        let many: Vec<String> = (0..50_000).map(|n| format!("\"k{n}\":1")).collect();
        table.push(post(&path, format!("{{{}}}", many.join(",")), 422, "invalid-body"));
        for (body, field) in [
            (r#"{"amount":"1"}"#, "source"),
            (r#"{"source":"plan"}"#, "amount"),
            (r#"{"amount":"1","source":"gift"}"#, "source"),
            (r#"{"amount":"1","source":1}"#, "source"),
            (r#"{"amount":"1","source":{"plan":null}}"#, "source"),
            (&deep, "source"),
            (&wide, "source"),
            (r#"{"amount":"1","source":"plan","__proto__":{}}"#, "__proto__"),
            (r#"{"amount":"1","source":"plan","tenant_id":"x"}"#, "tenant_id"),
            (r#"{"amount":"1","source":"plan","source":"plan"}"#, "source"),
            (r#"{"amount":"1","source":"plan","priority":3000000000}"#, "priority"),
            (r#"{"amount":"1","source":"plan","priority":1.5}"#, "priority"),
            (r#"{"amount":"1","source":"plan","priority":"1"}"#, "priority"),
            (r#"{"amount":"1","source":"plan","reference":""}"#, "reference"),
            (r#"{"amount":"1","source":"plan","reference":"a\u0000b"}"#, "reference"),
            (r#"{"amount":"1","source":"plan","reference":"a\nb"}"#, "reference"),
            (r#"{"amount":"1","source":"plan","expires_at":"soon"}"#, "expires_at"),
            (
                r#"{"amount":"1","source":"plan","expires_at":"2099-06-30T23:59:60Z"}"#,
                "expires_at",
            ),
            (
                r#"{"amount":"1","source":"plan","expires_at":"10000-01-01T00:00:00Z"}"#,
                "expires_at",
            ),
            (
                r#"{"amount":"1","source":"plan","expires_at":"1969-12-31T00:00:00Z"}"#,
                "expires_at",
            ),
            (
                r#"{"amount":"1","source":"plan","expires_at":"2099-01-01T24:00:00Z"}"#,
                "expires_at",
            ),
            (
                r#"{"amount":"1","source":"plan","expires_at":"2099-01-01T10:00:00"}"#,
                "expires_at",
            ),
            (
                r#"{"amount":"1","source":"plan","expires_at":4070908800}"#,
                "expires_at",
            ),
        ] {
            table.push(post(&path, body, 422, "invalid-body").field(field));
        }
        let long = format!(r#"{{"amount":"1","source":"plan","reference":"{}"}}"#, "é".repeat(129));
        table.push(post(&path, long, 422, "invalid-body").field("reference"));
        let past = r#"{"amount":"1","source":"plan","expires_at":"2020-01-01T00:00:00Z"}"#;
        table.push(post(&path, past, 422, "in-the-past").field("expires_at"));
        table
    })
    .await;
}
