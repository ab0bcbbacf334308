//! The vocabulary of Keyledger: ids, credits, times, key text, events and their one canonical byte string.
//!
//! In: plain values. Out: plain values and bytes.
//!
//! Promise: the same event always has the same bytes, and those bytes are a CloudEvents 1.0 JSON document.
//!
//! Not here: IO, a clock, randomness, floats, and every rule about who may do what.

mod brief;
pub mod busy;
mod call_rate;
mod credits;
mod envelope;
mod event;
#[cfg(test)]
mod golden;
mod ids;
mod key;
mod leaf;
mod once;
mod personal;
mod scan;
mod scopes;
mod spending;
mod text;
mod time;

pub use call_rate::{CallRate, CallRateError};
pub use credits::{Credits, CreditsError, CreditsTotal};
pub use envelope::{Actor, CommandId, DecodeError, Position, Recorded, Seq, Shard};
pub use event::*;
pub use ids::{
    AccountId, CorrectionId, EventId, GrantId, IdError, KeyId, PlanId, PortalSessionId, RefundId, ReservationId,
    TokenId,
};
pub use key::{Environment, KeyDigest, KeyPrefix, KeySecret, MalformedKey, base62_secret, is_base62_secret};
pub use leaf::leaf_hash;
pub use once::{MalformedMark, OnceMark};
pub use personal::{ERASED, Personal, SEALED, Sealed};
pub use scopes::{Scopes, ScopesError};
pub use spending::{SpendingLimit, SpendingPeriod};
pub use text::{AccountName, Endpoint, KeyName, Reason, TextError};
pub use time::{TimeError, Timestamp};
