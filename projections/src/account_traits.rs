//! What an account is called and may, where that changes. It is folded with the balance.

use keyledger_events::{AccountName, Timestamp};

use crate::AccountRow;

/// What an account is called and may, where that changes. What is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountTraits {
    pub name: Option<AccountName>,
    /// `Some(None)`: there is none any more.
    pub external_ref: Option<Option<String>>,
    pub credit_limit: Option<i64>,
    pub closed_at: Option<Timestamp>,
}

impl AccountTraits {
    /// Puts later changes on top of these.
    pub(crate) fn then(&mut self, later: AccountTraits) {
        self.name = later.name.or(self.name.take());
        self.external_ref = later.external_ref.or(self.external_ref.take());
        self.credit_limit = later.credit_limit.or(self.credit_limit);
        self.closed_at = self.closed_at.or(later.closed_at);
    }

    pub(crate) fn change(self, row: &mut AccountRow) {
        row.name = self.name.unwrap_or_else(|| row.name.clone());
        row.external_ref = self.external_ref.unwrap_or_else(|| row.external_ref.take());
        row.credit_limit = self.credit_limit.unwrap_or(row.credit_limit);
        row.closed_at = row.closed_at.or(self.closed_at);
    }
}
