//! Charges that are taken back.

use serde::{Deserialize, Serialize};

use super::credits::{GrantPart, GrantSource, PaidWork, is_zero, zero};
use crate::credits::Credits;
use crate::ids::{GrantId, RefundId, ReservationId};
use crate::scopes::Scopes;
use crate::text::Reason;
use crate::time::Timestamp;

/// A charge is taken back, all of it or a part: the account stands as if that much less had been charged, what was spent
/// last first. `amount` = the sum of `returned_to` + `repays` + `as_grant`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditsRefunded {
    pub refund: RefundId,
    /// The charge's.
    pub reservation: ReservationId,
    pub work: PaidWork,
    /// More than zero. All refunds of a charge together are never more than was charged.
    pub amount: Credits,
    pub reason: Reason,
    /// What went back, by grant, in burn order. Of a grant whose time is over it expires at once: the next event says so.
    pub returned_to: Vec<GrantPart>,
    /// Those of these grants that nothing was left of: with the refund they are there again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reopened: Vec<GrantTerms>,
    /// The part that had been charged on the account's credit limit and was still owed.
    #[serde(default = "zero", skip_serializing_if = "is_zero")]
    pub repays: Credits,
    /// The part that had been charged on the credit limit and was repaid since: a grant of its own, without an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_grant: Option<GrantPart>,
    pub charged_at: Timestamp,
}

/// A grant as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantTerms {
    pub grant: GrantId,
    pub amount: Credits,
    pub priority: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    pub source: GrantSource,
    pub granted_at: Timestamp,
    /// The endpoints that it burns on; all of them where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Scopes>,
}
