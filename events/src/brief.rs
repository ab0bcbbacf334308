//! Short texts that every event is full of: written on the stack, digit by digit, without the formatter.

/// A text of ASCII: what an id, a moment or an amount is written as.
#[derive(Clone, Copy)]
pub(crate) struct Brief {
    bytes: [u8; ROOM],
    len: usize,
}

/// The longest is a sum of credits: a sign, 33 digits, a point and six digits.
const ROOM: usize = 48;

impl Brief {
    pub(crate) const EMPTY: Brief = Brief {
        bytes: [0; ROOM],
        len: 0,
    };

    pub(crate) fn of(text: &str) -> Brief {
        Brief::EMPTY.and(text)
    }

    /// Of ASCII whose number is known where this is compiled, and fits.
    pub(crate) fn of_bytes<const N: usize>(text: &[u8; N]) -> Brief {
        const { assert!(N <= ROOM) };
        let mut brief = Brief::EMPTY;
        if let Some(place) = brief.bytes.first_chunk_mut::<N>() {
            *place = *text;
            brief.len = N;
        }
        brief
    }

    /// The last two digits of a number.
    pub(crate) fn two_digits(number: u64) -> [u8; 2] {
        [last_digit(number / 10), last_digit(number)]
    }

    pub(crate) fn number(number: u64) -> Brief {
        Brief::EMPTY.and_number(number)
    }

    pub(crate) fn and(mut self, text: &str) -> Brief {
        let place = self.bytes.get_mut(self.len..self.len + text.len());
        debug_assert!(place.is_some(), "{text} has no room");
        if let Some(place) = place {
            place.copy_from_slice(text.as_bytes());
            self.len += text.len();
        }
        self
    }

    pub(crate) fn and_number(self, number: u64) -> Brief {
        self.and_digits(number, decimal_digits(number))
    }

    /// A number's last digits, with zeros before it where it has fewer.
    pub(crate) fn and_digits(mut self, mut number: u64, digits: usize) -> Brief {
        let place = self.bytes.get_mut(self.len..self.len + digits);
        debug_assert!(place.is_some(), "{digits} digits have no room");
        if let Some(place) = place {
            for digit in place.iter_mut().rev() {
                *digit = last_digit(number);
                number /= 10;
            }
            self.len += digits;
        }
        self
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

fn last_digit(number: u64) -> u8 {
    b"0123456789"[usize::try_from(number % 10).unwrap_or_default()]
}

fn decimal_digits(number: u64) -> usize {
    number
        .checked_ilog10()
        .map_or(1, |power| usize::try_from(power + 1).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(brief: Brief) -> String {
        brief.as_str().to_owned()
    }

    proptest! {
        #[test]
        fn a_number_is_written_as_the_formatter_writes_it(number: u64, little in 0_u64..1_000) {
            prop_assert_eq!(text(Brief::number(number)), number.to_string());
            prop_assert_eq!(text(Brief::number(little)), little.to_string());
            prop_assert_eq!(text(Brief::EMPTY.and_digits(little, 6)), format!("{little:06}"));
        }
    }

    #[test]
    fn the_smallest_and_the_largest_number_have_all_their_digits() {
        for number in [0, 9, 10, 99, 100, u64::MAX] {
            assert_eq!(text(Brief::of("n=").and_number(number)), format!("n={number}"));
        }
    }
}
