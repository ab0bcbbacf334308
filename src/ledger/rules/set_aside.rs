//! What the rules say of grants that not every use may burn: those for later, and those for some endpoints only.

use super::scenario::*;
use crate::ledger::refusal::Refusal;

fn insufficient(required: &str, available: &str) -> Refusal {
    Refusal::InsufficientCredits {
        required: credits(required),
        available: credits(available),
    }
}

#[test]
fn a_grant_for_later_is_there_when_its_time_comes_and_not_before() {
    let mut s = Scenario::with_credits("1");
    s.when(grant(2, "10").from(60)).succeeds();
    s.later(59);
    assert_eq!(s.available(), "1");
    s.when(reserve(R1, "2")).refused(insufficient("2", "1"));
    s.later(1);
    s.when(settle_due()).writes(&["GrantStarted"]);
    assert_eq!(s.available(), "11");
    s.when(reserve(R1, "2")).succeeds();
    s.when(settle_due()).changes_nothing();
}

#[test]
fn a_grant_for_a_time_that_is_over_was_there_and_is_gone() {
    let mut s = Scenario::with_credits("1");
    s.when(grant(2, "10").from(60).until(120)).succeeds();
    s.later(200);
    s.when(settle_due()).writes(&["GrantStarted", "CreditsExpired"]);
    assert_eq!(s.available(), "1");
    s.when(grant(3, "1").from(60).until(60)).refused(Refusal::OutOfRange {
        field: "expires_at".into(),
    });
}

#[test]
fn a_grant_repays_when_it_takes_effect() {
    let mut s = Scenario::with_limit("1", "5");
    s.when(reserve(R1, "4")).succeeds();
    s.when(charge_all(R1)).succeeds();
    s.when(grant(2, "2").from(60)).succeeds();
    s.when(grant(3, "2").from(60)).succeeds();
    assert_eq!((s.available().as_str(), s.account().owed), ("-3", credits("3")));
    s.later(60);
    s.when(settle_due()).writes(&["GrantStarted", "GrantStarted"]);
    assert_eq!((s.available().as_str(), s.account().owed), ("1", credits("0")));
}

#[test]
fn a_start_that_is_not_to_come_is_now() {
    let mut s = Scenario::with_credits("1");
    s.when(grant(2, "10").from(0)).writes(&["CreditsGranted"]);
    assert_eq!(s.available(), "11");
}

#[test]
fn what_is_for_an_endpoint_burns_there_first_and_nowhere_else() {
    let mut s = Scenario::with_credits("1");
    s.when(grant(2, "2").only_on(&["serp"]).until(600)).succeeds();
    s.when(grant(3, "2").only_on(&["serp", "echo"]).until(60)).succeeds();
    assert_eq!(s.available(), "1");
    s.when(reserve(R1, "3").of("echo")).succeeds();
    assert_eq!(s.parts_of(R1), "3:2 1:1");
    s.when(reserve(R2, "0.5").of("ai_visibility"))
        .refused(insufficient("0.5", "0"));
    s.when(reserve(R2, "2.5")).refused(insufficient("2.5", "2"));
    s.when(release(R1)).succeeds();
    s.when(reserve(R3, "4.5")).succeeds();
    assert_eq!(s.parts_of(R3), "3:2 2:2 1:0.5");
    s.when(charge(R3, 0)).succeeds();
    assert_eq!(s.available(), "1");
}

#[test]
fn what_is_for_an_endpoint_is_there_also_where_the_rest_is_over_its_limit() {
    let mut s = Scenario::with_limit("1", "5");
    s.when(reserve(R1, "4").of("echo")).succeeds();
    s.when(charge_all(R1)).succeeds();
    s.when(change_account().credit_limit("1")).succeeds();
    s.when(grant(2, "2").only_on(&["serp"])).succeeds();
    assert_eq!((s.available().as_str(), s.account().owed), ("-3", credits("3")));
    s.when(reserve(R2, "2")).succeeds();
    s.when(reserve(R3, "0.5")).refused(insufficient("0.5", "-3"));
}

#[test]
fn a_refund_returns_to_what_is_for_an_endpoint() {
    let mut s = Scenario::with_credits("1");
    s.when(grant(2, "2").only_on(&["serp"])).succeeds();
    s.when(reserve(R1, "2")).succeeds();
    s.when(charge_all(R1)).succeeds();
    s.when(s.refund(R1)).succeeds();
    assert_eq!(s.available(), "1");
    s.when(reserve(R2, "2").of("echo")).refused(insufficient("2", "1"));
    s.when(reserve(R2, "2")).succeeds();
}

#[test]
fn a_correction_leaves_alone_what_is_set_aside() {
    let mut s = Scenario::with_credits("1");
    s.when(grant(2, "2").only_on(&["serp"])).succeeds();
    s.when(grant(3, "2").from(60)).succeeds();
    let refusal = Refusal::CorrectionExceedsAvailable {
        asked: credits("2"),
        reach: credits("1"),
    };
    s.when(correct("-2")).refused(refusal);
}
