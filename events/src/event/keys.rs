//! Facts about keys. None holds a key's text.

use serde::{Deserialize, Serialize};

use crate::call_rate::CallRate;
use crate::ids::{KeyId, ReservationId};
use crate::key::{Environment, KeyDigest};
use crate::scopes::Scopes;
use crate::spending::SpendingLimit;
use crate::text::{Endpoint, KeyName};
use crate::time::Timestamp;

/// A key was made and its text shown once. Made by whom: the event's actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyCreated {
    pub key: KeyId,
    pub name: KeyName,
    pub preview: String,
    pub digest: KeyDigest,
    pub environment: Environment,
    /// From this moment on the key is refused as expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The key that this one succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<KeyId>,
    /// The endpoints that the key is for; all of them where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Scopes>,
    /// How often the key may call, instead of what is so for every key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<CallRate>,
    /// What the key may spend; all there is where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spending_limit: Option<SpendingLimit>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRenamed {
    pub key: KeyId,
    pub name: KeyName,
}

/// The key is refused from now on, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyDeleted {
    pub key: KeyId,
    pub reason: DeleteReason,
}

/// The key has a successor. It works until `stops_at`, and is deleted then with the reason `rotated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRotated {
    pub key: KeyId,
    pub successor: KeyId,
    pub stops_at: Timestamp,
}

/// Why a key was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeleteReason {
    Requested,
    Compromised,
    Rotated,
    Expired,
    Leaked,
    AccountClosed,
}

impl DeleteReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            DeleteReason::Requested => "requested",
            DeleteReason::Compromised => "compromised",
            DeleteReason::Rotated => "rotated",
            DeleteReason::Expired => "expired",
            DeleteReason::Leaked => "leaked",
            DeleteReason::AccountClosed => "account-closed",
        }
    }
}

/// What the key may spend was changed, and holds from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySpendingLimited {
    pub key: KeyId,
    /// Not there: all there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<SpendingLimit>,
}

/// Uses of a known key were refused, since the last such event of the key and reason. A summary: at most one a minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyUseDenied {
    pub key: KeyId,
    pub reason: DenyReason,
    /// 1 or more.
    pub count: u64,
}

/// Why a use of a key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DenyReason {
    Deleted,
    Expired,
    /// The key is for other endpoints.
    Scope,
    NoCredits,
    SpendingLimit,
}

impl DenyReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            DenyReason::Deleted => "deleted",
            DenyReason::Expired => "expired",
            DenyReason::Scope => "scope",
            DenyReason::NoCredits => "no-credits",
            DenyReason::SpendingLimit => "spending-limit",
        }
    }
}

/// A key was used to ask for data, and the use was let through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyUsed {
    pub key: KeyId,
    pub endpoint: Endpoint,
    pub reservation: ReservationId,
    /// The id of the client's request, as the gateway or the caller of the API names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The client's network: `203.0.113.0/24`, `2001:db8::/48`. Cut off there unless configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Of the key.
    #[serde(default, skip_serializing_if = "Environment::is_live")]
    pub environment: Environment,
}
