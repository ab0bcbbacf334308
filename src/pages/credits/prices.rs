//! The prices in force, and the next ones, in words.

use keyledger_events::Timestamp;

use crate::pages::amount::in_words;
use crate::pages::moment::{Moment, thousands};
use crate::prices::{PriceBook, PriceRule, Quantity, SettleAt, WhenMore};
use crate::shelf::Dated;

/// What an endpoint costs. Rules that say the same of one endpoint are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PriceRow {
    pub(super) endpoint: String,
    /// `0.5 credits per request`.
    pub(super) cost: String,
    /// When it is charged, a sentence each.
    pub(super) when: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Prices {
    pub(super) rows: Vec<PriceRow>,
    /// Whether nothing at all is charged but for data that was retrieved.
    pub(super) only_for_data: bool,
}

/// The prices that take their place.
#[derive(Debug)]
pub(super) struct NextPrices {
    pub(super) from: Moment,
    pub(super) prices: Prices,
}

impl NextPrices {
    pub(super) fn of(next: &Dated, now: Timestamp) -> Option<NextPrices> {
        Some(NextPrices {
            from: Moment::new(next.published?.valid_from, now),
            prices: Prices::of(&next.book),
        })
    }
}

impl Prices {
    pub(super) fn of(book: &PriceBook) -> Prices {
        let mut rows: Vec<PriceRow> = Vec::new();
        for row in book.rules().map(PriceRow::new) {
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        Prices {
            rows,
            only_for_data: book.rules().all(|rule| rule.settle == SettleAt::Later),
        }
    }
}

impl PriceRow {
    fn new(rule: &PriceRule) -> PriceRow {
        let PriceRule { unit, quantity_max, .. } = rule;
        let most = thousands(*quantity_max);
        let mut when = vec![match (&rule.quantity, rule.when_more) {
            (Quantity::Fixed, _) => "Each time a request brings data.".to_owned(),
            (Quantity::Header(_) | Quantity::Json(_), WhenMore::Shortfall) => {
                format!("For each {unit} in the answer, up to {most}.")
            }
            (Quantity::Header(_) | Quantity::Json(_), WhenMore::TopUp) => {
                format!("For each {unit} in the answer. {most} are held while it is fetched.")
            }
        }];
        if rule.once_per_path {
            when.push("The same result is charged once a day for each key.".to_owned());
        }
        if rule.settle == SettleAt::AtOnce {
            when.push("Through another proxy: as soon as the request is let through.".to_owned());
        }
        if let Some(rate) = rule.rate {
            when.push(format!(
                "At most {} a second for each key.",
                thousands(u64::from(rate.per_second))
            ));
        }
        PriceRow {
            endpoint: rule.endpoint.as_str().to_owned(),
            cost: if rule.price.is_zero() {
                "Free".to_owned()
            } else {
                format!("{} per {unit}", in_words(rule.price))
            },
            when,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prices::{PriceEntry, QuantityEntry};

    fn entry(endpoint: &str, pattern: &str, price: &str, unit: &str) -> PriceEntry {
        PriceEntry {
            endpoint: endpoint.to_owned(),
            pattern: pattern.to_owned(),
            price: price.to_owned(),
            unit: unit.to_owned(),
            ..PriceEntry::default()
        }
    }

    #[test]
    fn the_book_is_told_as_the_help_page_does() {
        let counted = PriceEntry {
            quantity: QuantityEntry::Json("/conversations".to_owned()),
            quantity_max: Some(50),
            ..entry("ai_visibility", "GET /ai", "0.5", "conversation")
        };
        let entries = [
            entry("serp", "GET /serp", "0.5", "request"),
            entry("serp", "POST /serp", "0.5", "request"),
            counted,
            entry("status", "GET /status", "0", "request"),
        ];
        let prices = Prices::of(&PriceBook::new(&entries, 0).unwrap());
        let told: Vec<_> = prices
            .rows
            .iter()
            .map(|row| (row.endpoint.as_str(), row.cost.as_str()))
            .collect();
        let expected = [
            ("serp", "0.5 credits per request"),
            ("ai_visibility", "0.5 credits per conversation"),
            ("status", "Free"),
        ];
        assert_eq!(told, expected);
        assert!(prices.only_for_data);
        assert_eq!(prices.rows[1].when, ["For each conversation in the answer, up to 50."]);
    }

    #[test]
    fn a_price_that_is_charged_at_once_takes_the_promise_back() {
        let at_once = PriceEntry {
            settle: SettleAt::AtOnce,
            ..entry("serp", "GET /serp", "1", "request")
        };
        let prices = Prices::of(&PriceBook::new(&[at_once], 0).unwrap());
        assert!(!prices.only_for_data);
        assert_eq!(prices.rows[0].cost, "1 credit per request");
    }
}
