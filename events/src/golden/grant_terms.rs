//! Grants that take effect later, and those that burn on some endpoints only: the members came later, and are absent where
//! they are not set.

use super::{credits, grant, is_as_released, recorded, samples, time};
use crate::*;

/// The types that have their samples here.
pub(super) const TYPES: &[&str] = &["keyledger.GrantStarted.v1"];

fn given() -> CreditsGranted {
    let (_, event) = samples()
        .into_iter()
        .find(|(name, _)| *name == "credits-granted")
        .unwrap();
    let Event::CreditsGranted(given) = event else {
        panic!("a grant");
    };
    given
}

fn some_endpoints() -> Option<Scopes> {
    Some(vec!["serp".to_owned(), "ai_visibility".to_owned()].try_into().unwrap())
}

#[test]
fn a_grant_with_terms_has_its_own_bytes_and_one_without_the_old_ones() {
    let later = CreditsGranted {
        starts_at: Some(time("2026-12-01T00:00:00Z")),
        repays: Credits::ZERO,
        ..given()
    };
    is_as_released("credits-granted-later", &recorded(140, later.clone().into()));
    let bound = CreditsGranted {
        endpoints: some_endpoints(),
        ..later
    };
    is_as_released("credits-granted-bound", &recorded(141, bound.into()));
    let bare = String::from_utf8(recorded(141, given().into()).encode()).unwrap();
    assert!(!bare.contains("starts_at") && !bare.contains("endpoints"), "{bare}");
}

#[test]
fn a_grant_that_takes_effect_says_what_it_repays() {
    let started = GrantStarted {
        grant: grant(),
        amount: credits("100"),
        repays: credits("2.5"),
    };
    is_as_released("grant-started", &recorded(142, started.clone().into()));
    let bare = GrantStarted {
        repays: Credits::ZERO,
        ..started
    };
    is_as_released("grant-started-bare", &recorded(143, bare.into()));
}

#[test]
fn a_grant_whose_time_is_over_says_what_it_repays() {
    let expired = CreditsExpired {
        grant: grant(),
        amount: Credits::ZERO,
        repays: credits("2.5"),
    };
    is_as_released("credits-expired-repaying", &recorded(175, expired.into()));
}

#[test]
fn a_grant_that_is_there_again_has_its_endpoints_still() {
    let terms = GrantTerms {
        grant: grant(),
        amount: credits("100"),
        priority: 0,
        expires_at: None,
        source: GrantSource::Purchase,
        granted_at: time("2026-11-01T00:00:00Z"),
        endpoints: some_endpoints(),
    };
    let text = serde_json::to_string(&terms).unwrap();
    assert!(text.ends_with(r#""endpoints":["ai_visibility","serp"]}"#), "{text}");
    assert_eq!(serde_json::from_str::<GrantTerms>(&text).unwrap(), terms);
}
