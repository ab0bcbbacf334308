//! The one place that reads the clock and draws random bits. Rules and folds get both as arguments.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the file that the lint sends everyone to"
)]

use keyledger_events::{
    AccountId, CommandId, CorrectionId, EventId, GrantId, KeyId, PlanId, PortalSessionId, RefundId, ReservationId,
    Timestamp, TokenId,
};

/// The wall clock in whole microseconds. A machine that believes in a time before 1970 gets 1970.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros())
        .ok()
        .and_then(Timestamp::from_micros)
        .unwrap_or(Timestamp::MAX)
}

/// 256 bits from the generator that the operating system seeds, for key and token texts.
pub fn random_secret_bits() -> [u8; 32] {
    rand::random()
}

/// Bits for an id: unguessable enough to be unique, never a secret.
pub fn random_id_bits() -> u128 {
    rand::random()
}

macro_rules! fresh {
    ($($name:ident -> $id:ty),+ $(,)?) => {
        $(pub fn $name() -> $id {
            <$id>::from_parts(now().ms(), random_id_bits())
        })+
    };
}

fresh! {
    fresh_account_id -> AccountId,
    fresh_key_id -> KeyId,
    fresh_grant_id -> GrantId,
    fresh_reservation_id -> ReservationId,
    fresh_refund_id -> RefundId,
    fresh_plan_id -> PlanId,
    fresh_correction_id -> CorrectionId,
    fresh_token_id -> TokenId,
    fresh_portal_session_id -> PortalSessionId,
}

/// A name for a command that brought none.
#[expect(
    clippy::expect_used,
    reason = "a ULID is 26 letters and digits, which a command's name may have"
)]
pub fn fresh_command_id() -> CommandId {
    let ulid = EventId::from_parts(now().ms(), random_id_bits());
    CommandId::parse(&ulid.to_string()).expect("a ULID names a command")
}
