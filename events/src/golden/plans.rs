//! Plans, and the grants that they give: the members of a grant came later, and are absent where no plan gave it.

use super::{credits, is_as_released, part, recorded, samples, time, ulid};
use crate::*;

/// The types that have their samples here.
pub(super) const TYPES: &[&str] = &["keyledger.PlanStarted.v1", "keyledger.PlanEnded.v1"];

fn plan() -> PlanId {
    let (ms, random) = ulid(9);
    PlanId::from_parts(ms, random)
}

#[test]
fn a_plan_says_what_it_gives_and_how_often() {
    let started = PlanStarted {
        plan: plan(),
        amount: credits("100"),
        period: Period::Month,
        starts_at: time("2026-12-01T00:00:00Z"),
        rollover_cap: credits("50"),
    };
    is_as_released("plan-started", &recorded(150, started.clone().into()));
    for (n, period) in [(151, Period::Week), (152, Period::Day)] {
        let bare = PlanStarted {
            period,
            rollover_cap: Credits::ZERO,
            ..started.clone()
        };
        is_as_released(
            &format!("plan-started-each-{}", period.as_str()),
            &recorded(n, bare.into()),
        );
    }
    is_as_released("plan-ended", &recorded(153, PlanEnded { plan: plan() }.into()));
}

#[test]
fn a_grant_of_a_plan_has_its_own_bytes_and_one_without_the_old_ones() {
    let (_, event) = samples()
        .into_iter()
        .find(|(name, _)| *name == "credits-granted")
        .unwrap();
    let Event::CreditsGranted(bare) = event else {
        panic!("a grant");
    };
    let number = 2;
    let of_plan = CreditsGranted {
        source: GrantSource::Plan,
        period: Some(PlanPeriod { plan: plan(), number }),
        rolled_over: Some(part("20")),
        reference: None,
        ..bare.clone()
    };
    is_as_released("credits-granted-by-a-plan", &recorded(154, of_plan.into()));
    let bare = String::from_utf8(recorded(154, bare.into()).encode()).unwrap();
    assert!(!bare.contains("period") && !bare.contains("rolled_over"), "{bare}");
}
