//! Counts the units in a JSON answer while it streams by: a number, or the length of an array, at a pointer.
//!
//! In: the body's bytes, cut anywhere. Out: the count, once the document has ended whole.
//!
//! Promise: memory does not grow with the body: one bit for each open bracket, at most 128 of them, and a position in
//! the pointer. For a document that serde_json reads, the count is what serde_json finds at the pointer.
//!
//! Not here: a judgement of the document. What is not well-formed has no count, and what is odd in a way that does not
//! matter for the count (a literal such as `nul`) is the client's to find.

#[cfg(test)]
mod tests;
mod text;

use crate::prices::JsonPointer;
use text::{Step, Text};

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
    text: Text,
    /// Bytes of the pointer's token that a key has matched so far; `None`: it is another key.
    key_matched: Option<usize>,
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
    InText { key: bool },
    InScalar,
    Nothing,
    Broken,
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
            text: Text::default(),
            key_matched: None,
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
            Expect::InText { key } => self.text_byte(byte, key),
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
            b'"' => self.expect = Expect::InText { key: false },
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
        self.key_matched = self.token().map(|_| 0);
        self.expect = Expect::InText { key: true };
    }

    fn text_byte(&mut self, byte: u8, key: bool) {
        match self.text.byte(byte) {
            Step::More => {}
            Step::Plain(utf8) if key => self.key_bytes(utf8.as_slice()),
            Step::Plain(_) => {}
            Step::End => self.text_ends(key),
            Step::Broken => self.expect = Expect::Broken,
        }
    }

    fn text_ends(&mut self, key: bool) {
        if key {
            let length = self.token().map(str::len);
            self.here = self.key_matched.is_some() && self.key_matched == length;
            self.expect = Expect::Colon;
        } else {
            self.value_ends();
        }
    }

    /// Compares more of a key with the token. Both are UTF-8, so bytes are enough.
    fn key_bytes(&mut self, bytes: &[u8]) {
        let Some(matched) = self.key_matched else {
            return;
        };
        let next = matched + bytes.len();
        let same = self.token().and_then(|token| token.as_bytes().get(matched..next)) == Some(bytes);
        self.key_matched = same.then_some(next);
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
