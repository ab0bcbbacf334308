//! A client that left before the end: the member came later, and is absent where nobody left or nothing is known of it.

use super::{is_as_released, recorded, samples};
use crate::*;

fn sample(named: &str) -> Event {
    let found = samples().into_iter().find(|(name, _)| *name == named);
    found.unwrap().1
}

#[test]
fn a_charge_and_a_release_say_how_far_a_client_had_come_that_left() {
    let (Event::CreditsCharged(charged), Event::CreditsReleased(released)) =
        (sample("credits-charged"), sample("credits-released"))
    else {
        panic!("a charge and a release");
    };
    let charged = CreditsCharged {
        client_left: Some(ClientLeft::Early),
        ..charged
    };
    let released = CreditsReleased {
        client_left: Some(ClientLeft::NearEnd),
        ..released
    };
    is_as_released("credits-charged-left", &recorded(104, charged.into()));
    is_as_released("credits-released-near-end", &recorded(105, released.into()));
}
