//! How many units an answer delivered, by the rule of its price.
//!
//! Doubt favours the customer: what cannot be counted is zero, with a warning for whoever set the price.
//!
//! Not here: what becomes of units beyond those that were held for; see `top_up`.

use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::json_count::JsonCount;
use crate::prices::{PriceRule, Quantity};

/// What an answer's count comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    /// Units that the hold covers.
    pub quantity: u64,
    /// Units beyond it.
    pub more: u64,
}

impl From<u64> for Counted {
    fn from(quantity: u64) -> Counted {
        Counted { quantity, more: 0 }
    }
}

/// The count of one answer, while its body streams by.
#[derive(Debug)]
pub(super) struct Count {
    counting: Counting,
    quantity_max: u64,
}

#[derive(Debug)]
enum Counting {
    Known(u64),
    Json(Box<JsonCount>),
}

impl Count {
    /// Begins at the head of an answer.
    pub(super) fn begin(rule: &PriceRule, headers: &HeaderMap) -> Count {
        let counting = match &rule.quantity {
            Quantity::Fixed => Counting::Known(1),
            Quantity::Header(name) => {
                let mut values = headers.get_all(name).iter();
                let one = values.next().filter(|_| values.next().is_none());
                let count = one.and_then(|value| value.to_str().ok()?.trim().parse().ok());
                if count.is_none() {
                    tracing::warn!(endpoint = %rule.endpoint, header = %name, "the answer has no count in its header; nothing is charged");
                }
                Counting::Known(count.unwrap_or(0))
            }
            // We asked for no encoding; an upstream that encodes all the same cannot be counted.
            Quantity::Json(_) if encoded(headers) => {
                tracing::warn!(endpoint = %rule.endpoint, "the answer is content-encoded and cannot be counted; nothing is charged");
                Counting::Known(0)
            }
            Quantity::Json(pointer) => Counting::Json(Box::new(JsonCount::new(pointer.clone()))),
        };
        Count {
            counting,
            quantity_max: rule.quantity_max,
        }
    }

    /// What the answer comes to, where its head already says so.
    pub(super) fn known(&self) -> Option<Counted> {
        match &self.counting {
            Counting::Known(count) => Some(self.split(*count)),
            Counting::Json(_) => None,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        match &mut self.counting {
            Counting::Known(_) => {}
            Counting::Json(count) => count.feed(bytes),
        }
    }

    /// The units that were delivered, once the body has ended whole.
    pub(super) fn end(&mut self) -> Counted {
        let count = match &mut self.counting {
            Counting::Known(count) => *count,
            Counting::Json(count) => count.end().unwrap_or_else(|| {
                tracing::warn!("the answer has no count at its JSON pointer; nothing is charged");
                0
            }),
        };
        self.split(count)
    }

    fn split(&self, count: u64) -> Counted {
        let quantity = count.min(self.quantity_max);
        Counted {
            quantity,
            more: count - quantity,
        }
    }
}

fn encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}
