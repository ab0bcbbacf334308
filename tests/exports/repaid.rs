//! What is owed on the credit limit, and paid by a grant whose time is over.

use keyledger_events::{CreditsCharged, CreditsExpired, CreditsGranted, CreditsReserved, Event};

use super::forged::placed;
use super::makings::*;
use super::unjust::said;

/// Held on the credit limit, charged when a grant was there, and that grant's time is over.
fn over(amount: &str, repays: &str) -> Vec<Vec<u8>> {
    let events: Vec<Event> = vec![
        opened("5").into(),
        created(KEY).into(),
        CreditsReserved {
            from: Vec::new(),
            on_limit: credits("1"),
            ..held(1)
        }
        .into(),
        CreditsGranted {
            expires_at: Some(at(5)),
            ..granted(GRANT, "10")
        }
        .into(),
        CreditsCharged {
            spent: Vec::new(),
            charged_on_limit: credits("0.5"),
            returned_to: Vec::new(),
            returned_to_limit: credits("0.5"),
            ..charged(1, at(2))
        }
        .into(),
        CreditsExpired {
            grant: GRANT,
            amount: credits(amount),
            repays: credits(repays),
        }
        .into(),
    ];
    placed(story(events))
}

#[test]
fn a_grant_whose_time_is_over_repays_what_is_owed_and_no_more() {
    let (code, _, told) = said(&over("9.5", "0.5"));
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains(r#""available":"0""#) && told.contains(r#""expired":"9.5""#),
        "{told}"
    );
    for (amount, repays) in [("9", "1"), ("10.5", "-0.5"), ("10", "0.5")] {
        let (code, position, told) = said(&over(amount, repays));
        assert_eq!((code, position), (1, Some(6)), "{amount} {repays} {told}");
    }
}
