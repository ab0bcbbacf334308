//! A reservation of a result that is paid once: the member came later, and is absent where it is not set.

use super::{is_as_released, recorded, samples};
use crate::*;

#[test]
fn a_reservation_with_a_mark_has_its_own_bytes_and_one_without_the_old_ones() {
    let (_, event) = samples()
        .into_iter()
        .find(|(name, _)| *name == "credits-reserved")
        .unwrap();
    let Event::CreditsReserved(bare) = event else {
        panic!("a reservation");
    };
    let marked = CreditsReserved {
        once: Some(OnceMark::of(
            &KeyDigest::of("sk_live_example"),
            "GET",
            "/serp/results/7",
        )),
        ..bare.clone()
    };
    let (marked, bare) = (recorded(100, marked.into()), recorded(100, bare.into()));
    is_as_released("credits-reserved-once", &marked);
    assert!(!String::from_utf8(bare.encode()).unwrap().contains("once"));
}
