//! That what was known of people is gone.

use serde::{Deserialize, Serialize};

use crate::text::Reason;

/// The account's data key is destroyed: what earlier events sealed with it can be read by nobody any more. What they say in
/// the clear stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonalDataErased {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}
