//! What closing a reservation writes: shared by charging, releasing, and time.

use keyledger_events::{
    AccountId, ClientLeft, Credits, CreditsCharged, CreditsExpired, CreditsReleased, Event, GrantId, GrantPart,
    PaidWork, ReleaseCause, ReservationId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::ledger::account::{Account, Hold, Outcome, Settled};
use crate::ledger::refusal::Refusal;

/// A charge as its sender is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    pub account: AccountId,
    pub reservation: ReservationId,
    pub quantity: u64,
    pub charged: Credits,
    pub returned: Credits,
    pub available: Credits,
    pub work: PaidWork,
    pub held_quantity: u64,
    /// Its result was paid already, so that all of the hold went back.
    pub paid_before: bool,
}

/// A release as its sender is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub account: AccountId,
    pub reservation: ReservationId,
    pub cause: ReleaseCause,
    pub returned: Credits,
    pub available: Credits,
}

/// Spends `charged` of a hold in burn order and gives the rest back.
pub(super) fn spend(
    account: &Account,
    reservation: ReservationId,
    hold: &Hold,
    quantity: u64,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let asked = hold.work.unit_price.times(quantity).ok_or(Refusal::OutOfRange {
        field: "quantity".into(),
    })?;
    let exceeds = Refusal::ChargeExceedsReservation {
        asked,
        held: hold.amount,
    };
    let returned = hold.amount.minus_within(asked).ok_or(exceeds)?;
    let mut to_spend = asked;
    let mut spent = Vec::new();
    let mut returned_to = Vec::new();
    for part in &hold.from {
        let amount = part.amount.min(to_spend);
        to_spend = minus(to_spend, amount);
        keep(
            &mut spent,
            GrantPart {
                grant: part.grant,
                amount,
            },
        );
        keep(
            &mut returned_to,
            GrantPart {
                grant: part.grant,
                amount: minus(part.amount, amount),
            },
        );
    }
    let expiring = expiring_at_once(account, &returned_to, &mut { account.owed }, now);
    let charged = CreditsCharged {
        reservation,
        work: hold.work.clone(),
        quantity,
        charged: asked,
        returned,
        spent,
        returned_to,
        charged_on_limit: to_spend,
        returned_to_limit: minus(hold.on_limit, to_spend),
        reserved_at: hold.reserved_at,
        client_left: None,
    };
    Ok(std::iter::once(charged.into()).chain(expiring).collect())
}

/// Gives all of a hold back. `owed`: by the account, less what was repaid in the same breath.
pub(super) fn give_back(
    account: &Account,
    reservation: ReservationId,
    hold: &Hold,
    cause: ReleaseCause,
    owed: &mut Credits,
    now: Timestamp,
) -> Vec<Event> {
    let expiring = expiring_at_once(account, &hold.from, owed, now);
    let released = CreditsReleased {
        reservation,
        work: hold.work.clone(),
        returned: hold.amount,
        returned_to: hold.from.clone(),
        returned_to_limit: hold.on_limit,
        cause,
        reserved_at: hold.reserved_at,
        client_left: None,
    };
    std::iter::once(released.into()).chain(expiring).collect()
}

/// Says of a charge, and of a release whose client is gone, how far the client had come.
pub(super) fn saying_who_left(mut events: Vec<Event>, client_left: Option<ClientLeft>) -> Vec<Event> {
    for event in &mut events {
        if let Event::CreditsCharged(charged) = event {
            charged.client_left = client_left;
        } else if let Event::CreditsReleased(released) = event
            && released.cause == ReleaseCause::ClientGone
        {
            released.client_left = client_left;
        }
    }
    events
}

/// Why a settled reservation cannot be settled again.
pub(super) fn closed(reservation: ReservationId, settled: &Settled) -> Refusal {
    let how = match settled.outcome {
        Outcome::Charged { .. } => "charged",
        Outcome::Released { cause, .. } => match cause {
            ReleaseCause::Expired => "expired",
            ReleaseCause::Requested
            | ReleaseCause::Queued
            | ReleaseCause::Error
            | ReleaseCause::ClientGone
            | ReleaseCause::AccountClosed => "released",
        },
    };
    Refusal::ReservationClosed {
        reservation,
        how: how.into(),
    }
}

/// What returns to a grant whose time is over expires with the return, but for what pays what is still `owed`.
fn expiring_at_once(account: &Account, returned_to: &[GrantPart], owed: &mut Credits, now: Timestamp) -> Vec<Event> {
    let over = |part: &GrantPart| {
        let mut over = account.grants.iter().filter(|grant| grant.expired(now));
        over.find(|grant| grant.id == part.grant)
    };
    returned_to
        .iter()
        .filter_map(|part| Some((over(part)?, part.amount)))
        // Of a plan's last grant the next period decides, which is due at the same moment.
        .filter(|(grant, _)| !account.is_of_running_plan(grant.id))
        .map(|(grant, left)| lapse(grant.id, left, grant.is_for_all(), owed).into())
        .collect()
}

/// What becomes of what is left of a grant whose time is over: it pays what is owed, as it would have done had it been given after
/// the charge on the credit limit, and the rest is gone. What is set aside pays nothing.
pub(super) fn lapse(grant: GrantId, left: Credits, is_for_all: bool, owed: &mut Credits) -> CreditsExpired {
    let repays = if is_for_all { left.min(*owed) } else { Credits::ZERO };
    *owed = minus(*owed, repays);
    CreditsExpired {
        grant,
        amount: minus(left, repays),
        repays,
    }
}

pub(super) fn keep(parts: &mut Vec<GrantPart>, part: GrantPart) {
    if !part.amount.is_zero() {
        parts.push(part);
    }
}

/// Subtracts what is known to be no more: both came from a `min` or a hold's own parts.
pub(super) fn minus(from: Credits, part: Credits) -> Credits {
    debug_assert!(part <= from, "a part is no more than the whole");
    from.minus_within(part).unwrap_or(Credits::ZERO)
}
