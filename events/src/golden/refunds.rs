//! Charges that are taken back: to grants that are there, to grants that are there again, and to the credit limit.

use super::{account, credits, grant, is_as_released, part, recorded, reservation, time, ulid, work};
use crate::*;

/// The types that have their samples here.
pub(super) const TYPES: &[&str] = &["keyledger.CreditsRefunded.v1"];

fn refund() -> CreditsRefunded {
    let (ms, random) = ulid(6);
    CreditsRefunded {
        refund: RefundId::from_parts(ms, random),
        reservation: reservation(),
        work: work(),
        amount: credits("2.5"),
        reason: Reason::parse("The data was \"stale\"").unwrap(),
        returned_to: vec![part("2.5")],
        reopened: vec![],
        repays: Credits::ZERO,
        as_grant: None,
        charged_at: time("2026-11-24T14:03:08Z"),
    }
}

#[test]
fn a_refund_says_where_its_credits_went() {
    is_as_released("credits-refunded-bare", &recorded(110, refund().into()));
    let (ms, random) = ulid(7);
    let terms = GrantTerms {
        grant: grant(),
        amount: credits("100"),
        priority: -5,
        expires_at: Some(time("2027-01-01T00:00:00.000001Z")),
        source: GrantSource::Plan,
        granted_at: time("2026-11-01T00:00:00Z"),
        endpoints: None,
    };
    let full = CreditsRefunded {
        amount: credits("5.75"),
        reopened: vec![terms],
        repays: credits("3"),
        as_grant: Some(GrantPart {
            grant: GrantId::from_parts(ms, random),
            amount: credits("0.25"),
        }),
        ..refund()
    };
    let recorded = recorded(111, full.into());
    assert_eq!(recorded.account, account());
    is_as_released("credits-refunded", &recorded);
}
