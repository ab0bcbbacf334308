//! Limits of a key that cannot be: scopes and rates.

use serde_json::json;

use super::{Bad, none_of_it_is_taken, post};

/// A new key with this member.
fn with(path: &str, member: &'static str, value: &str) -> Bad {
    let body = format!(r#"{{"name":"x","{member}":{value}}}"#);
    post(path, body, 422, "invalid-body").field(member)
}

#[tokio::test]
async fn scopes_that_are_none() {
    none_of_it_is_taken(|world| {
        let keys = format!("{}/keys", world.account);
        let mut values: Vec<String> = [
            "[]",
            r#""serp""#,
            "5",
            "true",
            "{}",
            r#"{"0":"serp"}"#,
            "[1]",
            "[null]",
            r#"[["serp"]]"#,
            r#"["serp",""]"#,
            r#"["serp","serp"]"#,
            r#"["Serp"]"#,
            r#"["*"]"#,
            r#"["serp "]"#,
            r#"["a/b"]"#,
            r#"["s\u0000"]"#,
            r#"["ｓerp"]"#,
            r#"["1st"]"#,
        ]
        .map(str::to_owned)
        .to_vec();
        values.push(json!(["x".repeat(65)]).to_string());
        values.push(json!((0..65).map(|n| format!("e{n}")).collect::<Vec<_>>()).to_string());
        values.push(json!(vec!["serp"; 100_000]).to_string());
        values.push(format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)));
        // A key's text in the wrong place comes back nowhere.
        values.push(json!([world.secret]).to_string());
        let mut table: Vec<Bad> = values.iter().map(|value| with(&keys, "scopes", value)).collect();
        let twice = r#"{"name":"x","scopes":["serp"],"scopes":["echo"]}"#;
        table.push(post(&keys, twice, 422, "invalid-body").field("scopes"));
        table.push(post(&keys, r#"{"name":"x","scope":["serp"]}"#, 422, "invalid-body").field("scope"));
        table
    })
    .await;
}

#[tokio::test]
async fn rates_of_a_key_that_are_none() {
    none_of_it_is_taken(|world| {
        let keys = format!("{}/keys", world.account);
        let mut values: Vec<String> = ["5", r#""5""#, "true", "[]", "{}", "[5,5]", r#"{"burst":5}"#]
            .map(str::to_owned)
            .to_vec();
        let wrong = [
            "0",
            "-1",
            "1.5",
            "1e3",
            r#""1""#,
            "1000001",
            "18446744073709551616",
            "true",
            "[]",
        ];
        for number in wrong {
            values.push(format!(r#"{{"per_second":{number}}}"#));
            values.push(format!(r#"{{"per_second":{number},"burst":5}}"#));
            values.push(format!(r#"{{"per_second":5,"burst":{number}}}"#));
        }
        values.push(r#"{"per_second":null,"burst":5}"#.to_owned());
        values.push(r#"{"per_second":5,"per_second":6}"#.to_owned());
        values.push(r#"{"per_second":5,"per_minute":5}"#.to_owned());
        values.push(format!(r#"{{"per_second":5,"{}":5}}"#, world.secret));
        let mut table: Vec<Bad> = values.iter().map(|value| with(&keys, "rate_limit", value)).collect();
        let twice = r#"{"name":"x","rate_limit":{"per_second":5},"rate_limit":{"per_second":6}}"#;
        table.push(post(&keys, twice, 422, "invalid-body").field("rate_limit"));
        table
    })
    .await;
}
