//! An event as the auditor's books take it: what stands in it, borrowed from its bytes or from what was decoded.
//!
//! Promise: the members of the busy events are the same whichever way they were read.

use keyledger_events::{
    AccountId, Credits, DecodeError, Environment, Event, GrantPart, KeyId, PaidWork, Recorded, ReservationId, Timestamp,
};

use super::envelope::{Busy, envelope};
use super::scan::Scan;

/// Room that is used again for one event after the other.
#[derive(Debug, Default)]
pub(super) struct Desk {
    parts: Vec<GrantPart>,
    others: Vec<GrantPart>,
    decoded: Option<Recorded>,
}

/// An event, where it says that it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub shard: u64,
    pub position: u64,
    pub account: AccountId,
    pub seq: u64,
    pub time: Timestamp,
    pub fact: Fact<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fact<'a> {
    Used(Used<'a>),
    Held(Held<'a>),
    Charged(Charged<'a>),
    Released(Released<'a>),
    Other(&'a Event),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used<'a> {
    pub key: KeyId,
    pub endpoint: &'a str,
    pub reservation: ReservationId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Work<'a> {
    pub key: Option<KeyId>,
    pub endpoint: &'a str,
    pub unit_price: Credits,
    pub price_version: u64,
    pub test: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held<'a> {
    pub reservation: ReservationId,
    pub work: Work<'a>,
    pub quantity: u64,
    pub amount: Credits,
    pub from: &'a [GrantPart],
    pub on_limit: Credits,
    pub expires_at: Timestamp,
    pub once: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Charged<'a> {
    pub reservation: ReservationId,
    pub work: Work<'a>,
    pub quantity: u64,
    pub charged: Credits,
    pub returned: Credits,
    pub spent: &'a [GrantPart],
    pub returned_to: &'a [GrantPart],
    pub on_limit: Credits,
    pub returned_to_limit: Credits,
    pub reserved_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Released<'a> {
    pub reservation: ReservationId,
    pub work: Work<'a>,
    pub returned: Credits,
    pub returned_to: &'a [GrantPart],
    pub returned_to_limit: Credits,
    /// Because its time was over.
    pub by_time: bool,
    pub reserved_at: Timestamp,
}

impl Desk {
    /// Reads an event's bytes, and refuses all that are not canonical.
    pub(super) fn read<'a>(&'a mut self, bytes: &'a [u8]) -> Result<Entry<'a>, DecodeError> {
        let Desk { parts, others, decoded } = self;
        match scanned(bytes, parts, others) {
            Some(entry) => Ok(entry.with_parts(parts, others)),
            None => Ok(Entry::of(decoded.insert(Recorded::decode(bytes)?))),
        }
    }
}

/// Leaves the parts of grants in the two lists.
fn scanned<'a>(bytes: &'a [u8], parts: &mut Vec<GrantPart>, others: &mut Vec<GrantPart>) -> Option<Entry<'a>> {
    let mut scan = Scan::of(bytes);
    let head = envelope(&mut scan)?;
    let fact = match head.busy {
        Busy::Used => Fact::Used(used(&mut scan)?),
        Busy::Held => Fact::Held(held(&mut scan, parts)?),
        Busy::Charged => Fact::Charged(charged(&mut scan, parts, others)?),
        Busy::Released => Fact::Released(released(&mut scan, parts)?),
    };
    scan.eat(b"}}")?;
    scan.is_over().then_some(Entry {
        shard: head.shard,
        position: head.position,
        account: head.account,
        seq: head.seq,
        time: head.time,
        fact,
    })
}

fn text_if_there<const N: usize>(scan: &mut Scan<'_>, member: &[u8; N]) -> Option<()> {
    if scan.has(member) {
        scan.plain_text()?;
        scan.eat(b"\"")?;
    }
    Some(())
}

fn used<'a>(scan: &mut Scan<'a>) -> Option<Used<'a>> {
    scan.eat(b"\"key\":\"")?;
    let key = scan.key()?;
    scan.eat(b"\",\"endpoint\":\"")?;
    let endpoint = scan.endpoint()?;
    scan.eat(b"\",\"reservation\":\"")?;
    let reservation = scan.reservation()?;
    scan.eat(b"\"")?;
    text_if_there(scan, b",\"request\":\"")?;
    text_if_there(scan, b",\"network\":\"")?;
    text_if_there(scan, b",\"user_agent\":\"")?;
    scan.has(b",\"environment\":\"test\"");
    Some(Used {
        key,
        endpoint,
        reservation,
    })
}

fn work<'a>(scan: &mut Scan<'a>) -> Option<Work<'a>> {
    scan.eat(b",\"work\":{")?;
    let mut key = None;
    if scan.has(b"\"key\":\"") {
        key = Some(scan.key()?);
        scan.eat(b"\",")?;
    }
    scan.eat(b"\"channel\":\"")?;
    if !scan.has(b"api") {
        scan.eat(b"dashboard")?;
    }
    scan.eat(b"\",\"endpoint\":\"")?;
    let endpoint = scan.endpoint()?;
    scan.eat(b"\",\"unit_price\":")?;
    let unit_price = scan.credits()?;
    scan.eat(b",\"price_version\":")?;
    let price_version = scan.number()?;
    let test = scan.has(b",\"environment\":\"test\"");
    scan.eat(b"}")?;
    Some(Work {
        key,
        endpoint,
        unit_price,
        price_version,
        test,
    })
}

fn reservation(scan: &mut Scan<'_>) -> Option<ReservationId> {
    scan.eat(b"\"reservation\":\"")?;
    let reservation = scan.reservation()?;
    scan.eat(b"\"")?;
    Some(reservation)
}

fn held<'a>(scan: &mut Scan<'a>, parts: &mut Vec<GrantPart>) -> Option<Held<'a>> {
    let reservation = reservation(scan)?;
    let work = work(scan)?;
    scan.eat(b",\"quantity\":")?;
    let quantity = scan.number()?;
    scan.eat(b",\"amount\":")?;
    let amount = scan.credits()?;
    scan.eat(b",\"from\":")?;
    scan.parts(parts)?;
    let on_limit = scan.credits_unless_none(b",\"on_limit\":")?;
    scan.eat(b",\"expires_at\":\"")?;
    let expires_at = scan.time()?;
    scan.eat(b"\"")?;
    let once = scan.has(b",\"once\":\"");
    if once {
        scan.hex(32)?;
        scan.eat(b"\"")?;
    }
    Some(Held {
        reservation,
        work,
        quantity,
        amount,
        from: &[],
        on_limit,
        expires_at,
        once,
    })
}

fn client_left(scan: &mut Scan<'_>) -> Option<()> {
    if scan.has(b",\"client_left\":\"") {
        if !scan.has(b"early") {
            scan.eat(b"near-end")?;
        }
        scan.eat(b"\"")?;
    }
    Some(())
}

fn charged<'a>(scan: &mut Scan<'a>, parts: &mut Vec<GrantPart>, others: &mut Vec<GrantPart>) -> Option<Charged<'a>> {
    let reservation = reservation(scan)?;
    let work = work(scan)?;
    scan.eat(b",\"quantity\":")?;
    let quantity = scan.number()?;
    scan.eat(b",\"charged\":")?;
    let charged = scan.credits()?;
    scan.eat(b",\"returned\":")?;
    let returned = scan.credits()?;
    scan.eat(b",\"spent\":")?;
    scan.parts(parts)?;
    scan.eat(b",\"returned_to\":")?;
    scan.parts(others)?;
    let on_limit = scan.credits_unless_none(b",\"charged_on_limit\":")?;
    let returned_to_limit = scan.credits_unless_none(b",\"returned_to_limit\":")?;
    scan.eat(b",\"reserved_at\":\"")?;
    let reserved_at = scan.time()?;
    scan.eat(b"\"")?;
    client_left(scan)?;
    Some(Charged {
        reservation,
        work,
        quantity,
        charged,
        returned,
        spent: &[],
        returned_to: &[],
        on_limit,
        returned_to_limit,
        reserved_at,
    })
}

fn released<'a>(scan: &mut Scan<'a>, parts: &mut Vec<GrantPart>) -> Option<Released<'a>> {
    let reservation = reservation(scan)?;
    let work = work(scan)?;
    scan.eat(b",\"returned\":")?;
    let returned = scan.credits()?;
    scan.eat(b",\"returned_to\":")?;
    scan.parts(parts)?;
    let returned_to_limit = scan.credits_unless_none(b",\"returned_to_limit\":")?;
    scan.eat(b",\"cause\":\"")?;
    let by_time = scan.has(b"expired\"");
    let known = by_time
        || scan.has(b"requested\"")
        || scan.has(b"queued\"")
        || scan.has(b"error\"")
        || scan.has(b"client-gone\"")
        || scan.has(b"account-closed\"");
    if !known {
        return None;
    }
    scan.eat(b",\"reserved_at\":\"")?;
    let reserved_at = scan.time()?;
    scan.eat(b"\"")?;
    client_left(scan)?;
    Some(Released {
        reservation,
        work,
        returned,
        returned_to: &[],
        returned_to_limit,
        by_time,
        reserved_at,
    })
}

impl<'a> Work<'a> {
    fn of(work: &'a PaidWork) -> Work<'a> {
        Work {
            key: work.key,
            endpoint: work.endpoint.as_str(),
            unit_price: work.unit_price,
            price_version: work.price_version,
            test: work.environment == Environment::Test,
        }
    }
}

impl<'a> Entry<'a> {
    fn with_parts(mut self, parts: &'a [GrantPart], others: &'a [GrantPart]) -> Entry<'a> {
        match &mut self.fact {
            Fact::Held(held) => held.from = parts,
            Fact::Charged(charged) => (charged.spent, charged.returned_to) = (parts, others),
            Fact::Released(released) => released.returned_to = parts,
            Fact::Used(_) | Fact::Other(_) => {}
        }
        self
    }

    pub(super) fn of(recorded: &'a Recorded) -> Entry<'a> {
        Entry {
            shard: u64::from(recorded.shard.0),
            position: recorded.position.0,
            account: recorded.account,
            seq: recorded.seq.0,
            time: recorded.time,
            fact: Fact::of(&recorded.event),
        }
    }
}

impl<'a> Fact<'a> {
    /// The key that it is about.
    pub(super) fn key(&self) -> Option<KeyId> {
        match self {
            Fact::Used(used) => Some(used.key),
            Fact::Held(held) => held.work.key,
            Fact::Charged(charged) => charged.work.key,
            Fact::Released(released) => released.work.key,
            Fact::Other(event) => event.key(),
        }
    }

    fn of(event: &'a Event) -> Fact<'a> {
        if let Event::KeyUsed(e) = event {
            return Fact::Used(Used {
                key: e.key,
                endpoint: e.endpoint.as_str(),
                reservation: e.reservation,
            });
        }
        if let Event::CreditsReserved(e) = event {
            return Fact::Held(Held {
                reservation: e.reservation,
                work: Work::of(&e.work),
                quantity: e.quantity,
                amount: e.amount,
                from: &e.from,
                on_limit: e.on_limit,
                expires_at: e.expires_at,
                once: e.once.is_some(),
            });
        }
        if let Event::CreditsCharged(e) = event {
            return Fact::Charged(Charged {
                reservation: e.reservation,
                work: Work::of(&e.work),
                quantity: e.quantity,
                charged: e.charged,
                returned: e.returned,
                spent: &e.spent,
                returned_to: &e.returned_to,
                on_limit: e.charged_on_limit,
                returned_to_limit: e.returned_to_limit,
                reserved_at: e.reserved_at,
            });
        }
        if let Event::CreditsReleased(e) = event {
            return Fact::Released(Released {
                reservation: e.reservation,
                work: Work::of(&e.work),
                returned: e.returned,
                returned_to: &e.returned_to,
                returned_to_limit: e.returned_to_limit,
                by_time: e.cause == keyledger_events::ReleaseCause::Expired,
                reserved_at: e.reserved_at,
            });
        }
        Fact::Other(event)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every kind of event, as an old log has them.
    fn lines() -> Vec<Vec<u8>> {
        let log = include_bytes!("../../../tests/golden/log-1.ndjson");
        let lines = log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(<[u8]>::to_vec).collect()
    }

    /// Reads an event both ways; how many were read the short way.
    fn read_alike(bytes: &[u8]) -> usize {
        let (mut parts, mut others) = (Vec::new(), Vec::new());
        let Some(scanned) = scanned(bytes, &mut parts, &mut others) else {
            return 0;
        };
        let decoded = Recorded::decode(bytes).expect("what is scanned is canonical");
        assert_eq!(scanned.with_parts(&parts, &others), Entry::of(&decoded));
        1
    }

    #[test]
    fn busy_events_are_read_without_decoding_and_as_the_same() {
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

    proptest! {
        #[test]
        fn what_is_read_without_decoding_is_canonical_whatever_was_changed(
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
    }
}
