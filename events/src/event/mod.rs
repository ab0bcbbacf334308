//! The facts. A released shape never changes; a new one is a new type with `.v2`.

mod access;
mod accounts;
mod corrections;
mod credits;
mod keys;
mod personal;
mod plans;
mod prices;
mod refunds;
mod thresholds;

pub use access::{OperatorSessionInvited, PortalSessionInvited, TokenCreated, TokenRevoked, TokenRole};
pub use accounts::{AccountClosed, AccountOpened, AccountRenamed, CreditLimitChanged, ExternalRefChanged};
pub use corrections::CreditsCorrected;
pub use credits::{
    Channel, ClientLeft, CreditsCharged, CreditsExpired, CreditsGranted, CreditsReleased, CreditsReserved, GrantPart,
    GrantSource, GrantStarted, PaidWork, ReleaseCause,
};
pub use keys::{
    DeleteReason, DenyReason, KeyCreated, KeyDeleted, KeyRenamed, KeyRotated, KeySpendingLimited, KeyUseDenied, KeyUsed,
};
pub use personal::PersonalDataErased;
pub use plans::{Period, PlanEnded, PlanPeriod, PlanStarted};
pub use prices::{PricesPublished, PublishedPrice, PublishedQuantity};
pub use refunds::{CreditsRefunded, GrantTerms};
pub use thresholds::{ThresholdReached, ThresholdsSet};

use serde::de::MapAccess;

use crate::ids::KeyId;
use crate::key::KeyDigest;

macro_rules! events {
    ($($name:ident => $type:literal),+ $(,)?) => {
        /// Any fact. Matched without a wildcard, so that a new one is noticed by every fold that must think about it.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Event {
            $($name($name),)+
        }

        impl Event {
            /// Every CloudEvents type there is, in the order of the vocabulary.
            pub const TYPES: &[&str] = &[$($type),+];

            /// The CloudEvents type: `keyledger.CreditsReserved.v1`.
            pub const fn type_name(&self) -> &'static str {
                match self {
                    $(Event::$name(_) => $type,)+
                }
            }

            pub(crate) fn write_data<W: std::io::Write>(&self, out: W) -> Result<(), serde_json::Error> {
                match self {
                    $(Event::$name(data) => serde_json::to_writer(out, data),)+
                }
            }

            /// Reads the next value as the data of the named type; `None`, and nothing is read, when there is no such type.
            pub(crate) fn next_data<'de, A: MapAccess<'de>>(
                type_name: &str,
                members: &mut A,
            ) -> Result<Option<Event>, A::Error> {
                match type_name {
                    $($type => members.next_value().map(|data| Some(Event::$name(data))),)+
                    _ => Ok(None),
                }
            }
        }

        $(impl From<$name> for Event {
            fn from(data: $name) -> Event {
                Event::$name(data)
            }
        })+
    };
}

events! {
    AccountOpened => "keyledger.AccountOpened.v1",
    KeyCreated => "keyledger.KeyCreated.v1",
    KeyRenamed => "keyledger.KeyRenamed.v1",
    KeyDeleted => "keyledger.KeyDeleted.v1",
    KeyUsed => "keyledger.KeyUsed.v1",
    CreditsGranted => "keyledger.CreditsGranted.v1",
    CreditsExpired => "keyledger.CreditsExpired.v1",
    CreditsReserved => "keyledger.CreditsReserved.v1",
    CreditsCharged => "keyledger.CreditsCharged.v1",
    CreditsReleased => "keyledger.CreditsReleased.v1",
    CreditsRefunded => "keyledger.CreditsRefunded.v1",
    AccountRenamed => "keyledger.AccountRenamed.v1",
    ExternalRefChanged => "keyledger.ExternalRefChanged.v1",
    CreditLimitChanged => "keyledger.CreditLimitChanged.v1",
    AccountClosed => "keyledger.AccountClosed.v1",
    CreditsCorrected => "keyledger.CreditsCorrected.v1",
    KeyRotated => "keyledger.KeyRotated.v1",
    GrantStarted => "keyledger.GrantStarted.v1",
    PlanStarted => "keyledger.PlanStarted.v1",
    PlanEnded => "keyledger.PlanEnded.v1",
    ThresholdsSet => "keyledger.ThresholdsSet.v1",
    ThresholdReached => "keyledger.ThresholdReached.v1",
    KeyUseDenied => "keyledger.KeyUseDenied.v1",
    KeySpendingLimited => "keyledger.KeySpendingLimited.v1",
    PricesPublished => "keyledger.PricesPublished.v1",
    TokenCreated => "keyledger.TokenCreated.v1",
    TokenRevoked => "keyledger.TokenRevoked.v1",
    PortalSessionInvited => "keyledger.PortalSessionInvited.v1",
    OperatorSessionInvited => "keyledger.OperatorSessionInvited.v1",
    PersonalDataErased => "keyledger.PersonalDataErased.v1",
}

impl Event {
    /// The bare name: `CreditsReserved`. Ends the bus subject of the event.
    pub fn short_name(&self) -> &'static str {
        self.type_name()
            .trim_start_matches("keyledger.")
            .trim_end_matches(".v1")
    }

    /// The key that the event is about, for that key's history.
    pub fn key(&self) -> Option<KeyId> {
        match self {
            Event::KeyCreated(e) => Some(e.key),
            Event::KeyRenamed(e) => Some(e.key),
            Event::KeyDeleted(e) => Some(e.key),
            Event::KeyRotated(e) => Some(e.key),
            Event::KeyUseDenied(e) => Some(e.key),
            Event::KeySpendingLimited(e) => Some(e.key),
            Event::KeyUsed(e) => Some(e.key),
            Event::CreditsReserved(e) => e.work.key,
            Event::CreditsCharged(e) => e.work.key,
            Event::CreditsReleased(e) => e.work.key,
            Event::CreditsRefunded(e) => e.work.key,
            Event::AccountOpened(_)
            | Event::TokenCreated(_)
            | Event::TokenRevoked(_)
            | Event::PortalSessionInvited(_)
            | Event::OperatorSessionInvited(_)
            | Event::PersonalDataErased(_)
            | Event::PricesPublished(_)
            | Event::ThresholdsSet(_)
            | Event::ThresholdReached(_)
            | Event::PlanStarted(_)
            | Event::PlanEnded(_)
            | Event::GrantStarted(_)
            | Event::CreditsCorrected(_)
            | Event::AccountClosed(_)
            | Event::AccountRenamed(_)
            | Event::ExternalRefChanged(_)
            | Event::CreditLimitChanged(_)
            | Event::CreditsGranted(_)
            | Event::CreditsExpired(_) => None,
        }
    }

    /// The digest that the event brings into the world: a new key's.
    pub fn new_key_digest(&self) -> Option<KeyDigest> {
        match self {
            Event::KeyCreated(e) => Some(e.digest),
            Event::AccountOpened(_)
            | Event::TokenCreated(_)
            | Event::TokenRevoked(_)
            | Event::PortalSessionInvited(_)
            | Event::OperatorSessionInvited(_)
            | Event::PersonalDataErased(_)
            | Event::PricesPublished(_)
            | Event::ThresholdsSet(_)
            | Event::ThresholdReached(_)
            | Event::PlanStarted(_)
            | Event::PlanEnded(_)
            | Event::GrantStarted(_)
            | Event::CreditsCorrected(_)
            | Event::AccountClosed(_)
            | Event::AccountRenamed(_)
            | Event::ExternalRefChanged(_)
            | Event::CreditLimitChanged(_)
            | Event::KeyRenamed(_)
            | Event::KeyDeleted(_)
            | Event::KeyRotated(_)
            | Event::KeyUseDenied(_)
            | Event::KeySpendingLimited(_)
            | Event::KeyUsed(_)
            | Event::CreditsGranted(_)
            | Event::CreditsExpired(_)
            | Event::CreditsReserved(_)
            | Event::CreditsCharged(_)
            | Event::CreditsReleased(_)
            | Event::CreditsRefunded(_) => None,
        }
    }
}
