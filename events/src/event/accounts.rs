//! Facts about accounts.

use serde::{Deserialize, Serialize};

use crate::credits::Credits;
use crate::text::{AccountName, Reason};

/// A customer exists from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountOpened {
    pub name: AccountName,
    /// The platform's own id of this customer, at most 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_ref: Option<String>,
    /// How far available may go below zero. Never negative.
    pub credit_limit: Credits,
}

/// The customer is called otherwise from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRenamed {
    pub name: AccountName,
}

/// The platform's own id of this customer is another one, or there is none any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalRefChanged {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_ref: Option<String>,
}

/// Available may go below zero that far from now on. What is below it already stays, and nothing is added to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditLimitChanged {
    /// Never negative.
    pub credit_limit: Credits,
}

/// Nothing is done in the account any more but what time does. Its keys are deleted and its holds released right after, for
/// this cause, in the same append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountClosed {
    pub reason: Reason,
}
