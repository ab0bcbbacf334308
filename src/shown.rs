//! Names that people chose, ready to be shown: what the eye could not see is written out.

use std::fmt;

/// A name without hidden characters. Escaping is the template's, and so is keeping it apart from the text around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown(String);

impl Shown {
    pub(crate) fn new(name: &str) -> Shown {
        let chars: Vec<char> = name.chars().collect();
        let mut text = String::with_capacity(name.len());
        for (at, c) in chars.iter().enumerate() {
            let beside = [at.checked_sub(1), at.checked_add(1)].map(|at| at.and_then(|at| chars.get(at)));
            let joins = matches!(c, '\u{200C}' | '\u{200D}') && beside.iter().all(|c| c.is_some_and(|c| joinable(*c)));
            if hides(*c) && !joins {
                text.push_str(&format!("[U+{:04X}]", u32::from(*c)));
            } else {
                text.push(*c);
            }
        }
        Shown(text)
    }
}

/// Emoji and scripts that join; between Latin letters a joiner only hides.
fn joinable(c: char) -> bool {
    u32::from(c) >= 0x0590 && !hides(c)
}

/// Nothing to see, and yet there: zero widths, fillers, directions, soft hyphens, odd spaces.
fn hides(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(
            u32::from(c),
            0x00AD | 0x034F | 0x061C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
                | 0x2028..=0x202E | 0x2060..=0x206F | 0x2800 | 0x3164 | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB | 0xE0000..=0xE0FFF
        )
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str) -> String {
        Shown::new(name).to_string()
    }

    #[test]
    fn what_can_be_seen_is_shown_as_it_is() {
        for name in [
            "Looker Studio",
            "<b>&\"'",
            "Грузия",
            "می\u{200C}خواهم",
            "👨\u{200D}👩\u{200D}👧",
            "☂\u{FE0F}",
        ] {
            assert_eq!(shown(name), name);
        }
    }

    #[test]
    fn what_hides_is_written_out() {
        assert_eq!(shown("ad\u{200D}min"), "ad[U+200D]min");
        assert_eq!(shown("a\u{202E}b\u{2066}"), "a[U+202E]b[U+2066]");
        assert_eq!(shown("\u{00AD}x\u{3164}\u{00A0}"), "[U+00AD]x[U+3164][U+00A0]");
        assert_eq!(shown("👨\u{200D}"), "👨[U+200D]");
    }
}
