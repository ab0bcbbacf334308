//! Uses of a key that were refused.

use super::{is_as_released, key, recorded};
use crate::*;

pub(super) fn denied(reason: DenyReason) -> Event {
    let denied = KeyUseDenied {
        key: key(),
        reason,
        count: 42,
    };
    denied.into()
}

#[test]
fn denials_say_why_and_how_often() {
    let reasons = [
        DenyReason::Deleted,
        DenyReason::Expired,
        DenyReason::Scope,
        DenyReason::NoCredits,
        DenyReason::SpendingLimit,
    ];
    for (n, reason) in (130..).zip(reasons) {
        let name = format!("key-use-denied-{}", reason.as_str());
        is_as_released(&name, &recorded(n, denied(reason)));
    }
}
