//! What is read, what is not, and that a complaint repeats nothing of it.

use super::*;
use keyledger_events::Credits;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    amount: Credits,
    #[serde(default)]
    priority: i32,
    kind: Option<Kind>,
    size: Option<Size>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Size {
    length: u64,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Plan,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    limit: Option<u32>,
    kind: Option<Kind>,
}

fn order(text: &str) -> Result<Order, Wrong> {
    from_json(text.as_bytes())
}

fn page(pairs: &[(&str, &str)]) -> Result<Page, Wrong> {
    from_pairs(pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect())
}

#[test]
fn a_right_body_is_read() {
    let read = order(r#"{"amount":"1.50","kind":"plan"}"#).unwrap();
    assert_eq!(
        (read.amount.micros(), read.priority, read.kind),
        (1_500_000, 0, Some(Kind::Plan))
    );
}

#[test]
fn the_member_at_fault_is_named() {
    for (text, field) in [
        (r"{}", Some("amount")),
        (r#"{"amount":1}"#, Some("amount")),
        (r#"{"amount":"1e3"}"#, Some("amount")),
        (r#"{"amount":"1","amount":"2"}"#, Some("amount")),
        (r#"{"amount":"1","priority":3000000000}"#, Some("priority")),
        (r#"{"amount":"1","priority":1.5}"#, Some("priority")),
        (r#"{"amount":"1","kind":"gift"}"#, Some("kind")),
        (r#"{"amount":"1","kind":1}"#, Some("kind")),
        (r#"{"amount":"1","kind":{"plan":null}}"#, Some("kind")),
        (r#"{"amount":"1","size":{"length":1,"width":1}}"#, Some("size")),
        (r#"{"amount":"1","size":{}}"#, Some("size")),
        (r#"{"amount":"1","size":[1]}"#, Some("size")),
        (r#"{"amount":"1","__proto__":{}}"#, Some("__proto__")),
        ("null", None),
        ("[]", None),
        (r#""x""#, None),
    ] {
        let wrong = order(text).unwrap_err();
        assert_ne!(wrong.fault, Fault::Unreadable, "{text}");
        assert_eq!(wrong.field.as_deref(), field, "{text}");
    }
}

#[test]
fn what_is_no_json_is_told_apart() {
    for text in [
        "",
        "{",
        r#"{"amount":"1"} x"#,
        r#"{"amount":"1"}{}"#,
        "\u{FEFF}{}",
        "{'amount':'1'}",
        r#"{"amount":NaN}"#,
        r#"{"amount":01}"#,
        r#"{"amount":"\ud800"}"#,
        r#"{"amount":"1" /* one */}"#,
    ] {
        assert!(order(text).unwrap_err().fault == Fault::Unreadable, "{text}");
    }
    assert!(from_json::<Order>(b"{\"amount\":\"\xff\"}").unwrap_err().fault == Fault::Unreadable);
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let secret = "sk_live_0123456789012345678901234567890123456789012345678";
    for text in [
        format!(r#"{{"amount":"1","priority":"{secret}"}}"#),
        format!(r#"{{"amount":"1","kind":"{secret}"}}"#),
        format!(r#"{{"amount":"{secret}"}}"#),
        format!(r#"{{"amount":"1","size":{{"{secret}":1}}}}"#),
        format!(r#"{{"amount":"1","size":{{"length":"{secret}"}}}}"#),
        format!(r#"{{"{secret}":1}}"#),
        format!(r#""{secret}""#),
    ] {
        let wrong = order(&text).unwrap_err();
        assert!(!format!("{wrong:?}").contains("0123456789"), "{wrong:?}");
    }
}

#[test]
fn hostile_shapes_cost_little() {
    let deep = format!(r#"{{"amount":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(order(&deep).unwrap_err().field.as_deref(), Some("amount"));
    let many: Vec<String> = (0..100_000).map(|n| format!("\"k{n}\":0")).collect();
    assert!(order(&format!("{{{}}}", many.join(","))).is_err());
}

#[test]
fn parameters_are_read_as_strictly() {
    assert_eq!(page(&[("limit", "5"), ("kind", "plan")]).unwrap().limit, Some(5));
    for (pairs, field) in [
        (vec![("limit", "abc")], "limit"),
        (vec![("limit", "-1")], "limit"),
        (vec![("limit", "+1")], "limit"),
        (vec![("limit", "05")], "limit"),
        (vec![("limit", "5000000000")], "limit"),
        (vec![("limit", "1"), ("limit", "1")], "limit"),
        (vec![("kind", "gift")], "kind"),
        (vec![("order", "asc")], "order"),
    ] {
        assert_eq!(page(&pairs).unwrap_err().field.as_deref(), Some(field), "{pairs:?}");
    }
}
