//! Refusals: the rules said no. A value, not a fault; nothing was written for it.

use std::borrow::Cow;

use keyledger_events::{AccountId, Credits, Endpoint, KeyId, PlanId, ReservationId, SpendingLimit, Timestamp};
use serde::{Deserialize, Serialize};

use super::account::KeyLimits;
use super::refunded_charges::REFUNDABLE_DAYS;

/// Why a command was refused. Each says what is true; the faces choose a status and a code for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    #[error("there is no account {account}")]
    UnknownAccount { account: AccountId },
    #[error("the account is there already")]
    AccountExists { account: AccountId },
    /// Nothing new is done there any more.
    #[error("the account is closed")]
    AccountClosed,
    #[error("the account is open")]
    AccountOpen,
    #[error("the account has no key {key}")]
    UnknownKey { key: KeyId },
    /// A management command on a key that is gone.
    #[error("the key is deleted")]
    KeyGone { key: KeyId },
    /// The same of a key whose time is over.
    #[error("the key has expired")]
    KeyOver { key: KeyId },
    /// A second successor is not made.
    #[error("the key was rotated before: its successor is {successor}")]
    KeyRotated { key: KeyId, successor: KeyId },
    #[error("an account has at most {limit} keys that are not deleted")]
    TooManyKeys { limit: u32 },
    /// No such key text. The same answer for every text that is not a key's.
    #[error("the key is not valid")]
    KeyInvalid,
    /// The caller holds the right text of a deleted key.
    #[error("the key was deleted")]
    KeyDeleted,
    /// The caller holds the right text of a key whose time is over.
    #[error("the key has expired")]
    KeyExpired,
    /// The caller holds the right text of a key that is for other endpoints. Whose key it is and what it is limited to,
    /// for those who remember it so as not to ask again.
    #[error("the key is not for {endpoint}")]
    KeyScope {
        endpoint: Endpoint,
        account: AccountId,
        key: KeyId,
        limits: KeyLimits,
    },
    /// The key has spent what it may. `spent` is charged in the period or held now.
    #[error(
        "{required} credits are needed, and the key has spent {spent} of the {} that it may in a {}, until {resets_at}",
        limit.amount, limit.per.as_str()
    )]
    KeySpendingLimit {
        limit: SpendingLimit,
        required: Credits,
        spent: Credits,
        resets_at: Timestamp,
    },
    #[error("{required} credits are needed and {available} are available")]
    InsufficientCredits { required: Credits, available: Credits },
    #[error("{field} is out of range")]
    OutOfRange { field: Cow<'static, str> },
    #[error("{field} lies in the past")]
    InThePast { field: Cow<'static, str> },
    #[error("the account has no reservation {reservation}")]
    UnknownReservation { reservation: ReservationId },
    #[error("the reservation is closed: {how}")]
    ReservationClosed {
        reservation: ReservationId,
        how: Cow<'static, str>,
    },
    #[error("the reservation id was used before with other terms")]
    ReservationMismatch { reservation: ReservationId },
    #[error("a new reservation's id is at most 15 min old and at most 1 min ahead")]
    ReservationIdNotTimely {
        reservation: ReservationId,
        /// By whoever decided.
        now: Timestamp,
    },
    #[error("{asked} credits cannot be charged, {held} are held")]
    ChargeExceedsReservation { asked: Credits, held: Credits },
    #[error("nothing is left of the charge to refund")]
    NothingToRefund { reservation: ReservationId },
    #[error("{asked} credits cannot be refunded, {left} are left of the charge")]
    RefundExceedsCharge { asked: Credits, left: Credits },
    #[error("{asked} credits cannot be taken away, {reach} can be held")]
    CorrectionExceedsAvailable { asked: Credits, reach: Credits },
    #[error("the account has no plan {plan}")]
    UnknownPlan { plan: PlanId },
    #[error("an account has at most {limit} plans that go on")]
    TooManyPlans { limit: usize },
    #[error("a charge can be refunded for {REFUNDABLE_DAYS} days")]
    ChargeTooOld { reservation: ReservationId },
    #[error("at most {limit} reservations may be open for one {scope}")]
    TooManyOpenReservations { limit: u32, scope: Cow<'static, str> },
    #[error("at most {limit} price books may be to come")]
    TooManyBooks { limit: usize },
    /// The command brought a price of a book that does not hold. Look the price up in the one that does, and send it again.
    #[error("the prices of version {version} hold")]
    OtherPricesHold { version: u64 },
    #[error("the idempotency key was used before with another request")]
    IdempotencyMismatch,
}
