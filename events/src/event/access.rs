//! Who was let in: callers of the API by access tokens, and people by links onto the pages.

use serde::{Deserialize, Serialize};

use crate::ids::{PortalSessionId, TokenId};
use crate::text::KeyName;

/// There is an access token from now on, in the history of the system itself. Of its text nothing is here, not even a hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenCreated {
    pub token: TokenId,
    pub role: TokenRole,
    /// Whom or what it is for. Follows the rules of a key's name.
    pub name: KeyName,
}

/// The access token is good for nothing any more. It was stopped before this was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRevoked {
    pub token: TokenId,
    pub name: KeyName,
}

/// What an access token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    /// May do all.
    Operator,
    /// The platform's own services: reserves, charges, releases.
    Metering,
    /// Gives credits, takes charges back, sets prices, reads all.
    Billing,
    /// Reads everything, changes nothing.
    Auditor,
}

impl TokenRole {
    pub const fn as_str(self) -> &'static str {
        match self {
            TokenRole::Operator => "operator",
            TokenRole::Metering => "metering",
            TokenRole::Billing => "billing",
            TokenRole::Auditor => "auditor",
        }
    }
}

/// A link onto the account's pages was made, for whoever the platform says this is. What is done there has the session as
/// its actor; the event's own actor asked for the link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortalSessionInvited {
    pub session: PortalSessionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<KeyName>,
    /// May look at everything and change nothing.
    pub read_only: bool,
}

/// The same onto the operators' pages, in the history of the system itself. Nothing is changed from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorSessionInvited {
    pub session: PortalSessionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<KeyName>,
}
