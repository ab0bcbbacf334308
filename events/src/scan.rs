//! Canonical bytes, read from left to right: each kind of member that there is.
//!
//! Promise: what is read is written in the one way in which the vocabulary writes it.

use memchr::memchr;

use crate::credits::Credits;
use crate::envelope::{Actor, CommandId, Position, Seq, Shard};
use crate::event::GrantPart;
use crate::ids::{AccountId, EventId, GrantId, KeyId, PortalSessionId, ReservationId, TokenId};
use crate::once::OnceMark;
use crate::personal::Sealed;
use crate::text::Endpoint;
use crate::time::Timestamp;

/// A place in bytes that are read from left to right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan<'a> {
    rest: &'a [u8],
}

/// What a character of a ULID stands for; more than 31: it is none.
const ULID_VALUES: [u8; 256] = {
    let mut values = [0xFF; 256];
    let alphabet = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut at = 0_u8;
    while at < 32 {
        values[alphabet[at as usize] as usize] = at;
        at += 1;
    }
    values
};

impl<'a> Scan<'a> {
    pub(crate) const fn of(bytes: &'a [u8]) -> Scan<'a> {
        Scan { rest: bytes }
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    /// Goes on behind these bytes, if they come next. Their number is known where this is compiled, so that they are
    /// compared some at once.
    #[inline]
    pub(crate) fn eat<const N: usize>(&mut self, literal: &[u8; N]) -> Option<()> {
        let (next, rest) = self.rest.split_first_chunk::<N>()?;
        (next == literal).then(|| self.rest = rest)
    }

    #[inline]
    pub(crate) fn has<const N: usize>(&mut self, literal: &[u8; N]) -> bool {
        self.eat(literal).is_some()
    }

    fn chunk<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (next, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(next)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// Takes what comes before the next quotation mark, which is left.
    fn until_quote(&mut self) -> Option<&'a [u8]> {
        let end = memchr(b'"', self.rest)?;
        self.take(end)
    }

    /// 26 characters.
    pub(crate) fn ulid(&mut self) -> Option<[u8; 16]> {
        let values = self.chunk::<26>()?.map(|byte| ULID_VALUES[usize::from(byte)]);
        let bad = values.iter().fold(0, |bad, value| bad | value);
        let [a, b, rest @ ..] = values;
        let (eights, _) = rest.as_chunks::<8>();
        let [first, second, third] = [0, 1, 2].map(|at| eights.get(at).map_or(0, forty_bits));
        // The first character has three bits alone: 128 are no multiple of five.
        if bad > 31 || a > 7 {
            return None;
        }
        let bits = (u128::from((u64::from(a) << 5) | u64::from(b)) << 120) | (u128::from(first) << 80);
        Some((bits | (u128::from(second) << 40) | u128::from(third)).to_be_bytes())
    }

    /// Digits without a needless zero.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        let mut digits = 0;
        while let Some(byte) = self.rest.get(digits).filter(|byte| byte.is_ascii_digit()) {
            value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
            digits += 1;
        }
        let first = self.take(digits)?.first()?;
        (digits == 1 || *first != b'0').then_some(value)
    }

    /// `2026-11-24T14:03:07.123456Z`.
    pub(crate) fn time(&mut self) -> Option<Timestamp> {
        let text = self.chunk::<27>()?;
        let marked = [
            (4, b'-'),
            (7, b'-'),
            (10, b'T'),
            (13, b':'),
            (16, b':'),
            (19, b'.'),
            (26, b'Z'),
        ];
        let mut bad = !marked.iter().all(|(at, mark)| text[*at] == *mark);
        let mut digits = |from: usize, to: usize| {
            let digits = text.get(from..to).unwrap_or_default().iter();
            digits.fold(0, |sum, byte| {
                let digit = byte.wrapping_sub(b'0');
                bad |= digit > 9;
                sum * 10 + u32::from(digit)
            })
        };
        let (year, month, day) = (digits(0, 4), digits(5, 7), digits(8, 10));
        let (hour, minute, second) = (digits(11, 13), digits(14, 16), digits(17, 19));
        let micros = digits(20, 26);
        if bad || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let seconds = days_since_1970(year, month, day)? * 86_400 + i64::from(hour * 3_600 + minute * 60 + second);
        Timestamp::from_micros(seconds * 1_000_000 + i64::from(micros))
    }

    /// `"0.5"`, with its marks: no needless zeros.
    pub(crate) fn credits(&mut self) -> Option<Credits> {
        self.eat(b"\"")?;
        let negative = self.has(b"-");
        let whole = i64::try_from(self.number()?)
            .ok()
            .filter(|whole| *whole <= 9_000_000_000)?;
        let mut fraction = 0;
        if self.has(b".") {
            let digits = self.until_quote()?;
            if digits.len() > 6 || digits.last()? == &b'0' {
                return None;
            }
            for at in 0..6 {
                let digit = digits.get(at).map_or(b'0', |digit| *digit);
                if !digit.is_ascii_digit() {
                    return None;
                }
                fraction = fraction * 10 + i64::from(digit - b'0');
            }
        }
        self.eat(b"\"")?;
        let micros = whole * 1_000_000 + fraction;
        if negative && micros == 0 {
            return None;
        }
        Credits::from_micros(if negative { -micros } else { micros })
    }

    /// The name of an endpoint, without its marks.
    pub(crate) fn endpoint(&mut self) -> Option<&'a str> {
        self.text_that(Endpoint::is_one)
    }

    /// The name of a command, without its marks.
    pub(crate) fn command(&mut self) -> Option<&'a str> {
        self.text_that(CommandId::is_one)
    }

    /// A text that is sealed, without its marks.
    pub(crate) fn sealed(&mut self) -> Option<&'a str> {
        self.text_that(Sealed::is_one)
    }

    fn text_that(&mut self, fits: impl FnOnce(&str) -> bool) -> Option<&'a str> {
        let text = std::str::from_utf8(self.until_quote()?).ok()?;
        fits(text).then_some(text)
    }

    /// A text of printable ASCII that needs no escape, without its marks.
    pub(crate) fn plain_text(&mut self) -> Option<&'a str> {
        self.text_that(|text| text.bytes().all(|b| matches!(b, 0x20..=0x7E) && b != b'\\'))
    }

    pub(crate) fn actor(&mut self) -> Option<Actor> {
        if self.has(b"key_") {
            return self.ulid().map(|id| Actor::Key(KeyId::from_bytes(id)));
        }
        if self.has(b"tok_") {
            return self.ulid().map(|id| Actor::Token(TokenId::from_bytes(id)));
        }
        if self.has(b"ses_") {
            return self.ulid().map(|id| Actor::Portal(PortalSessionId::from_bytes(id)));
        }
        self.eat(b"system").map(|()| Actor::System)
    }

    pub(crate) fn once_mark(&mut self) -> Option<OnceMark> {
        std::str::from_utf8(self.chunk::<32>()?).ok()?.parse().ok()
    }

    pub(crate) fn shard(&mut self) -> Option<Shard> {
        u16::try_from(self.number()?).ok().map(Shard)
    }

    pub(crate) fn position(&mut self) -> Option<Position> {
        self.number().filter(|number| *number > 0).map(Position)
    }

    pub(crate) fn seq(&mut self) -> Option<Seq> {
        self.number().filter(|number| *number > 0).map(Seq)
    }

    pub(crate) fn event(&mut self) -> Option<EventId> {
        self.ulid().map(EventId::from_bytes)
    }

    pub(crate) fn account(&mut self) -> Option<AccountId> {
        self.eat(b"acct_")?;
        self.ulid().map(AccountId::from_bytes)
    }

    pub(crate) fn key(&mut self) -> Option<KeyId> {
        self.eat(b"key_")?;
        self.ulid().map(KeyId::from_bytes)
    }

    pub(crate) fn reservation(&mut self) -> Option<ReservationId> {
        self.eat(b"rsv_")?;
        self.ulid().map(ReservationId::from_bytes)
    }

    /// `[{"grant":"grant_…","amount":"…"},…]`.
    pub(crate) fn parts(&mut self, into: &mut Vec<GrantPart>) -> Option<()> {
        into.clear();
        self.eat(b"[")?;
        if self.has(b"]") {
            return Some(());
        }
        loop {
            self.eat(b"{\"grant\":\"grant_")?;
            let grant = GrantId::from_bytes(self.ulid()?);
            self.eat(b"\",\"amount\":")?;
            let amount = self.credits()?;
            into.push(GrantPart { grant, amount });
            self.eat(b"}")?;
            if self.has(b"]") {
                return Some(());
            }
            self.eat(b",")?;
        }
    }

    /// An amount that is not written where it is nothing.
    pub(crate) fn credits_unless_none<const N: usize>(&mut self, member: &[u8; N]) -> Option<Credits> {
        if !self.has(member) {
            return Some(Credits::ZERO);
        }
        self.credits().filter(|amount| !amount.is_zero())
    }
}

/// Eight values of five bits as one number: pairs of them, pairs of pairs, and both halves.
fn forty_bits(values: &[u8; 8]) -> u64 {
    let eight = u64::from_be_bytes(*values);
    let four = ((eight & 0x1F00_1F00_1F00_1F00) >> 3) | (eight & 0x001F_001F_001F_001F);
    let two = ((four & 0x03FF_0000_03FF_0000) >> 6) | (four & 0x0000_03FF_0000_03FF);
    ((two >> 32) << 20) | (two & 0xF_FFFF)
}

/// By the civil calendar, for the years that a [`Timestamp`] has.
fn days_since_1970(year: u32, month: u32, day: u32) -> Option<i64> {
    const BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    const LONG: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leaps = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let place = usize::try_from(month.checked_sub(1)?).ok()?;
    let leap_day = u32::from(leaps && month == 2);
    if year < 1970 || day == 0 || day > LONG.get(place)? + leap_day {
        return None;
    }
    let past = year - 1;
    // 719,162 days lie before 1970 in this reckoning, which begins with the year 1.
    let days = past * 365 + past / 4 - past / 100 + past / 400 - 719_162;
    let after_leap_day = u32::from(leaps && month > 2);
    Some(i64::from(days + BEFORE.get(place)? + after_leap_day + day - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_moment_reads_as_the_vocabulary_reads_it(micros in 0..253_402_300_799_999_999_i64) {
            let moment = Timestamp::from_micros(micros).unwrap();
            prop_assert_eq!(Scan::of(moment.to_string().as_bytes()).time(), Some(moment));
        }

        #[test]
        fn an_amount_reads_as_the_vocabulary_reads_it_and_no_other_text_does(
            micros in -9_000_000_000_000_000_i64..=9_000_000_000_000_000, text in "-?[0-9]{1,11}(\\.[0-9]{0,7})?",
        ) {
            let amount = Credits::from_micros(micros).unwrap();
            prop_assert_eq!(Scan::of(format!("\"{amount}\"").as_bytes()).credits(), Some(amount));
            let read = Scan::of(format!("\"{text}\"").as_bytes()).credits();
            let canonical = text.parse::<Credits>().ok().filter(|amount| amount.to_string() == text);
            prop_assert_eq!(read, canonical);
        }

        #[test]
        fn an_id_reads_as_the_vocabulary_reads_it(bytes in any::<[u8; 16]>(), text in "[0-9A-Za-z]{26}") {
            let id = KeyId::from_bytes(bytes);
            prop_assert_eq!(Scan::of(id.to_string().as_bytes()).key(), Some(id));
            let text = format!("key_{text}");
            prop_assert_eq!(Scan::of(text.as_bytes()).key(), text.parse().ok());
        }

        #[test]
        fn a_number_has_no_needless_zero(text in "[0-9]{1,21}") {
            let read = Scan::of(text.as_bytes()).number();
            let canonical = text.parse::<u64>().ok().filter(|number| number.to_string() == text);
            prop_assert_eq!(read, canonical);
        }
    }

    #[test]
    fn days_that_there_are_not_are_no_moments() {
        for text in [
            "2026-02-29T00:00:00.000000Z",
            "2100-02-29T00:00:00.000000Z",
            "2026-00-10T00:00:00.000000Z",
            "2026-13-10T00:00:00.000000Z",
            "2026-04-31T00:00:00.000000Z",
            "2026-04-00T00:00:00.000000Z",
            "2026-04-01T24:00:00.000000Z",
            "2026-04-01T00:00:60.000000Z",
            "1969-12-31T23:59:59.000000Z",
        ] {
            assert_eq!(Scan::of(text.as_bytes()).time(), None, "{text}");
        }
        for text in ["2028-02-29T00:00:00.000000Z", "2000-02-29T00:00:00.000000Z"] {
            assert_eq!(Scan::of(text.as_bytes()).time(), text.parse().ok(), "{text}");
        }
    }
}
