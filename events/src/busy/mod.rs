//! The four events that a busy log is made of, borrowed: what is read of their bytes and written to them without a detour.
//!
//! In: canonical bytes, or an event. Out: its members; its bytes; the event.
//!
//! Promise: what is read here is canonical, and serde reads it as the same; what is written here is what serde writes. What
//! is not read here (another type, a text with an escape) is no fault: serde reads it. These are nearly all events of a log,
//! and serde takes three times as many instructions for them.
//!
//! Not here: whether the bytes are those that were signed, and whether the event may follow.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::Desk;

use crate::credits::Credits;
use crate::envelope::{Actor, Position, Seq, Shard};
use crate::event::{
    Channel, ClientLeft, CreditsCharged, CreditsReleased, CreditsReserved, Event, GrantPart, KeyUsed, PaidWork,
    ReleaseCause,
};
use crate::ids::{AccountId, EventId, KeyId, ReservationId};
use crate::key::Environment;
use crate::once::OnceMark;
use crate::text::{Endpoint, TextError};
use crate::time::Timestamp;

/// What stands before an event's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    pub id: EventId,
    pub shard: Shard,
    pub account: AccountId,
    pub time: Timestamp,
    pub position: Position,
    pub seq: Seq,
    pub actor: Actor,
    pub command: &'a str,
    pub sealed: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy<'a> {
    Used(Used<'a>),
    Held(Held<'a>),
    Charged(Charged<'a>),
    Released(Released<'a>),
}

/// [`KeyUsed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used<'a> {
    pub key: KeyId,
    pub endpoint: &'a str,
    pub reservation: ReservationId,
    pub request: Option<&'a str>,
    pub network: Option<&'a str>,
    pub user_agent: Option<&'a str>,
    pub environment: Environment,
}

/// [`PaidWork`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work<'a> {
    pub key: Option<KeyId>,
    pub channel: Channel,
    pub endpoint: &'a str,
    pub unit_price: Credits,
    pub price_version: u64,
    pub environment: Environment,
}

/// [`CreditsReserved`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held<'a> {
    pub reservation: ReservationId,
    pub work: Work<'a>,
    pub quantity: u64,
    pub amount: Credits,
    pub from: &'a [GrantPart],
    pub on_limit: Credits,
    pub expires_at: Timestamp,
    pub once: Option<OnceMark>,
}

/// [`CreditsCharged`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charged<'a> {
    pub reservation: ReservationId,
    pub work: Work<'a>,
    pub quantity: u64,
    pub charged: Credits,
    pub returned: Credits,
    pub spent: &'a [GrantPart],
    pub returned_to: &'a [GrantPart],
    pub charged_on_limit: Credits,
    pub returned_to_limit: Credits,
    pub reserved_at: Timestamp,
    pub client_left: Option<ClientLeft>,
}

/// [`CreditsReleased`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released<'a> {
    pub reservation: ReservationId,
    pub work: Work<'a>,
    pub returned: Credits,
    pub returned_to: &'a [GrantPart],
    pub returned_to_limit: Credits,
    pub cause: ReleaseCause,
    pub reserved_at: Timestamp,
    pub client_left: Option<ClientLeft>,
}

impl<'a> Busy<'a> {
    /// The event's members, if it is one of the four.
    pub fn of(event: &'a Event) -> Option<Busy<'a>> {
        if let Event::KeyUsed(e) = event {
            return Some(Busy::Used(Used::of(e)));
        }
        if let Event::CreditsReserved(e) = event {
            return Some(Busy::Held(Held::of(e)));
        }
        if let Event::CreditsCharged(e) = event {
            return Some(Busy::Charged(Charged::of(e)));
        }
        if let Event::CreditsReleased(e) = event {
            return Some(Busy::Released(Released::of(e)));
        }
        None
    }

    /// The same as an event of its own.
    pub(crate) fn to_event(self) -> Result<Event, TextError> {
        Ok(match self {
            Busy::Used(e) => e.to_owned()?.into(),
            Busy::Held(e) => e.to_owned()?.into(),
            Busy::Charged(e) => e.to_owned()?.into(),
            Busy::Released(e) => e.to_owned()?.into(),
        })
    }

    /// The key that it is about.
    pub fn key(&self) -> Option<KeyId> {
        match self {
            Busy::Used(used) => Some(used.key),
            Busy::Held(held) => held.work.key,
            Busy::Charged(charged) => charged.work.key,
            Busy::Released(released) => released.work.key,
        }
    }
}

impl<'a> Used<'a> {
    fn of(e: &'a KeyUsed) -> Used<'a> {
        Used {
            key: e.key,
            endpoint: e.endpoint.as_str(),
            reservation: e.reservation,
            request: e.request.as_deref(),
            network: e.network.as_deref(),
            user_agent: e.user_agent.as_deref(),
            environment: e.environment,
        }
    }

    fn to_owned(self) -> Result<KeyUsed, TextError> {
        Ok(KeyUsed {
            key: self.key,
            endpoint: Endpoint::parse(self.endpoint)?,
            reservation: self.reservation,
            request: self.request.map(str::to_owned),
            network: self.network.map(str::to_owned),
            user_agent: self.user_agent.map(str::to_owned),
            environment: self.environment,
        })
    }
}

impl<'a> Work<'a> {
    fn of(work: &'a PaidWork) -> Work<'a> {
        Work {
            key: work.key,
            channel: work.channel,
            endpoint: work.endpoint.as_str(),
            unit_price: work.unit_price,
            price_version: work.price_version,
            environment: work.environment,
        }
    }

    fn to_owned(self) -> Result<PaidWork, TextError> {
        Ok(PaidWork {
            key: self.key,
            channel: self.channel,
            endpoint: Endpoint::parse(self.endpoint)?,
            unit_price: self.unit_price,
            price_version: self.price_version,
            environment: self.environment,
        })
    }
}

impl<'a> Held<'a> {
    fn of(e: &'a CreditsReserved) -> Held<'a> {
        Held {
            reservation: e.reservation,
            work: Work::of(&e.work),
            quantity: e.quantity,
            amount: e.amount,
            from: &e.from,
            on_limit: e.on_limit,
            expires_at: e.expires_at,
            once: e.once,
        }
    }

    fn to_owned(self) -> Result<CreditsReserved, TextError> {
        Ok(CreditsReserved {
            reservation: self.reservation,
            work: self.work.to_owned()?,
            quantity: self.quantity,
            amount: self.amount,
            from: self.from.to_vec(),
            on_limit: self.on_limit,
            expires_at: self.expires_at,
            once: self.once,
        })
    }
}

impl<'a> Charged<'a> {
    fn of(e: &'a CreditsCharged) -> Charged<'a> {
        Charged {
            reservation: e.reservation,
            work: Work::of(&e.work),
            quantity: e.quantity,
            charged: e.charged,
            returned: e.returned,
            spent: &e.spent,
            returned_to: &e.returned_to,
            charged_on_limit: e.charged_on_limit,
            returned_to_limit: e.returned_to_limit,
            reserved_at: e.reserved_at,
            client_left: e.client_left,
        }
    }

    fn to_owned(self) -> Result<CreditsCharged, TextError> {
        Ok(CreditsCharged {
            reservation: self.reservation,
            work: self.work.to_owned()?,
            quantity: self.quantity,
            charged: self.charged,
            returned: self.returned,
            spent: self.spent.to_vec(),
            returned_to: self.returned_to.to_vec(),
            charged_on_limit: self.charged_on_limit,
            returned_to_limit: self.returned_to_limit,
            reserved_at: self.reserved_at,
            client_left: self.client_left,
        })
    }
}

impl<'a> Released<'a> {
    fn of(e: &'a CreditsReleased) -> Released<'a> {
        Released {
            reservation: e.reservation,
            work: Work::of(&e.work),
            returned: e.returned,
            returned_to: &e.returned_to,
            returned_to_limit: e.returned_to_limit,
            cause: e.cause,
            reserved_at: e.reserved_at,
            client_left: e.client_left,
        }
    }

    fn to_owned(self) -> Result<CreditsReleased, TextError> {
        Ok(CreditsReleased {
            reservation: self.reservation,
            work: self.work.to_owned()?,
            returned: self.returned,
            returned_to: self.returned_to.to_vec(),
            returned_to_limit: self.returned_to_limit,
            cause: self.cause,
            reserved_at: self.reserved_at,
            client_left: self.client_left,
        })
    }
}
