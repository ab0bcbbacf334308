//! What the rules say of results that are paid once.

use keyledger_events::OnceMark;

use super::scenario::*;

const RESULT: OnceMark = OnceMark::from_bytes([7; 16]);
const ANOTHER: OnceMark = OnceMark::from_bytes([8; 16]);

#[test]
fn a_result_that_was_charged_is_held_for_at_no_price_and_returned() {
    let mut s = Scenario::with_credits("0.5");
    s.when(reserve(R1, "0.5").once(RESULT)).succeeds();
    s.when(charge_all(R1)).writes(&["CreditsCharged"]);
    s.when(reserve(R2, "0.5").once(RESULT))
        .writes(&["KeyUsed", "CreditsReserved"]);
    s.when(charge_all(R2)).writes(&["CreditsReleased"]);
    s.when(charge_all(R2)).changes_nothing();
    s.when(release(R2)).changes_nothing();
    assert!(s.account().totals.charged == credits("0.5"));
}

#[test]
fn of_two_holds_for_one_result_the_second_charge_returns_all_of_it() {
    let mut s = Scenario::with_credits("1");
    s.when(reserve(R1, "0.5").once(RESULT)).succeeds();
    s.when(reserve(R2, "0.5").once(RESULT)).succeeds();
    s.when(charge_all(R2)).writes(&["CreditsCharged"]);
    s.when(charge_all(R1)).writes(&["CreditsReleased"]);
    assert_eq!(s.available(), "0.5");
}

#[test]
fn a_result_is_paid_by_a_charge_alone_and_for_a_day() {
    let mut s = Scenario::with_credits("10");
    s.when(reserve(R1, "0.5").once(RESULT)).succeeds();
    s.when(release(R1)).succeeds();
    s.when(reserve(R2, "0.5").once(RESULT)).succeeds();
    s.when(charge(R2, 0)).writes(&["CreditsCharged"]);
    s.when(reserve(R3, "0.5").once(RESULT)).succeeds();
    s.when(charge_all(R3)).writes(&["CreditsCharged"]);
    assert_eq!(s.available(), "9.5");
    assert!(s.account().paid.has(RESULT, s.now) && !s.account().paid.has(ANOTHER, s.now));
    s.later(24 * 60 * 60);
    assert!(!s.account().paid.has(RESULT, s.now));
}
