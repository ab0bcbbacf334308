//! Amounts of credits as people read them.

use keyledger_events::Credits;

use super::moment::thousands;

/// `1,234.5`.
pub(super) fn amount(credits: Credits) -> String {
    let exact = credits.to_string();
    let (sign, unsigned) = match exact.strip_prefix('-') {
        Some(unsigned) => ("−", unsigned),
        None => ("", exact.as_str()),
    };
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, format!(".{fraction}")),
        None => (unsigned, String::new()),
    };
    format!("{sign}{}{fraction}", thousands(whole.parse().unwrap_or_default()))
}

/// A round amount beside an axis, in few letters: `0.5`, `2,000`, `1.5M`. What is not round loses its rest.
pub(super) fn short(credits: Credits) -> String {
    let whole = credits.micros().unsigned_abs() / 1_000_000;
    let (unit, letter) = match whole {
        ..10_000 => return amount(credits),
        10_000..1_000_000 => (1_000, "k"),
        1_000_000.. => (1_000_000, "M"),
    };
    match whole * 10 / unit % 10 {
        0 => format!("{}{letter}", thousands(whole / unit)),
        tenth => format!("{}.{tenth}{letter}", thousands(whole / unit)),
    }
}

/// `1,234.5 credits`, `1 credit`.
pub(super) fn in_words(credits: Credits) -> String {
    let amount = amount(credits);
    let unit = if amount == "1" { "credit" } else { "credits" };
    format!("{amount} {unit}")
}

/// Adds what may be many. A sum beyond all bounds stays at the most there can be, since it is only looked at.
pub(super) fn sum(parts: impl IntoIterator<Item = Credits>) -> Credits {
    parts
        .into_iter()
        .fold(Credits::ZERO, |sum, part| sum.plus(part).unwrap_or(Credits::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_exact_and_its_thousands_stand_apart() {
        for (text, shown) in [
            ("0", "0"),
            ("0.5", "0.5"),
            ("1234567.000001", "1,234,567.000001"),
            ("-1000", "−1,000"),
        ] {
            assert_eq!(amount(text.parse().unwrap()), shown);
        }
        for (text, shown) in [("0.5", "0.5"), ("2000", "2,000"), ("15000", "15k"), ("1500000", "1.5M")] {
            assert_eq!(short(text.parse().unwrap()), shown);
        }
        assert_eq!(in_words("1".parse().unwrap()), "1 credit");
        assert_eq!(in_words("0.5".parse().unwrap()), "0.5 credits");
    }
}
