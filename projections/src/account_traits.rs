//! What an account is called and may, where that changes. It is folded with the balance.

use keyledger_events::{AccountName, CreditLimitChanged, ExternalRefChanged, ThresholdsSet, Timestamp};

use crate::AccountRow;

/// What an account is called and may, where that changes. What is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountTraits {
    pub name: Option<AccountName>,
    /// `Some(None)`: there is none any more.
    pub external_ref: Option<Option<String>>,
    pub credit_limit: Option<i64>,
    pub closed_at: Option<Timestamp>,
    pub thresholds: Option<Vec<i64>>,
}

impl AccountTraits {
    pub(crate) fn named(name: &AccountName) -> AccountTraits {
        let name = Some(name.clone());
        AccountTraits {
            name,
            ..AccountTraits::default()
        }
    }

    pub(crate) fn referred(e: &ExternalRefChanged) -> AccountTraits {
        let external_ref = Some(e.external_ref.clone());
        AccountTraits {
            external_ref,
            ..AccountTraits::default()
        }
    }

    /// What was known of people is gone.
    pub(crate) fn erased() -> AccountTraits {
        AccountTraits {
            name: Some(AccountName::erased()),
            external_ref: Some(None),
            ..AccountTraits::default()
        }
    }

    pub(crate) fn limited(e: &CreditLimitChanged) -> AccountTraits {
        let credit_limit = Some(e.credit_limit.micros());
        AccountTraits {
            credit_limit,
            ..AccountTraits::default()
        }
    }

    pub(crate) fn closed(at: Timestamp) -> AccountTraits {
        let closed_at = Some(at);
        AccountTraits {
            closed_at,
            ..AccountTraits::default()
        }
    }

    pub(crate) fn watched(e: &ThresholdsSet) -> AccountTraits {
        let thresholds = e.thresholds.iter().map(|amount| amount.micros()).collect();
        AccountTraits {
            thresholds: Some(thresholds),
            ..AccountTraits::default()
        }
    }

    /// Puts later changes on top of these.
    pub(crate) fn then(&mut self, later: AccountTraits) {
        self.name = later.name.or(self.name.take());
        self.external_ref = later.external_ref.or(self.external_ref.take());
        self.credit_limit = later.credit_limit.or(self.credit_limit);
        self.closed_at = self.closed_at.or(later.closed_at);
        self.thresholds = later.thresholds.or(self.thresholds.take());
    }

    pub(crate) fn change(self, row: &mut AccountRow) {
        row.name = self.name.unwrap_or_else(|| row.name.clone());
        row.external_ref = self.external_ref.unwrap_or_else(|| row.external_ref.take());
        row.credit_limit = self.credit_limit.unwrap_or(row.credit_limit);
        row.closed_at = row.closed_at.or(self.closed_at);
        row.thresholds = self.thresholds.unwrap_or_else(|| std::mem::take(&mut row.thresholds));
    }
}
