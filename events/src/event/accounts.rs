//! Facts about accounts.

use serde::{Deserialize, Serialize};

use crate::credits::Credits;
use crate::text::AccountName;

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
