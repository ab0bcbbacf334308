//! Facts about credits. Each says which grants it took from or gave back to, so a fold never decides anything again.

use serde::{Deserialize, Serialize};

use super::plans::PlanPeriod;
use crate::credits::Credits;
use crate::ids::{GrantId, KeyId, ReservationId};
use crate::key::Environment;
use crate::once::OnceMark;
use crate::scopes::Scopes;
use crate::text::{Endpoint, Reason};
use crate::time::Timestamp;

/// Credits given to an account at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditsGranted {
    pub grant: GrantId,
    /// More than zero.
    pub amount: Credits,
    /// Lower numbers burn first.
    pub priority: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    pub source: GrantSource,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// When it takes effect, where that is not at once. `GrantStarted` says that it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// The endpoints that it burns on; all of them where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Scopes>,
    /// The period that a plan gives it for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<PlanPeriod>,
    /// The part of `amount` that comes over from what was left of the grant of the plan's period before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_over: Option<GrantPart>,
    /// Why it was given, where somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The part that at once pays what had been charged on the account's credit limit.
    #[serde(default = "zero", skip_serializing_if = "is_zero")]
    pub repays: Credits,
}

/// A grant that was given for later can be used from now on, because its time came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantStarted {
    pub grant: GrantId,
    /// All that was given.
    pub amount: Credits,
    /// The part that at once pays what had been charged on the account's credit limit.
    #[serde(default = "zero", skip_serializing_if = "is_zero")]
    pub repays: Credits,
}

/// Where a grant comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrantSource {
    Purchase,
    Plan,
    Promotion,
    Correction,
    /// A refund whose credits belong to no grant that there was.
    Refund,
}

impl GrantSource {
    pub const fn as_str(self) -> &'static str {
        match self {
            GrantSource::Purchase => "purchase",
            GrantSource::Plan => "plan",
            GrantSource::Promotion => "promotion",
            GrantSource::Correction => "correction",
            GrantSource::Refund => "refund",
        }
    }
}

/// What was left of a grant is gone, because its time came: `amount` + `repays`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditsExpired {
    pub grant: GrantId,
    /// Nobody has it any more.
    pub amount: Credits,
    /// The part that instead pays what had been charged on the account's credit limit, and was not yet repaid.
    #[serde(default = "zero", skip_serializing_if = "is_zero")]
    pub repays: Credits,
}

/// A part of a grant that a hold took, a charge spent or a release gave back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantPart {
    pub grant: GrantId,
    pub amount: Credits,
}

/// How the work came in: by a key, or by the customer in the platform's own pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    Api,
    Dashboard,
}

impl Channel {
    pub const fn as_str(self) -> &'static str {
        match self {
            Channel::Api => "api",
            Channel::Dashboard => "dashboard",
        }
    }
}

/// The work that credits are held for: the same in the reservation and in whatever closes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaidWork {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    pub channel: Channel,
    pub endpoint: Endpoint,
    /// Credits a unit.
    pub unit_price: Credits,
    /// The version of the price book that the price comes from; 0 is the config file.
    pub price_version: u64,
    /// Of the key. A test key's work is counted and costs nothing.
    #[serde(default, skip_serializing_if = "Environment::is_live")]
    pub environment: Environment,
}

/// Credits are held for work not yet done. `amount` = the sum of `from` + `on_limit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditsReserved {
    pub reservation: ReservationId,
    pub work: PaidWork,
    /// Units held for; `amount` = `quantity` × `unit_price`.
    pub quantity: u64,
    pub amount: Credits,
    /// In burn order.
    pub from: Vec<GrantPart>,
    /// The part that no grant had, held on the account's credit limit.
    #[serde(default = "zero", skip_serializing_if = "is_zero")]
    pub on_limit: Credits,
    pub expires_at: Timestamp,
    /// What the work brings, where it is paid once: a charge for the same within a day makes this one free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<OnceMark>,
}

/// Closes a reservation by spending it. `charged` + `returned` = what was reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditsCharged {
    pub reservation: ReservationId,
    pub work: PaidWork,
    /// Units delivered; `charged` = `quantity` × `unit_price`.
    pub quantity: u64,
    pub charged: Credits,
    pub returned: Credits,
    /// What was spent, by grant, in burn order.
    pub spent: Vec<GrantPart>,
    /// What went back, by grant.
    pub returned_to: Vec<GrantPart>,
    /// The part of `charged` that no grant had: owed until the next grant.
    #[serde(default = "zero", skip_serializing_if = "is_zero")]
    pub charged_on_limit: Credits,
    /// The part of `returned` that had been held on the credit limit.
    #[serde(default = "zero", skip_serializing_if = "is_zero")]
    pub returned_to_limit: Credits,
    pub reserved_at: Timestamp,
    /// Charged although the client left before the end: its key made a habit of it, and pays from the first byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_left: Option<ClientLeft>,
}

/// Closes a reservation by giving all of it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditsReleased {
    pub reservation: ReservationId,
    pub work: PaidWork,
    pub returned: Credits,
    pub returned_to: Vec<GrantPart>,
    #[serde(default = "zero", skip_serializing_if = "is_zero")]
    pub returned_to_limit: Credits,
    pub cause: ReleaseCause,
    pub reserved_at: Timestamp,
    /// With the cause `client-gone` alone, and where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_left: Option<ClientLeft>,
}

/// How much of an answer a client had taken when it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientLeft {
    /// Something.
    Early,
    /// Nearly all of it: 90 % of the body, or of one without a length anything.
    NearEnd,
}

impl ClientLeft {
    pub const fn as_str(self) -> &'static str {
        match self {
            ClientLeft::Early => "early",
            ClientLeft::NearEnd => "near-end",
        }
    }
}

/// Why nothing was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseCause {
    Requested,
    Queued,
    Error,
    ClientGone,
    Expired,
    AccountClosed,
}

impl ReleaseCause {
    pub const fn as_str(self) -> &'static str {
        match self {
            ReleaseCause::Requested => "requested",
            ReleaseCause::Queued => "queued",
            ReleaseCause::Error => "error",
            ReleaseCause::ClientGone => "client-gone",
            ReleaseCause::Expired => "expired",
            ReleaseCause::AccountClosed => "account-closed",
        }
    }
}

pub(super) fn zero() -> Credits {
    Credits::ZERO
}

pub(super) fn is_zero(credits: &Credits) -> bool {
    credits.is_zero()
}
