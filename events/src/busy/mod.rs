//! The four events that a busy log is made of, borrowed: what is read of their bytes and written to them without a detour.
//!
//! In: canonical bytes, or an event. Out: its members; its bytes; the event.
//!
//! Promise: what is read here is canonical, and serde reads it as the same; what is written here is what serde writes. What is not
//! read here (another type, a text with an escape) is no fault: serde reads it. These are nearly all events of a log, and serde
//! takes four times as long for them.
//!
//! Not here: whether the bytes are those that were signed, and whether the event may follow.

mod read;
mod scan;
mod write;

pub use read::Desk;
pub(crate) use scan::Scan;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::envelope::Recorded;

    /// Every kind of event, as old logs have them.
    fn lines() -> Vec<Vec<u8>> {
        let logs = [
            include_bytes!("../../../tests/golden/log-1.ndjson").as_slice(),
            include_bytes!("../../../tests/golden/log-2.ndjson"),
            include_bytes!("../../../tests/golden/log-3.ndjson"),
        ];
        let lines = logs.into_iter().flat_map(|log| log.split(|byte| *byte == b'\n'));
        lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
    }

    /// Reads an event both ways, and writes what was read both ways; how many were read the short way.
    fn read_alike(bytes: &[u8]) -> usize {
        let Some(scanned) = Recorded::decode_busy(bytes) else {
            return 0;
        };
        let decoded = Recorded::decode_by_name(bytes).expect("what is scanned is an event");
        assert_eq!(scanned, decoded);
        assert_eq!(scanned.encode(), bytes, "what is scanned is canonical");
        written_alike(&decoded.event);
        1
    }

    /// Whether it was written the short way.
    fn written_alike(event: &Event) -> bool {
        let (mut short, mut long) = (Vec::new(), Vec::new());
        let written = Busy::of(event).is_some_and(|busy| busy.write(&mut short));
        event.write_data(&mut long).unwrap();
        if written {
            assert_eq!(String::from_utf8(short), String::from_utf8(long));
        }
        written
    }

    #[test]
    fn busy_events_are_read_and_written_without_a_detour_and_as_the_same() {
        let busy = |line: &&Vec<u8>| {
            let text = String::from_utf8_lossy(line);
            ["KeyUsed", "CreditsReserved", "CreditsCharged", "CreditsReleased"]
                .iter()
                .any(|name| text.contains(&format!("keyledger.{name}.v1")))
        };
        let lines = lines();
        let scanned: usize = lines.iter().map(|line| read_alike(line)).sum();
        assert!(scanned > 10);
        assert_eq!(scanned, lines.iter().filter(busy).count(), "all of them are plain");
    }

    fn part(grant: u128, micros: i64) -> GrantPart {
        GrantPart {
            grant: crate::GrantId::from_parts(1, grant),
            amount: Credits::from_micros(micros).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn what_is_read_without_a_detour_is_canonical_whatever_was_changed(
            line in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), byte in 0x20..0x7F_u8,
            cut in any::<prop::sample::Index>(), slip in any::<bool>(),
        ) {
            let lines = lines();
            let mut bytes = line.get(&lines).clone();
            let place = place.index(bytes.len());
            if slip {
                bytes.insert(place, byte);
            } else {
                bytes[place] = byte;
            }
            read_alike(&bytes);
            bytes.remove(cut.index(bytes.len()));
            read_alike(&bytes);
        }

        /// Every member there and not there, every text plain and not.
        #[test]
        fn what_is_written_without_a_detour_is_what_serde_writes(
            user_agent in proptest::option::of("\\PC{0,12}|[ -~]{0,12}|[\0-\x1F\"\\\\]{1,3}"),
            request in proptest::option::of("[ -~]{0,12}"),
            network in proptest::option::of("[ -~]{0,12}"),
            bits in any::<u128>(), number in any::<u64>(), cause in 0..6_usize, left in 0..3_usize, flags in any::<[bool; 5]>(),
            micros in prop::collection::vec(-9_000_000_000_000_000_i64..=9_000_000_000_000_000, 6), parts in 0..4_usize,
            moment in 0..253_402_300_799_999_999_i64,
        ) {
            let [keyed, test, api, limit, once] = flags;
            let amount = |place: usize| Credits::from_micros(micros[place]).unwrap();
            let on_limit = |place| if limit { amount(place) } else { Credits::ZERO };
            let parts: Vec<GrantPart> = (0..parts).map(|place| part(bits ^ 7, micros[place])).collect();
            let endpoint = Endpoint::parse("ai_visibility-2.x").unwrap();
            let environment = if test { Environment::Test } else { Environment::Live };
            let reservation = ReservationId::from_parts(number % (1 << 48), bits);
            let key = KeyId::from_parts(7, bits);
            let at = Timestamp::from_micros(moment).unwrap();
            let client_left = [None, Some(ClientLeft::Early), Some(ClientLeft::NearEnd)][left];
            let work = PaidWork {
                key: keyed.then_some(key),
                channel: if api { Channel::Api } else { Channel::Dashboard },
                endpoint: endpoint.clone(),
                unit_price: amount(0),
                price_version: number,
                environment,
            };
            let plain = user_agent.as_ref().is_none_or(|text| !text.contains(|c: char| c < ' ' || c == '"' || c == '\\'));
            let used = KeyUsed {
                key,
                endpoint,
                reservation,
                request: request.map(|text| text.replace(['"', '\\'], "/")),
                network: network.map(|text| text.replace(['"', '\\'], "/")),
                user_agent,
                environment,
            };
            let held = CreditsReserved {
                reservation,
                work: work.clone(),
                quantity: number,
                amount: amount(1),
                from: parts.clone(),
                on_limit: on_limit(2),
                expires_at: at,
                once: once.then(|| OnceMark::from_bytes(bits.to_be_bytes())),
            };
            let charged = CreditsCharged {
                reservation,
                work: work.clone(),
                quantity: number,
                charged: amount(1),
                returned: amount(2),
                spent: parts.clone(),
                returned_to: parts.clone(),
                charged_on_limit: on_limit(3),
                returned_to_limit: on_limit(4),
                reserved_at: at,
                client_left,
            };
            let released = CreditsReleased {
                reservation,
                work,
                returned: amount(2),
                returned_to: parts,
                returned_to_limit: on_limit(4),
                cause: [
                    ReleaseCause::Requested, ReleaseCause::Queued, ReleaseCause::Error,
                    ReleaseCause::ClientGone, ReleaseCause::Expired, ReleaseCause::AccountClosed,
                ][cause],
                reserved_at: at,
                client_left,
            };
            prop_assert_eq!(written_alike(&used.into()), plain);
            prop_assert!(written_alike(&held.into()) && written_alike(&charged.into()) && written_alike(&released.into()));
        }
    }
}
