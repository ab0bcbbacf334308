//! Where the credits of a hold, a charge or a correction come from.

use keyledger_events::{Credits, CreditsRefunded, Endpoint, GrantPart};

use super::bound::{available_for, bound_to};
use crate::ledger::account::Account;
use crate::ledger::refusal::Refusal;

/// An entry bundle of the transparency log and a segment of the archive have events of at most 65,535 bytes. This leaves room for
/// the envelope.
const DATA_BYTES_MAX: usize = 60 << 10;
/// Grants that one event may take from: 80 bytes each at most, and a charge names one of them twice.
const PARTS_MAX: usize = 700;

/// Whether a refund brings back more than an event can hold.
pub(super) fn is_too_long(refunded: &CreditsRefunded) -> bool {
    serde_json::to_vec(refunded).map_or(true, |data| data.len() > DATA_BYTES_MAX)
}

/// What work of any endpoint can hold at most: all that is available, and the credit limit.
pub(super) fn reach(account: &Account) -> Credits {
    let limit = account
        .opened
        .as_ref()
        .map_or(Credits::ZERO, |opened| opened.credit_limit);
    account.available().plus(limit).unwrap_or(Credits::MAX)
}

/// The same for work of one endpoint: what is set aside for it as well. That can be held too where others are over the
/// credit limit.
pub(super) fn reach_of(account: &Account, endpoint: Option<&Endpoint>) -> Credits {
    let bound = bound_to(account, endpoint);
    if bound.is_zero() {
        return reach(account);
    }
    bound.plus(reach(account).max(Credits::ZERO)).unwrap_or(Credits::MAX)
}

/// Whether the account's sums can take an amount. One that they cannot could be held, and never be charged.
fn has_room(account: &Account, amount: Credits) -> bool {
    let totals = &account.totals;
    let sums = [totals.charged, totals.reserved, totals.corrected];
    sums.into_iter().try_fold(amount, Credits::plus).is_some()
}

/// Takes an amount from the grants, those that are set aside for the endpoint first and each kind in burn order, and what
/// is lacking from the credit limit. Without an endpoint it leaves alone what is set aside. What would take more grants than an
/// event may name is out of range: less at once.
pub(super) fn take(
    account: &Account,
    endpoint: Option<&Endpoint>,
    amount: Credits,
) -> Result<(Vec<GrantPart>, Credits), Refusal> {
    let insufficient = Refusal::InsufficientCredits {
        required: amount,
        available: available_for(account, endpoint),
    };
    // What costs nothing needs nothing, also where a credit limit was lowered below what is used of it.
    if !amount.is_zero() && (reach_of(account, endpoint) < amount || !has_room(account, amount)) {
        return Err(insufficient);
    }
    let mut lacking = amount;
    let mut from = Vec::new();
    let too_many = || Refusal::OutOfRange {
        field: if endpoint.is_some() { "quantity" } else { "amount" }.into(),
    };
    let bound = account
        .grants
        .iter()
        .filter(|grant| endpoint.is_some_and(|endpoint| grant.is_bound_to(endpoint)));
    for grant in bound.chain(account.grants.iter().filter(|grant| grant.is_for_all())) {
        let part = grant.remaining.min(lacking);
        if !part.is_zero() {
            if from.len() == PARTS_MAX {
                return Err(too_many());
            }
            lacking = lacking.minus_within(part).ok_or_else(|| insufficient.clone())?;
            from.push(GrantPart {
                grant: grant.id,
                amount: part,
            });
        }
    }
    Ok((from, lacking))
}

#[cfg(test)]
mod tests {
    use keyledger_events::GrantId;

    use crate::ledger::refusal::Refusal;
    use crate::ledger::rules::GrantCredits;
    use crate::ledger::rules::scenario::*;

    /// `many` grants of 0.000001 that are for many endpoints or for all.
    fn with_grants(many: u16, endpoints: &[&str]) -> Scenario {
        let mut s = Scenario::with_credits("1");
        for number in 0..many {
            let makings = grant(2, "0.000001").priority(-1);
            let makings = if endpoints.is_empty() {
                makings
            } else {
                makings.only_on(endpoints)
            };
            let grant = GrantCredits {
                grant: GrantId::from_parts(7, u128::from(number)),
                ..makings.at(s.now)
            };
            s.when(grant).succeeds();
        }
        s
    }

    #[test]
    fn an_event_takes_from_a_bounded_number_of_grants() {
        let mut s = with_grants(750, &[]);
        let quantity = Refusal::OutOfRange {
            field: "quantity".into(),
        };
        s.when(reserve_units(R1, 701, "0.000001")).refused(quantity.clone());
        s.when(reserve(R1, "0.5")).refused(quantity);
        s.when(reserve_units(R1, 700, "0.000001")).succeeds();
        s.when(charge(R1, 350)).succeeds();
        let longest = s.longest_event();
        assert!((40_000..65_536).contains(&longest), "{longest} bytes");
        assert_eq!(s.available(), "1.0004");
    }

    #[test]
    fn a_refund_that_no_event_can_hold_is_made_in_parts() {
        let names: Vec<String> = (0..20)
            .map(|number| format!("an_endpoint_with_a_long_name_{number}"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).chain(["serp"]).collect();
        let mut s = with_grants(200, &names);
        s.when(reserve_units(R1, 200, "0.000001")).succeeds();
        s.when(charge(R1, 200)).succeeds();
        let amount = Refusal::OutOfRange { field: "amount".into() };
        s.when(s.refund(R1)).refused(amount);
        for _ in 0..4 {
            s.when(s.refund_of(R1, "0.00005")).writes(&["CreditsRefunded"]);
        }
        s.when(s.refund(R1))
            .refused(Refusal::NothingToRefund { reservation: R1 });
        assert!(s.longest_event() < 65_536);
    }
}
