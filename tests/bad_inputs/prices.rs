//! Price books that cannot be: each fault is told with the place where it stands.

use http::Method;
use serde_json::json;

use super::{Bad, JSON, bad, none_of_it_is_taken};

fn put(body: impl Into<Vec<u8>>, code: &'static str, field: &'static str) -> Bad {
    Bad {
        body: body.into(),
        ..bad(Method::PUT, "/v1/prices", 422, code).header(JSON.0, JSON.1)
    }
    .field(field)
}

/// A good price and then this one.
fn second(price: &str, field: &'static str) -> Bad {
    let good = r#"{"endpoint":"serp","match":"GET /serp","price":"0.5"}"#;
    put(format!(r#"{{"prices":[{good},{price}]}}"#), "invalid-prices", field)
}

/// A good price with one more member, or another one of a kind.
fn with(member: &str, value: &str, field: &'static str) -> Bad {
    let mut members = vec![("endpoint", r#""x""#), ("match", r#""GET /x""#), ("price", r#""1""#)];
    members.retain(|(name, _)| *name != member);
    members.push((member, value));
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    second(&format!("{{{}}}", members.join(",")), field)
}

#[tokio::test]
async fn books_that_are_none() {
    none_of_it_is_taken(|_| {
        let invalid = "invalid-body";
        vec![
            put("{}", invalid, "prices"),
            put(r#"{"prices":null}"#, invalid, "prices"),
            put(r#"{"prices":{}}"#, invalid, "prices"),
            put(r#"{"prices":"serp"}"#, invalid, "prices"),
            put(r#"{"prices":[],"prices":[]}"#, invalid, "prices"),
            put(r#"{"prices":[],"version":3}"#, invalid, "version"),
            put(r#"{"prices":[],"valid_from":"tomorrow"}"#, invalid, "valid_from"),
            put(r#"{"prices":[],"valid_from":5}"#, invalid, "valid_from"),
            put(
                r#"{"prices":[],"valid_from":"2026-01-01T00:00:00Z"}"#,
                "in-the-past",
                "valid_from",
            ),
            put(
                json!({"prices": vec![json!({"endpoint": "a", "match": "GET /a", "price": "1"}); 1_001]}).to_string(),
                "invalid-prices",
                "prices",
            ),
            // Each of them could be; all together are more than one event may be.
            put(
                json!({"prices": vec![json!({"endpoint": "a", "match": format!("GET /{}", "a".repeat(500)), "price": "1"}); 1_000]})
                    .to_string(),
                "invalid-prices",
                "prices",
            ),
        ]
    })
    .await;
}

#[tokio::test]
async fn prices_that_cannot_be_used() {
    none_of_it_is_taken(|world| {
        let counted = r#""quantity":{"json":"/a"}"#;
        let base = r#""endpoint":"x","match":"GET /x","price":"1""#;
        let mut table = vec![
            second("5", "prices[1]"),
            second("null", "prices[1]"),
            second("[]", "prices[1]"),
            second("{}", "prices[1].endpoint"),
            second(r#"{"endpoint":"x","price":"1"}"#, "prices[1].match"),
            second(r#"{"endpoint":"x","match":"GET /x"}"#, "prices[1].price"),
            second(&format!(r#"{{{base},"price":"2"}}"#), "prices[1].price"),
            second(&format!(r#"{{{base},"colour":"red"}}"#), "prices[1].colour"),
            second(&format!("{{{base},{counted}}}"), "prices[1].quantity_max"),
            // The log would keep it for ever, and Postgres could not read it.
            second(
                &format!(r#"{{{base},"quantity":{{"json":"/\u0000"}},"quantity_max":5}}"#),
                "prices[1].quantity",
            ),
            second(
                &format!(r#"{{{base},{counted},"quantity_max":0}}"#),
                "prices[1].quantity_max",
            ),
            second(
                &format!(r#"{{{base},{counted},"quantity_max":5,"settle":"at-once"}}"#),
                "prices[1].settle",
            ),
            second(
                &format!(r#"{{"endpoint":"x","match":"GET /x","price":"9000000000",{counted},"quantity_max":2}}"#),
                "prices[1].quantity_max",
            ),
        ];
        for (member, value) in [
            ("endpoint", r#""Serp""#),
            ("endpoint", "5"),
            ("match", r#""/serp""#),
            ("match", r#""FETCH /serp""#),
            ("match", r#""GET serp""#),
            ("match", r#""""#),
            ("price", "0.5"),
            ("price", r#""-1""#),
            ("price", r#""0.0000001""#),
            ("price", r#""NaN""#),
            ("unit", r#""""#),
            ("unit", r#""a\nb""#),
            ("quantity", r#""/a""#),
            ("quantity", "{}"),
            ("quantity", r#"{"xml":"/a"}"#),
            ("quantity", r#"{"header":"X-A","json":"/a"}"#),
            ("quantity", r#"{"json":"a"}"#),
            ("upstream", r#""slow\u0000""#),
            ("match", r#""GET /a\u0000""#),
            ("match", r#""GET /{a\u0000}""#),
            ("quantity", r#"{"header":"no header"}"#),
            ("quantity_max", "2"),
            ("quantity_max", "-1"),
            ("quantity_max", r#""1""#),
            ("when_more", r#""top-up""#),
            ("when_more", "true"),
            ("once_per", r#""day""#),
            ("rate_per_second", "0"),
            ("rate_per_second", "1.5"),
            ("settle", r#""never""#),
            ("settle", "1"),
        ] {
            let field: &'static str = match member {
                "endpoint" => "prices[1].endpoint",
                "match" => "prices[1].match",
                "price" => "prices[1].price",
                "unit" => "prices[1].unit",
                "quantity" => "prices[1].quantity",
                "quantity_max" => "prices[1].quantity_max",
                "when_more" => "prices[1].when_more",
                "once_per" => "prices[1].once_per",
                "rate_per_second" => "prices[1].rate_per_second",
                "upstream" => "prices[1].upstream",
                _ => "prices[1].settle",
            };
            table.push(with(member, value, field));
        }
        // A key's text in the wrong place comes back nowhere.
        table.push(second(&format!(r#"{{"{}":1}}"#, world.secret), "prices[1]"));
        table.push(with("endpoint", &json!(world.secret).to_string(), "prices[1].endpoint"));
        table.push(with("unit", &json!(world.secret).to_string(), "prices[1].unit"));
        table
    })
    .await;
}
