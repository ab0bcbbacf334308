//! Counts the units in a JSON answer while it streams by: a number, or the length of an array, at a pointer.
//!
//! In: the body's bytes, cut anywhere. Out: the count, once the document has ended whole.
//!
//! Promise: memory does not grow with the body: one bit for each open bracket, at most 128 of them, and a position in
//! the pointer. For a document that serde_json reads, the count is what serde_json finds at the pointer.
//!
//! Not here: a judgement of the document. What is not well-formed has no count, and what is odd in a way that does not
//! matter for the count (a literal such as `nul`) is the client's to find.

use crate::prices::JsonPointer;

const DEPTH_MAX: usize = 128;

/// The scanner, between two bytes.
#[derive(Debug)]
pub(super) struct JsonCount {
    pointer: JsonPointer,
    /// What may come next.
    expect: Expect,
    /// Open brackets, and for each one bit: set where it is an array.
    depth: usize,
    arrays: u128,
    /// How many of the open brackets, from the outside, lie on the pointer's way.
    on_way: usize,
    /// The element that comes next, for each bracket on the way that is an array.
    next_index: Vec<u64>,
    /// The value that comes next is one that the pointer goes to or through.
    here: bool,
    /// The depth inside the array that is counted, and its elements so far.
    counting: Option<(usize, u64)>,
    key: KeyMatch,
    number: Option<Number>,
    found: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    InText { key: bool, escape: Escape },
    InScalar,
    Nothing,
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    Hex { digits: u8, value: u32 },
}

/// A key, compared with the pointer's token as it comes.
#[derive(Debug, Default)]
struct KeyMatch {
    /// Bytes of the token that have come; `None`: it is another key.
    matched: Option<usize>,
    high_surrogate: Option<u32>,
}

/// The number that the pointer goes to, digit by digit; `None` inside: not a count.
#[derive(Debug, Clone, Copy)]
struct Number(Option<u64>);

impl JsonCount {
    pub(super) fn new(pointer: JsonPointer) -> JsonCount {
        JsonCount {
            next_index: vec![0; pointer.tokens().len()],
            pointer,
            expect: Expect::Value,
            depth: 0,
            arrays: 0,
            on_way: 0,
            here: true,
            counting: None,
            key: KeyMatch::default(),
            number: None,
            found: None,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.expect == Expect::Broken {
                return;
            }
            self.byte(*byte);
        }
    }

    /// The count, if the document has ended and has one.
    pub(super) fn end(&mut self) -> Option<u64> {
        if self.expect == Expect::InScalar && self.depth == 0 {
            self.scalar_ends();
        }
        if self.expect == Expect::Nothing {
            self.found
        } else {
            None
        }
    }

    fn byte(&mut self, byte: u8) {
        match self.expect {
            Expect::InText { key, escape } => self.text_byte(byte, key, escape),
            Expect::InScalar if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.') => {
                if let Some(number) = &mut self.number {
                    number.digit(byte);
                }
            }
            Expect::InScalar => {
                self.scalar_ends();
                self.byte(byte);
            }
            _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => {}
            Expect::Value => self.value_begins(byte),
            Expect::ValueOrEnd if byte == b']' => self.bracket_closes(true),
            Expect::ValueOrEnd => self.value_begins(byte),
            Expect::KeyOrEnd if byte == b'}' => self.bracket_closes(false),
            Expect::Key | Expect::KeyOrEnd if byte == b'"' => self.key_begins(),
            Expect::Colon if byte == b':' => self.expect = Expect::Value,
            Expect::CommaOrEnd => self.after_value(byte),
            Expect::Key | Expect::KeyOrEnd | Expect::Colon | Expect::Nothing | Expect::Broken => {
                self.expect = Expect::Broken;
            }
        }
    }

    fn in_array(&self) -> bool {
        self.depth > 0 && self.arrays >> (self.depth - 1) & 1 == 1
    }

    /// The token that a member of the innermost bracket has to match, if that bracket lies on the way.
    fn token(&self) -> Option<&str> {
        let level = self.depth.checked_sub(1).filter(|_| self.on_way == self.depth)?;
        self.pointer.tokens().get(level).map(String::as_str)
    }

    fn value_begins(&mut self, byte: u8) {
        if self.in_array() {
            self.element_begins();
        }
        let here = std::mem::take(&mut self.here);
        let target = here && self.depth == self.pointer.tokens().len();
        if here {
            // A key that comes twice: the last one counts, and takes back what the first one said.
            self.found = None;
        }
        match byte {
            b'[' | b'{' => self.bracket_opens(byte == b'[', here, target),
            b'"' => {
                self.expect = Expect::InText {
                    key: false,
                    escape: Escape::None,
                };
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                self.expect = Expect::InScalar;
                if target {
                    let mut number = Number(Some(0));
                    number.digit(byte);
                    self.number = Some(number);
                }
            }
            _ => self.expect = Expect::Broken,
        }
    }

    fn element_begins(&mut self) {
        if let Some((depth, elements)) = &mut self.counting
            && *depth == self.depth
        {
            *elements += 1;
        }
        let wanted = self.token().and_then(index);
        if self.on_way == self.depth
            && let Some(next) = self.depth.checked_sub(1).and_then(|at| self.next_index.get_mut(at))
        {
            self.here = wanted == Some(*next);
            *next += 1;
        }
    }

    fn bracket_opens(&mut self, array: bool, here: bool, target: bool) {
        if self.depth == DEPTH_MAX {
            self.expect = Expect::Broken;
            return;
        }
        let bit = 1u128 << self.depth;
        self.arrays = if array { self.arrays | bit } else { self.arrays & !bit };
        self.depth += 1;
        if here {
            self.on_way = self.depth;
            if let Some(next) = self.next_index.get_mut(self.depth - 1) {
                *next = 0;
            }
        }
        if target && array {
            self.counting = Some((self.depth, 0));
        }
        self.expect = if array { Expect::ValueOrEnd } else { Expect::KeyOrEnd };
    }

    fn bracket_closes(&mut self, array: bool) {
        if self.depth == 0 || self.in_array() != array {
            self.expect = Expect::Broken;
            return;
        }
        if let Some((depth, elements)) = self.counting
            && depth == self.depth
        {
            self.found = Some(elements);
            self.counting = None;
        }
        self.depth -= 1;
        self.on_way = self.on_way.min(self.depth);
        self.value_ends();
    }

    fn value_ends(&mut self) {
        self.expect = if self.depth == 0 {
            Expect::Nothing
        } else {
            Expect::CommaOrEnd
        };
    }

    fn scalar_ends(&mut self) {
        if let Some(Number(count)) = self.number.take() {
            self.found = count;
        }
        self.value_ends();
    }

    fn after_value(&mut self, byte: u8) {
        match (byte, self.in_array()) {
            (b',', true) => self.expect = Expect::Value,
            (b',', false) => self.expect = Expect::Key,
            (b']', true) => self.bracket_closes(true),
            (b'}', false) => self.bracket_closes(false),
            _ => self.expect = Expect::Broken,
        }
    }

    fn key_begins(&mut self) {
        self.key = KeyMatch {
            matched: self.token().map(|_| 0),
            high_surrogate: None,
        };
        self.expect = Expect::InText {
            key: true,
            escape: Escape::None,
        };
    }

    fn text_byte(&mut self, byte: u8, key: bool, escape: Escape) {
        let mut next = Escape::None;
        match escape {
            Escape::None if byte == b'"' => return self.text_ends(key),
            Escape::None if byte == b'\\' => next = Escape::Begun,
            Escape::None if byte < 0x20 => return self.expect = Expect::Broken,
            Escape::None => self.key_bytes(key, &[byte]),
            Escape::Begun if byte == b'u' => next = Escape::Hex { digits: 0, value: 0 },
            Escape::Begun => match unescaped(byte) {
                Some(plain) => self.key_bytes(key, &[plain]),
                None => return self.expect = Expect::Broken,
            },
            Escape::Hex { digits, value } => {
                let Some(digit) = char::from(byte).to_digit(16) else {
                    return self.expect = Expect::Broken;
                };
                let value = value * 16 + digit;
                if digits < 3 {
                    next = Escape::Hex {
                        digits: digits + 1,
                        value,
                    };
                } else if key {
                    self.key_code_unit(value);
                }
            }
        }
        self.expect = Expect::InText { key, escape: next };
    }

    fn text_ends(&mut self, key: bool) {
        if key {
            let length = self.token().map(str::len);
            self.here = self.key.matched.is_some() && self.key.matched == length;
            self.expect = Expect::Colon;
        } else {
            self.value_ends();
        }
    }

    /// Compares more of a key with the token. Both are UTF-8, so bytes are enough.
    fn key_bytes(&mut self, key: bool, bytes: &[u8]) {
        let Some(matched) = self.key.matched.filter(|_| key) else {
            return;
        };
        let same = self
            .token()
            .and_then(|token| token.as_bytes().get(matched..matched + bytes.len()))
            == Some(bytes);
        self.key.matched = same.then_some(matched + bytes.len());
    }

    /// A character beyond the first 65,536 is escaped in two halves.
    fn key_code_unit(&mut self, unit: u32) {
        let code = match (self.key.high_surrogate.take(), unit) {
            (None, 0xD800..=0xDBFF) => {
                self.key.high_surrogate = Some(unit);
                return;
            }
            (Some(high), 0xDC00..=0xDFFF) => 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00),
            (_, unit) => unit,
        };
        match char::from_u32(code) {
            Some(character) => {
                let mut utf8 = [0; 4];
                let utf8 = character.encode_utf8(&mut utf8).as_bytes().to_vec();
                self.key_bytes(true, &utf8);
            }
            None => self.key.matched = None,
        }
    }
}

impl Number {
    fn digit(&mut self, byte: u8) {
        let digit = char::from(byte).to_digit(10).map(u64::from);
        self.0 = self
            .0
            .zip(digit)
            .and_then(|(number, digit)| number.checked_mul(10)?.checked_add(digit));
    }
}

/// An array index as RFC 6901 writes it: no sign, no needless zeros.
fn index(token: &str) -> Option<u64> {
    let plain = token.bytes().all(|b| b.is_ascii_digit()) && (token.len() == 1 || !token.starts_with('0'));
    plain.then(|| token.parse().ok()).flatten()
}

fn unescaped(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' | b'/' => byte,
        b'b' => 0x08,
        b'f' => 0x0C,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
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
}
