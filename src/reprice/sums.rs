//! What was charged, and what would have been.

use keyledger_events::{Credits, CreditsTotal};

/// Sums over charges and refunds, each counted in the time when it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    pub charges: u64,
    pub quantity: u64,
    /// Before refunds.
    pub charged: CreditsTotal,
    pub refunded: CreditsTotal,
    /// Before refunds, at the other prices.
    pub would_charge: CreditsTotal,
    /// The same part of what would have been charged as was refunded of what was.
    pub would_refund: CreditsTotal,
}

/// A sum is more than there is room for: never one of credits that were paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sum leaves its bounds")]
pub struct OutOfBounds;

impl Sums {
    pub(super) fn charge(quantity: u64, charged: Credits, would_charge: CreditsTotal) -> Sums {
        Sums {
            charges: 1,
            quantity,
            charged: charged.into(),
            would_charge,
            ..Sums::default()
        }
    }

    pub(super) fn refund(refunded: Credits, would_refund: CreditsTotal) -> Sums {
        Sums {
            refunded: refunded.into(),
            would_refund,
            ..Sums::default()
        }
    }

    pub(super) fn add(&mut self, more: Sums) -> Result<(), OutOfBounds> {
        let count = |a: u64, b: u64| a.checked_add(b).ok_or(OutOfBounds);
        let sum = |a: CreditsTotal, b: CreditsTotal| a.plus(b).ok_or(OutOfBounds);
        *self = Sums {
            charges: count(self.charges, more.charges)?,
            // What was counted wrongly, and so was free, is no reason to count nothing.
            quantity: self.quantity.saturating_add(more.quantity),
            charged: sum(self.charged, more.charged)?,
            refunded: sum(self.refunded, more.refunded)?,
            would_charge: sum(self.would_charge, more.would_charge)?,
            would_refund: sum(self.would_refund, more.would_refund)?,
        };
        Ok(())
    }

    /// Charged, without what was refunded.
    pub fn net(&self) -> Result<CreditsTotal, OutOfBounds> {
        self.charged.minus(self.refunded).ok_or(OutOfBounds)
    }

    /// What would have been charged, without what would have been refunded.
    pub fn would_be(&self) -> Result<CreditsTotal, OutOfBounds> {
        self.would_charge.minus(self.would_refund).ok_or(OutOfBounds)
    }

    /// How much more it would have been; below zero where less.
    pub fn difference(&self) -> Result<CreditsTotal, OutOfBounds> {
        self.would_be()?.minus(self.net()?).ok_or(OutOfBounds)
    }
}

/// What units would have cost at a price, however much that is.
pub(super) fn at_price(price: Credits, quantity: u64) -> Result<CreditsTotal, OutOfBounds> {
    let micros = i128::from(price.micros()).checked_mul(i128::from(quantity));
    micros.map(CreditsTotal::from_micros).ok_or(OutOfBounds)
}

/// What a refund would have been: as much of the other price as it is of the one that was paid. Less than a millionth of a
/// credit is cut off.
pub(super) fn in_proportion(amount: Credits, price: Credits, paid: Credits) -> CreditsTotal {
    if paid.is_zero() {
        return CreditsTotal::ZERO;
    }
    let micros = i128::from(amount.micros()) * i128::from(price.micros()) / i128::from(paid.micros());
    CreditsTotal::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credits(text: &str) -> Credits {
        text.parse().unwrap()
    }

    #[test]
    fn a_refund_is_the_same_part_of_what_would_have_been_charged() {
        let refund = |amount, price, paid| in_proportion(credits(amount), credits(price), credits(paid)).to_string();
        assert_eq!(refund("1.5", "0.75", "0.5"), "2.25");
        assert_eq!(refund("0.000001", "1", "3"), "0");
        assert_eq!(refund("1", "0", "3"), "0");
        assert_eq!(refund("0", "1", "0"), "0");
        assert_eq!(
            refund("9000000000", "9000000000", "0.000001"),
            "81000000000000000000000000"
        );
    }

    #[test]
    fn sums_are_of_what_was_made_and_the_difference_is_without_refunds() {
        let mut sums = Sums::charge(3, credits("1.5"), credits("3").into());
        sums.add(Sums::refund(credits("0.5"), credits("1").into())).unwrap();
        let total = |text| Ok(CreditsTotal::from(credits(text)));
        assert_eq!(
            (sums.net(), sums.would_be(), sums.difference()),
            (total("1"), total("2"), total("1"))
        );
    }

    #[test]
    fn sums_go_beyond_what_one_amount_can_be() {
        let would = at_price(Credits::MAX, 3).unwrap();
        let mut sums = Sums::charge(3, Credits::MAX, would);
        sums.add(Sums::charge(3, Credits::MAX, would)).unwrap();
        assert_eq!(
            (sums.net().unwrap().to_string(), sums.difference().unwrap().to_string()),
            ("18000000000".to_owned(), "36000000000".to_owned())
        );
    }
}
