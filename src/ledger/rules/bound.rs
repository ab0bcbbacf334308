//! What is set aside for an endpoint, and what work of it can hold.

use keyledger_events::{Credits, Endpoint};

use crate::ledger::account::Account;

/// What is set aside for an endpoint, among others or alone. Nothing without an endpoint.
pub(super) fn bound_to(account: &Account, endpoint: Option<&Endpoint>) -> Credits {
    let bound = account
        .grants
        .iter()
        .filter(|grant| endpoint.is_some_and(|endpoint| grant.is_bound_to(endpoint)));
    bound.fold(Credits::ZERO, |sum, grant| {
        sum.plus(grant.remaining).unwrap_or(Credits::MAX)
    })
}

/// What work of an endpoint finds available: what any work does, and what is set aside for this one.
pub(super) fn available_for(account: &Account, endpoint: Option<&Endpoint>) -> Credits {
    let available = account.available();
    available.plus(bound_to(account, endpoint)).unwrap_or(available)
}

#[cfg(test)]
mod tests {
    use crate::ledger::rules::scenario::*;

    #[test]
    fn whoever_works_is_told_of_what_is_set_aside_for_that() {
        let mut s = Scenario::with_credits("1");
        s.when(grant(2, "2").only_on(&["serp"])).succeeds();
        let told = |s: &Scenario, id| {
            let hold = s.account().open.get(&id).unwrap();
            super::available_for(s.account(), Some(&hold.work.endpoint))
        };
        s.when(reserve(R1, "0.5").of("echo")).succeeds();
        assert_eq!(told(&s, R1), credits("0.5"));
        s.when(reserve(R2, "0.5")).succeeds();
        assert_eq!(
            told(&s, R2),
            credits("2"),
            "what any work finds, and the rest of what is for this one"
        );
    }
}
