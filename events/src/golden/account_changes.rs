//! What changes in an account.

use super::{credits, is_as_released, recorded};
use crate::*;

/// The types that have their samples here.
pub(super) const TYPES: &[&str] = &[
    "keyledger.AccountRenamed.v1",
    "keyledger.ExternalRefChanged.v1",
    "keyledger.CreditLimitChanged.v1",
    "keyledger.AccountClosed.v1",
];

#[test]
fn an_account_that_changes_says_what_it_is_now() {
    let name = AccountName::parse("Acme \"Data\" & Söhne").unwrap();
    is_as_released("account-renamed", &recorded(120, AccountRenamed { name }.into()));
    let referred = |external_ref: Option<&str>| ExternalRefChanged {
        external_ref: external_ref.map(str::to_owned),
    };
    is_as_released(
        "external-ref-changed",
        &recorded(121, referred(Some("crm/4712")).into()),
    );
    is_as_released("external-ref-changed-bare", &recorded(122, referred(None).into()));
    let credit_limit = credits("250");
    is_as_released(
        "credit-limit-changed",
        &recorded(123, CreditLimitChanged { credit_limit }.into()),
    );
}

#[test]
fn an_account_that_is_closed_says_why() {
    let reason = Reason::parse("Moved to \"Umbrella\"").unwrap();
    is_as_released("account-closed", &recorded(124, AccountClosed { reason }.into()));
}
