//! What the log and the account keep of clients that left before the end.

use keyledger_events::{ClientLeft, Event, ReleaseCause, ReservationId};

use super::scenario::*;
use super::{Beyond, ChargeDelivered, ReleaseReservation};

fn gone(reservation: ReservationId, client_left: Option<ClientLeft>) -> ReleaseReservation {
    ReleaseReservation {
        cause: ReleaseCause::ClientGone,
        client_left,
        ..release(reservation)
    }
}

fn charged_all_the_same(reservation: ReservationId, client_left: ClientLeft) -> ChargeDelivered {
    ChargeDelivered {
        account: account_id(),
        reservation,
        quantity: 1,
        beyond: Beyond::NotCharged,
        client_left: Some(client_left),
    }
}

/// What the newest event says of it.
fn logged(s: &Scenario) -> Option<ClientLeft> {
    let newest = &s.history.last().unwrap().event;
    if let Event::CreditsCharged(e) = newest {
        e.client_left
    } else if let Event::CreditsReleased(e) = newest {
        e.client_left
    } else {
        panic!("{newest:?}")
    }
}

fn hang_ups(s: &Scenario) -> usize {
    s.account().keys.get(&key_id()).unwrap().hang_ups.len()
}

#[test]
fn a_release_near_the_end_is_logged_and_remembered_of_its_key() {
    let mut s = Scenario::with_credits("100");
    let weight = s.account().weight();
    s.when(reserve(R1, "0.5")).succeeds();
    s.when(gone(R1, Some(ClientLeft::NearEnd))).writes(&["CreditsReleased"]);
    assert_eq!(logged(&s), Some(ClientLeft::NearEnd));
    s.when(gone(R1, Some(ClientLeft::NearEnd))).changes_nothing();
    assert_eq!(hang_ups(&s), 1);
    assert!(s.account().weight() > weight);
    s.when(create_key(2)).succeeds();
    let other = s.account().keys.values().next_back().unwrap();
    assert!(other.hang_ups.is_empty(), "another key's clients did not leave");
}

#[test]
fn a_client_that_left_early_or_at_a_moment_unknown_is_nobodys_habit() {
    let mut s = Scenario::with_credits("100");
    for (reservation, left) in [(R1, Some(ClientLeft::Early)), (R2, None)] {
        s.when(reserve(reservation, "0.5")).succeeds();
        s.when(gone(reservation, left)).writes(&["CreditsReleased"]);
        assert_eq!(logged(&s), left);
    }
    assert_eq!(hang_ups(&s), 0);
}

#[test]
fn only_a_client_that_is_gone_has_left() {
    let mut s = Scenario::with_credits("100");
    s.when(reserve(R1, "0.5")).succeeds();
    s.when(ReleaseReservation {
        client_left: Some(ClientLeft::NearEnd),
        ..release(R1)
    })
    .writes(&["CreditsReleased"]);
    assert_eq!((logged(&s), hang_ups(&s)), (None, 0));
}

#[test]
fn a_charge_from_the_first_byte_says_so_and_keeps_a_habit_up_near_the_end_alone() {
    let mut s = Scenario::with_credits("100");
    s.when(reserve(R1, "0.5")).succeeds();
    s.when(charged_all_the_same(R1, ClientLeft::Early))
        .writes(&["CreditsCharged"]);
    assert_eq!((logged(&s), hang_ups(&s)), (Some(ClientLeft::Early), 0));
    s.when(reserve(R2, "0.5")).succeeds();
    s.when(charged_all_the_same(R2, ClientLeft::NearEnd))
        .writes(&["CreditsCharged"]);
    assert_eq!((logged(&s), hang_ups(&s)), (Some(ClientLeft::NearEnd), 1));
}
