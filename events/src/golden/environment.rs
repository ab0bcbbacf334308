//! Work of test keys says so; what is not said is live, and has the old bytes.

use super::{is_as_released, key, part, recorded, reservation, time, work};
use crate::*;

fn tried() -> PaidWork {
    PaidWork {
        unit_price: Credits::ZERO,
        environment: Environment::Test,
        ..work()
    }
}

#[test]
fn work_of_a_test_key_has_its_own_bytes() {
    let used = KeyUsed {
        key: key(),
        endpoint: Endpoint::parse("serp").unwrap(),
        reservation: reservation(),
        request: None,
        network: None,
        user_agent: None,
        environment: Environment::Test,
    };
    is_as_released("key-used-test", &recorded(120, used.into()));
    let reserved = CreditsReserved {
        reservation: reservation(),
        work: tried(),
        quantity: 2,
        amount: Credits::ZERO,
        from: vec![],
        on_limit: Credits::ZERO,
        expires_at: time("2026-11-24T14:18:07Z"),
        once: None,
    };
    is_as_released("credits-reserved-test", &recorded(121, reserved.into()));
    let charged = CreditsCharged {
        reservation: reservation(),
        work: tried(),
        quantity: 2,
        charged: Credits::ZERO,
        returned: Credits::ZERO,
        spent: vec![],
        returned_to: vec![],
        charged_on_limit: Credits::ZERO,
        returned_to_limit: Credits::ZERO,
        reserved_at: time("2026-11-24T14:03:07Z"),
        client_left: None,
    };
    is_as_released("credits-charged-test", &recorded(122, charged.into()));
}

#[test]
fn live_work_does_not_say_so() {
    let released = CreditsReleased {
        reservation: reservation(),
        work: work(),
        returned: Credits::ZERO,
        returned_to: vec![part("1")],
        returned_to_limit: Credits::ZERO,
        cause: ReleaseCause::Queued,
        reserved_at: time("2026-11-24T14:03:07Z"),
        client_left: None,
    };
    let text = String::from_utf8(recorded(123, released.into()).encode()).unwrap();
    assert!(!text.contains("environment"), "{text}");
    let said = text.replace("\"price_version\":0", "\"price_version\":0,\"environment\":\"live\"");
    assert_ne!(said, text);
    assert!(Recorded::decode(said.as_bytes()).is_err(), "one event has one spelling");
}
