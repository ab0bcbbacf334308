//! Parts of a hundred.

use std::fmt;

/// A part of a whole in hundredths of a per cent, rounded down: `33.33%`. Exact enough for a length on a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::pages) struct Share(u64);

impl Share {
    /// `part` of `whole`; nothing of nothing. More than the whole is the whole.
    pub(in crate::pages) fn of(part: u64, whole: u64) -> Share {
        let hundredths = (u128::from(part.min(whole)) * 10_000)
            .checked_div(u128::from(whole))
            .unwrap_or_default();
        Share(u64::try_from(hundredths).unwrap_or_default())
    }

    /// `33 %`, and less than one in words.
    pub(in crate::pages) fn in_words(self) -> String {
        match self.0 {
            0 => "0 %".to_owned(),
            1..100 => "< 1 %".to_owned(),
            hundredths => format!("{} %", (hundredths + 50) / 100),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match (rest, rest % 10) {
            (0, _) => write!(f, "{whole}%"),
            (_, 0) => write!(f, "{whole}.{}%", rest / 10),
            (_, _) => write!(f, "{whole}.{rest:02}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_length_and_a_word() {
        for (part, whole, length, words) in [
            (0, 0, "0%", "0 %"),
            (1, 3, "33.33%", "33 %"),
            (1, 8, "12.5%", "13 %"),
            (1, 1_000, "0.1%", "< 1 %"),
            (7, 5, "100%", "100 %"),
            (u64::MAX, u64::MAX, "100%", "100 %"),
        ] {
            let share = Share::of(part, whole);
            assert_eq!((share.to_string().as_str(), share.in_words().as_str()), (length, words));
        }
    }
}
