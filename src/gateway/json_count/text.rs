//! The inside of a JSON string, byte by byte: escapes become the UTF-8 that they stand for.

/// Between two bytes of a string; as new again after its end.
#[derive(Debug, Default)]
pub(super) struct Text {
    escape: Escape,
    /// A character beyond the first 65,536 is escaped in two halves; this is the first.
    high_surrogate: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Escape {
    #[default]
    None,
    Begun,
    Hex {
        digits: u8,
        value: u32,
    },
}

/// What one byte of a string came to.
#[derive(Debug)]
pub(super) enum Step {
    More,
    Plain(Utf8),
    End,
    Broken,
}

/// At most one character.
#[derive(Debug)]
pub(super) struct Utf8 {
    bytes: [u8; 4],
    length: usize,
}

impl Utf8 {
    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn byte(byte: u8) -> Step {
        Step::Plain(Utf8 {
            bytes: [byte, 0, 0, 0],
            length: 1,
        })
    }

    /// The character with this code; a lone half of one is no text.
    fn character(code: u32) -> Step {
        char::from_u32(code).map_or(Step::Broken, |character| {
            let mut bytes = [0; 4];
            let length = character.encode_utf8(&mut bytes).len();
            Step::Plain(Utf8 { bytes, length })
        })
    }
}

impl Text {
    pub(super) fn byte(&mut self, byte: u8) -> Step {
        let escape = std::mem::take(&mut self.escape);
        if self.high_surrogate.is_some() && matches!(escape, Escape::None) && byte != b'\\' {
            return Step::Broken;
        }
        match escape {
            Escape::None => match byte {
                b'"' => return Step::End,
                b'\\' => self.escape = Escape::Begun,
                0..0x20 => return Step::Broken,
                _ => return Utf8::byte(byte),
            },
            Escape::Begun => match (byte, self.high_surrogate) {
                (b'u', _) => self.escape = Escape::Hex { digits: 0, value: 0 },
                (_, Some(_)) => return Step::Broken,
                (_, None) => return unescaped(byte).map_or(Step::Broken, Utf8::byte),
            },
            Escape::Hex { digits, value } => {
                let Some(digit) = char::from(byte).to_digit(16) else {
                    return Step::Broken;
                };
                let value = value * 16 + digit;
                if digits == 3 {
                    return self.code_unit(value);
                }
                let digits = digits + 1;
                self.escape = Escape::Hex { digits, value };
            }
        }
        Step::More
    }

    fn code_unit(&mut self, unit: u32) -> Step {
        match (self.high_surrogate.take(), unit) {
            (None, 0xD800..=0xDBFF) => {
                self.high_surrogate = Some(unit);
                Step::More
            }
            (None, unit) => Utf8::character(unit),
            (Some(high), 0xDC00..=0xDFFF) => Utf8::character(0x1_0000 + ((high - 0xD800) << 10) + (unit - 0xDC00)),
            (Some(_), _) => Step::Broken,
        }
    }
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
