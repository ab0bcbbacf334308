//! Which price book held: the log itself says so, and every price in it is of that book.

use keyledger::ledger::{ChargeAtOnce, Ledger, LedgerOptions, Price, PublishPrices, Refusal, SubmitError};
use keyledger::{clock, log::Log};
use keyledger_events::{AccountId, Endpoint, Event, PublishedPrice, Recorded, Shard};

use super::customer::{Customer, by_system};
use super::writers::whole_log;
use crate::harness::Harness;

/// At each moment the book that was published last of those whose moment has come. What a hold was made by is what it is
/// charged by.
pub fn prices_are_those_that_held(log: &[Recorded]) {
    let mut books: Vec<(u64, keyledger_events::Timestamp)> = Vec::new();
    let mut held = std::collections::HashMap::new();
    let mut seen = 0;
    for recorded in log {
        if let Event::PricesPublished(e) = &recorded.event {
            assert!(e.valid_from >= recorded.time);
            books.push((e.version, e.valid_from));
        } else if let Event::CreditsReserved(e) = &recorded.event {
            let holds = books
                .iter()
                .filter(|(_, from)| *from <= recorded.time)
                .map(|(version, _)| *version)
                .max();
            assert_eq!(
                e.work.price_version,
                holds.unwrap_or(0),
                "position {}",
                recorded.position
            );
            held.insert(e.reservation, e.work.clone());
            seen += 1;
        } else if let Event::CreditsCharged(e) = &recorded.event {
            assert_eq!(e.work, held[&e.reservation]);
        }
    }
    assert!(seen > 0, "nothing had a price");
}

pub fn price(amount: &str) -> PublishedPrice {
    PublishedPrice {
        endpoint: Endpoint::parse("serp").unwrap(),
        pattern: "GET /serp".to_owned(),
        price: amount.parse().unwrap(),
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

pub fn publish(amount: &str) -> PublishPrices {
    PublishPrices {
        prices: vec![price(amount)],
        valid_from: None,
    }
}

fn charge(account: AccountId, version: u64) -> ChargeAtOnce {
    ChargeAtOnce {
        account,
        key: None,
        reservation: clock::fresh_reservation_id(),
        endpoint: Endpoint::parse("serp").unwrap(),
        quantity: 1,
        price: Price {
            unit: "1".parse().unwrap(),
            version,
        },
    }
}

async fn holds_instead(ledger: &Ledger, account: AccountId, version: u64) -> Option<u64> {
    match ledger.submit(charge(account, version), by_system()).await {
        Ok(_) => None,
        Err(SubmitError::Refused {
            refusal: Refusal::OtherPricesHold { version },
            ..
        }) => Some(version),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_writer_knows_what_another_one_published_without_having_heard_of_it() {
    let harness = Harness::start().await;
    let (here, there) = (harness.ledger(), harness.ledger());
    let customer = Customer::open(&here, "100").await;
    // Both have the account in memory, and no book.
    for ledger in [&here, &there] {
        assert_eq!(holds_instead(ledger, customer.account, 0).await, None);
        assert_eq!(holds_instead(ledger, customer.account, 7).await, Some(0));
    }
    for version in 1..=20 {
        let (publisher, other) = if version % 2 == 0 {
            (&here, &there)
        } else {
            (&there, &here)
        };
        publisher.submit(publish("1"), by_system()).await.unwrap();
        // At once, in the process that only reads of it when it loses the race.
        assert_eq!(holds_instead(other, customer.account, version - 1).await, Some(version));
        assert_eq!(holds_instead(other, customer.account, version).await, None);
        assert_eq!(
            holds_instead(publisher, customer.account, version - 1).await,
            Some(version)
        );
    }
    prices_are_those_that_held(&whole_log(&harness.log()).await);
}

#[tokio::test]
async fn a_writer_that_has_room_for_next_to_nothing_still_knows_the_prices() {
    let harness = Harness::start().await;
    let options = LedgerOptions {
        account_bytes_max: 1,
        ..LedgerOptions::default()
    };
    let log = Log::new(harness.another_pool(), Shard(0));
    let (small, _) = Ledger::start(log, options, harness.stop.clone());
    let customers = [Customer::open(&small, "100").await, Customer::open(&small, "100").await];
    for version in 1..=5 {
        small.submit(publish("1"), by_system()).await.unwrap();
        for customer in customers.iter().cycle().take(6) {
            assert_eq!(holds_instead(&small, customer.account, version).await, None);
            assert_eq!(
                holds_instead(&small, customer.account, version - 1).await,
                Some(version)
            );
        }
    }
}
