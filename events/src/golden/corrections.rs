//! Corrections: credits taken away, and credits given for a reason. The reason of a grant came later, and is absent where
//! none is said.

use super::{credits, is_as_released, part, recorded, samples, ulid};
use crate::*;

/// The types that have their samples here.
pub(super) const TYPES: &[&str] = &["keyledger.CreditsCorrected.v1"];

fn corrected() -> CreditsCorrected {
    let (ms, random) = ulid(8);
    CreditsCorrected {
        correction: CorrectionId::from_parts(ms, random),
        amount: credits("3.5"),
        from: vec![part("3")],
        on_limit: credits("0.5"),
        reason: Reason::parse("Granted \"twice\"").unwrap(),
    }
}

#[test]
fn a_correction_says_what_it_took_and_why() {
    is_as_released("credits-corrected", &recorded(130, corrected().into()));
    let bare = CreditsCorrected {
        amount: credits("3"),
        on_limit: Credits::ZERO,
        ..corrected()
    };
    is_as_released("credits-corrected-bare", &recorded(131, bare.into()));
}

#[test]
fn a_grant_for_a_reason_has_its_own_bytes_and_one_without_the_old_ones() {
    let (_, event) = samples()
        .into_iter()
        .find(|(name, _)| *name == "credits-granted")
        .unwrap();
    let Event::CreditsGranted(bare) = event else {
        panic!("a grant");
    };
    let reasoned = CreditsGranted {
        source: GrantSource::Correction,
        reason: Some(Reason::parse("An outage of 2 h").unwrap()),
        ..bare.clone()
    };
    is_as_released("credits-granted-for-a-reason", &recorded(132, reasoned.into()));
    assert!(
        !String::from_utf8(recorded(132, bare.into()).encode())
            .unwrap()
            .contains("reason")
    );
}
