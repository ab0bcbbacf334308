//! The scanner beside a reader of whole documents.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn count_in_pieces(pointer: &str, json: &str, piece: usize) -> Option<u64> {
    let mut count = JsonCount::new(JsonPointer::parse(pointer).unwrap());
    for bytes in json.as_bytes().chunks(piece.max(1)) {
        count.feed(bytes);
    }
    count.end()
}

fn count(pointer: &str, json: &str) -> Option<u64> {
    let whole = count_in_pieces(pointer, json, usize::MAX);
    assert_eq!(count_in_pieces(pointer, json, 1), whole, "{json}");
    whole
}

/// What a reader of the whole document finds.
fn by_reading(pointer: &str, json: &str) -> Option<u64> {
    let document: Value = serde_json::from_str(json).unwrap();
    match document.pointer(pointer)? {
        Value::Array(items) => u64::try_from(items.len()).ok(),
        Value::Number(number) => number.as_u64(),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Object(_) => None,
    }
}

#[test]
fn an_array_counts_its_elements_and_a_number_is_its_value() {
    assert_eq!(
        count("/conversations", r#"{"conversations":[{"a":[1,2]},[],"x"]}"#),
        Some(3)
    );
    assert_eq!(count("/conversations", r#"{"conversations":[]}"#), Some(0));
    assert_eq!(
        count("/meta/count", r#"{"count":9,"meta":{"x":{"count":8},"count":7}}"#),
        Some(7)
    );
    assert_eq!(count("/pages/1/n", r#"{"pages":[{"n":1},{"n":2},{"n":3}]}"#), Some(2));
    assert_eq!(count("", " [1, 2 ,3] \n"), Some(3));
    assert_eq!(count("", "42"), Some(42));
}

#[test]
fn what_is_no_count_is_none() {
    for json in [
        r#"{"n":-1}"#,
        r#"{"n":1.0}"#,
        r#"{"n":1e2}"#,
        r#"{"n":"3"}"#,
        r#"{"n":{"n":3}}"#,
        r#"{"n":null}"#,
        r#"{"n":18446744073709551616}"#,
        r#"{"m":3}"#,
        r#"[{"n":3}]"#,
    ] {
        assert_eq!(count("/n", json), None, "{json}");
    }
}

#[test]
fn a_document_that_does_not_end_whole_has_no_count() {
    for json in [
        r#"{"n":3"#,
        r#"{"n":[1,2"#,
        r#"{"n":3}}"#,
        r#"{"n":3} x"#,
        r#"{"n":3]"#,
        "",
        "{\"n\" 3}",
        "{\"n\":3,}",
    ] {
        assert_eq!(count("/n", json), None, "{json}");
    }
    assert_eq!(count("/n", &format!("{{\"n\":{}", "[".repeat(500))), None);
}

#[test]
fn keys_are_compared_by_what_they_mean() {
    assert_eq!(count("/aé😀", r#"{"\u0061\u00e9\ud83d\ude00":4}"#), Some(4));
    assert_eq!(count("/a\"b", r#"{"a\"b":4}"#), Some(4));
    assert_eq!(count("/ab", r#"{"a":1,"abc":2,"ab":3}"#), Some(3));
    assert_eq!(count("/a", r#"{"b":"\"a\":9","a":3}"#), Some(3));
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    for json in [r#"{"n":[1],"n":[1,2]}"#, r#"{"n":5,"n":null}"#] {
        assert_eq!(count("/n", json), by_reading("/n", json));
    }
    let json = r#"{"a":{"n":5},"a":{}}"#;
    assert_eq!(count("/a/n", json), by_reading("/a/n", json));
}

fn any_key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", "", "0", "é", "\"", "\\", "\n", "😀"]).prop_map(str::to_owned)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(Value::from(0.25)),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((any_key(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn streaming_counts_what_reading_finds(
        document in any_json(),
        way in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "", "0", "1", "é", "\"", "00"]), 0..4),
        piece in 1usize..9,
        pretty in any::<bool>(),
    ) {
        let pointer: String = way.iter().map(|token| format!("/{token}")).collect();
        let json = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
        let json = json.unwrap();
        prop_assert_eq!(count_in_pieces(&pointer, &json, piece), by_reading(&pointer, &json));
    }

    #[test]
    fn no_bytes_are_too_odd_to_be_fed(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut count = JsonCount::new(JsonPointer::parse("/a/0").unwrap());
        count.feed(&bytes);
        count.end();
    }
}
