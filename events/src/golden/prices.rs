//! Prices that are published for everybody.

use super::{credits, is_as_released, recorded, time};
use crate::*;

fn bare(endpoint: &str, pattern: &str, price: &str) -> PublishedPrice {
    PublishedPrice {
        endpoint: Endpoint::parse(endpoint).unwrap(),
        pattern: pattern.to_owned(),
        price: credits(price),
        unit: "request".to_owned(),
        quantity: None,
        quantity_max: None,
        when_more: None,
        once_per: None,
        rate_per_second: None,
        rate_burst: None,
        settle: None,
        upstream: None,
    }
}

pub(super) fn published() -> Event {
    let counted = PublishedPrice {
        unit: "conversation".to_owned(),
        quantity: Some(PublishedQuantity::Json("/conversations".to_owned())),
        quantity_max: Some(50),
        when_more: Some("top-up".to_owned()),
        once_per: Some("path".to_owned()),
        rate_per_second: Some(10),
        rate_burst: Some(20),
        settle: Some("later".to_owned()),
        upstream: Some("slow".to_owned()),
        ..bare("ai_visibility", "GET /ai-visibility/{*rest}", "0.5")
    };
    let by_header = PublishedPrice {
        quantity: Some(PublishedQuantity::Header("x-result-count".to_owned())),
        quantity_max: Some(1_000),
        ..bare("conversions", "ANY /conversions", "0.000001")
    };
    PricesPublished {
        version: 7,
        valid_from: time("2027-01-01T00:00:00Z"),
        prices: vec![counted, by_header, bare("serp", "GET /serp", "0.75")],
    }
    .into()
}

#[test]
fn a_whole_book_is_one_event_of_the_systems_own() {
    let of_all = |n, event| Recorded {
        account: AccountId::SYSTEM,
        ..recorded(n, event)
    };
    is_as_released("prices-published", &of_all(150, published()));
    let none = PricesPublished {
        version: 8,
        valid_from: time("2027-01-01T00:00:00.000001Z"),
        prices: vec![],
    };
    is_as_released("prices-published-bare", &of_all(151, none.into()));
    assert_eq!(AccountId::SYSTEM.to_string(), "acct_00000000000000000000000000");
}
