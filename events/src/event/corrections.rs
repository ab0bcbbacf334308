//! Credits that are taken away because they should not have been there.

use serde::{Deserialize, Serialize};

use super::credits::{GrantPart, is_zero, zero};
use crate::credits::Credits;
use crate::ids::CorrectionId;
use crate::text::Reason;

/// Credits are taken away for a reason, never more than were available. `amount` = the sum of `from` + `on_limit`.
/// One that adds credits is a grant with this source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditsCorrected {
    pub correction: CorrectionId,
    /// What was taken: more than zero.
    pub amount: Credits,
    /// In burn order.
    pub from: Vec<GrantPart>,
    /// The part that no grant had: owed until the next grant.
    #[serde(default = "zero", skip_serializing_if = "is_zero")]
    pub on_limit: Credits,
    pub reason: Reason,
}
