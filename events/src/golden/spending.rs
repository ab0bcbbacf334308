//! Keys that may spend so much and no more.

use super::{credits, is_as_released, key, recorded, samples};
use crate::*;

fn limit(amount: &str, per: SpendingPeriod) -> SpendingLimit {
    SpendingLimit {
        amount: credits(amount),
        per,
    }
}

pub(super) fn limited(limit: Option<SpendingLimit>) -> Event {
    KeySpendingLimited { key: key(), limit }.into()
}

#[test]
fn a_limit_is_said_at_a_keys_creation_and_when_it_changes() {
    let (_, event) = samples().into_iter().find(|(name, _)| *name == "key-created").unwrap();
    let Event::KeyCreated(created) = event else {
        panic!("a new key");
    };
    let created = KeyCreated {
        spending_limit: Some(limit("12.5", SpendingPeriod::Month)),
        ..created
    };
    is_as_released("key-created-spending", &recorded(140, created.into()));
    is_as_released(
        "key-spending-limited",
        &recorded(141, limited(Some(limit("5", SpendingPeriod::Day)))),
    );
    is_as_released("key-spending-limited-no-more", &recorded(142, limited(None)));
}
