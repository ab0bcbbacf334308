//! Values: amounts, names, references, quantities, texts of keys.

use http::Method;
use serde_json::json;

use super::{Bad, none_of_it_is_taken, post, world};
use crate::http::stage::Stage;

#[tokio::test]
async fn amounts_that_are_none() {
    none_of_it_is_taken(|world| {
        let grants = format!("{}/grants", world.account);
        let mut values: Vec<String> = [
            "0", "-1", "-0", "1e3", "NaN", " 1", "1 ", "+1", ".5", "5.", "01", "1,5", "0x10",
        ]
        .iter()
        .map(|text| format!("\"{text}\""))
        .collect();
        for text in [
            "",
            "0.5000001",
            "9000000000.000001",
            "9223372036854775808",
            "18446744073709551616",
            "٣",
        ] {
            values.push(format!("\"{text}\""));
        }
        values.push(format!("\"1{}\"", "0".repeat(30)));
        values.push(format!("\"{}\"", "9".repeat(400)));
        values.extend(["1", "1.5", "1e3", "-1", "true", "null", "[]", "{}", r#""1\u0000""#].map(str::to_owned));
        let mut table = Vec::new();
        for value in values {
            let body = format!(r#"{{"amount":{value},"source":"plan"}}"#);
            table.push(post(&grants, body, 422, "invalid-amount").field("amount"));
        }
        let twice = r#"{"amount":"1","amount":"2","source":"plan"}"#;
        table.push(post(&grants, twice, 422, "invalid-body").field("amount"));
        for limit in ["\"-1\"", "1", "\"1e3\""] {
            let body = format!(r#"{{"name":"x","credit_limit":{limit}}}"#);
            table.push(post("/v1/accounts", body, 422, "invalid-amount").field("credit_limit"));
        }
        // One grant more than an account can hold.
        let most = r#"{"amount":"9000000000","source":"plan"}"#;
        table.push(post(&grants, most, 422, "out-of-range").field("amount"));
        table
    })
    .await;
}

#[tokio::test]
async fn names_that_are_none() {
    none_of_it_is_taken(|world| {
        let keys = format!("{}/keys", world.account);
        let mut names: Vec<String> = [
            "",
            "   ",
            "a\u{0}b",
            "a\nb",
            "a\u{202E}b",
            "a\u{2066}b",
            "a\u{200B}b",
            "a\u{FEFF}b",
        ]
        .map(str::to_owned)
        .to_vec();
        names.extend(["a\u{E0041}b", "a\u{85}b", "a\u{2028}b"].map(str::to_owned));
        names.extend([
            "x".repeat(81),
            "x".repeat(10 << 10),
            format!("a{}", "\u{301}".repeat(1_000)),
        ]);
        let mut table = Vec::new();
        for name in names {
            let body = json!({"name": name}).to_string();
            table.push(post(&keys, body.clone(), 422, "invalid-name").field("name"));
            table.push(post("/v1/accounts", body.clone(), 422, "invalid-name").field("name"));
            table.push(Bad {
                method: Method::PATCH,
                ..post(&world.key, body, 422, "invalid-name").field("name")
            });
        }
        table.push(post(&keys, r#"{"name":5}"#, 422, "invalid-name").field("name"));
        table.push(post(&keys, r#"{"name":"x","environment":"prod"}"#, 422, "invalid-body").field("environment"));
        table.push(post(&keys, r#"{"name":"x","account":"y"}"#, 422, "invalid-body").field("account"));
        let past = r#"{"name":"x","expires_at":"2020-01-01T00:00:00Z"}"#;
        table.push(post(&keys, past, 422, "in-the-past").field("expires_at"));
        table
    })
    .await;
}

#[tokio::test]
async fn reservations_that_cannot_be() {
    none_of_it_is_taken(|world| {
        let path = "/v1/reservations";
        let (secret, account) = (&world.secret, &world.account_id);
        let with = |rest: &str| format!(r#"{{"account":"{account}","endpoint":"serp"{rest}}}"#);
        let mut table = vec![
            post(path, r#"{"endpoint":"serp"}"#, 422, "invalid-body").field("secret"),
            post(
                path,
                format!(r#"{{"secret":"{secret}","account":"{account}","endpoint":"serp"}}"#),
                422,
                "invalid-body",
            )
            .field("account"),
            post(path, format!(r#"{{"account":"{account}"}}"#), 422, "invalid-body").field("endpoint"),
            post(
                path,
                format!(r#"{{"account":"{account}","endpoint":"Nope!"}}"#),
                422,
                "invalid-body",
            )
            .field("endpoint"),
            post(
                path,
                format!(r#"{{"account":"{account}","endpoint":"nope"}}"#),
                404,
                "unknown-endpoint",
            ),
            post(path, r#"{"account":"x","endpoint":"serp"}"#, 422, "invalid-body").field("account"),
            // The text of a key where it does not belong comes back nowhere.
            post(
                path,
                format!(r#"{{"account":"{secret}","endpoint":"serp"}}"#),
                422,
                "invalid-body",
            )
            .field("account"),
            post(
                path,
                format!(r#"{{"account":"{account}","endpoint":"{secret}"}}"#),
                422,
                "invalid-body",
            ),
            post(
                path,
                format!(r#"{{"{secret}":"x","endpoint":"serp"}}"#),
                422,
                "invalid-body",
            ),
            post(path, with(r#","quantity":1000000000"#), 402, "insufficient-credits"),
            post(path, with(r#","quantity":21"#), 402, "insufficient-credits"),
        ];
        for quantity in [
            "0",
            "-1",
            "1.5",
            "1e3",
            "\"1\"",
            "1000000001",
            "18446744073709551616",
            "true",
        ] {
            let body = with(&format!(r#","quantity":{quantity}"#));
            table.push(post(path, body, 422, "invalid-body").field("quantity"));
        }
        for ttl in ["0", "-1", "86401", "1000000000", "\"soon\"", "1.5"] {
            let body = with(&format!(r#","ttl_seconds":{ttl}"#));
            table.push(post(path, body, 422, "invalid-body").field("ttl_seconds"));
        }
        for id in [
            "x",
            "rsv_",
            "rsv_01jde5z8w4m3x7q2v9t6r1k0pa",
            "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA",
        ] {
            table.push(post(path, with(&format!(r#","id":"{id}""#)), 422, "invalid-body").field("id"));
        }
        let old = with(r#","id":"rsv_01JDE5Z8W4M3X7Q2V9T6R1K0PA""#);
        table.push(post(path, old, 422, "reservation-id-not-timely"));
        let settle = format!("{}/reservations/{}", world.account, world.reservation);
        let charge = format!("{settle}/charge");
        table.push(post(&charge, r#"{"quantity":2}"#, 422, "charge-exceeds-reservation"));
        table.push(post(&charge, r#"{"quantity":-1}"#, 422, "invalid-body").field("quantity"));
        table.push(post(&charge, r#"{"amount":"1"}"#, 422, "invalid-body").field("amount"));
        let release = format!("{settle}/release");
        table.push(post(&release, "{}", 422, "invalid-body").field("cause"));
        table.push(post(&release, r#"{"cause":"account-closed"}"#, 422, "invalid-body").field("cause"));
        table
    })
    .await;
}

#[tokio::test]
async fn key_texts_that_are_no_keys_have_one_answer() {
    let stage = Stage::open().await;
    let world = world(&stage).await;
    let before = stage.harness.log().head().await.unwrap();
    let unknown = keyledger_events::base62_secret("sk_live_", [7; 32]);
    let mut typo = world.secret.clone();
    typo.replace_range(20..21, if &typo[20..21] == "a" { "b" } else { "a" });
    let mut answers = Vec::new();
    for text in [
        unknown.as_str(),
        &typo,
        "",
        "sk_live_",
        "\u{0}",
        "'; drop table events",
        &"x".repeat(10_000),
    ] {
        let answer = stage
            .operator
            .post("/v1/reservations", json!({"secret": text, "endpoint": "serp"}))
            .await;
        assert_eq!(answer.problem(401), "key-invalid");
        answers.push(answer.text);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(stage.harness.log().head().await.unwrap(), before);
}

#[tokio::test]
async fn harmless_names_are_kept_as_they_are() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    for name in [
        "<script>alert(1)</script>",
        "{{7*7}} ${jndi:ldap://x}",
        "' OR 1=1--",
        "=cmd|'/c calc'!A1",
        "👩‍👩‍👧 שלום العربية ไทย 𠮷",
    ] {
        let made = stage
            .operator
            .post(&format!("{account}/keys"), json!({"name": name}))
            .await;
        assert_eq!(made.json(201)["key"]["name"], name);
    }
}
