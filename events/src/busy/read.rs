//! Reads the four busy events' bytes from left to right, without an allocation.

use super::{Busy, Charged, Head, Held, Released, Used, Work};
use crate::event::{Channel, ClientLeft, GrantPart, ReleaseCause};
use crate::ids::ReservationId;
use crate::key::Environment;
use crate::scan::Scan;

/// Room for the parts of grants, that is used again for one event after the other.
#[derive(Debug, Default)]
pub struct Desk {
    parts: Vec<GrantPart>,
    others: Vec<GrantPart>,
}

impl Desk {
    /// Reads an event's bytes, if it is one of the four and all of it is written plainly.
    pub fn read<'a>(&'a mut self, bytes: &'a [u8]) -> Option<(Head<'a>, Busy<'a>)> {
        let Desk { parts, others } = self;
        let mut scan = Scan::of(bytes);
        let (head, kind) = head(&mut scan)?;
        let busy = match kind {
            Kind::Used => Busy::Used(used(&mut scan)?),
            Kind::Held => {
                let held = held(&mut scan, parts)?;
                Busy::Held(Held { from: parts, ..held })
            }
            Kind::Charged => {
                let charged = charged(&mut scan, parts, others)?;
                Busy::Charged(Charged {
                    spent: parts,
                    returned_to: others,
                    ..charged
                })
            }
            Kind::Released => {
                let released = released(&mut scan, parts)?;
                Busy::Released(Released {
                    returned_to: parts,
                    ..released
                })
            }
        };
        scan.eat(b"}}")?;
        scan.is_over().then_some((head, busy))
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Used,
    Held,
    Charged,
    Released,
}

fn kind(scan: &mut Scan<'_>) -> Option<Kind> {
    if scan.has(b"KeyUsed") {
        Some(Kind::Used)
    } else if scan.has(b"CreditsReserved") {
        Some(Kind::Held)
    } else if scan.has(b"CreditsCharged") {
        Some(Kind::Charged)
    } else {
        scan.eat(b"CreditsReleased").map(|()| Kind::Released)
    }
}

fn head<'a>(scan: &mut Scan<'a>) -> Option<(Head<'a>, Kind)> {
    scan.eat(b"{\"specversion\":\"1.0\",\"id\":\"")?;
    let id = scan.event()?;
    scan.eat(b"\",\"source\":\"/keyledger/shards/")?;
    let shard = scan.shard()?;
    scan.eat(b"\",\"type\":\"keyledger.")?;
    let kind = kind(scan)?;
    scan.eat(b".v1\",\"subject\":\"")?;
    let account = scan.account()?;
    scan.eat(b"\",\"time\":\"")?;
    let time = scan.time()?;
    scan.eat(b"\",\"datacontenttype\":\"application/json\",\"position\":")?;
    let position = scan.position()?;
    scan.eat(b",\"accountseq\":")?;
    let seq = scan.seq()?;
    scan.eat(b",\"actor\":\"")?;
    let actor = scan.actor()?;
    scan.eat(b"\",\"commandid\":\"")?;
    let command = scan.command()?;
    scan.eat(b"\"")?;
    let mut sealed = None;
    if scan.has(b",\"sealed\":\"") {
        sealed = Some(scan.sealed()?);
        scan.eat(b"\"")?;
    }
    scan.eat(b",\"data\":{")?;
    let head = Head {
        id,
        shard,
        account,
        time,
        position,
        seq,
        actor,
        command,
        sealed,
    };
    Some((head, kind))
}

/// A member that need not be there. The outer `None`: it is there, and not plain.
fn text_if_there<'a, const N: usize>(scan: &mut Scan<'a>, member: &[u8; N]) -> Option<Option<&'a str>> {
    if !scan.has(member) {
        return Some(None);
    }
    let text = scan.plain_text()?;
    scan.eat(b"\"")?;
    Some(Some(text))
}

fn environment(scan: &mut Scan<'_>) -> Environment {
    if scan.has(b",\"environment\":\"test\"") {
        Environment::Test
    } else {
        Environment::Live
    }
}

fn used<'a>(scan: &mut Scan<'a>) -> Option<Used<'a>> {
    scan.eat(b"\"key\":\"")?;
    let key = scan.key()?;
    scan.eat(b"\",\"endpoint\":\"")?;
    let endpoint = scan.endpoint()?;
    scan.eat(b"\",\"reservation\":\"")?;
    let reservation = scan.reservation()?;
    scan.eat(b"\"")?;
    Some(Used {
        key,
        endpoint,
        reservation,
        request: text_if_there(scan, b",\"request\":\"")?,
        network: text_if_there(scan, b",\"network\":\"")?,
        user_agent: text_if_there(scan, b",\"user_agent\":\"")?,
        environment: environment(scan),
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
    let channel = if scan.has(b"api") {
        Channel::Api
    } else {
        scan.eat(b"dashboard").map(|()| Channel::Dashboard)?
    };
    scan.eat(b"\",\"endpoint\":\"")?;
    let endpoint = scan.endpoint()?;
    scan.eat(b"\",\"unit_price\":")?;
    let unit_price = scan.credits()?;
    scan.eat(b",\"price_version\":")?;
    let price_version = scan.number()?;
    let environment = environment(scan);
    scan.eat(b"}")?;
    Some(Work {
        key,
        channel,
        endpoint,
        unit_price,
        price_version,
        environment,
    })
}

fn reservation(scan: &mut Scan<'_>) -> Option<ReservationId> {
    scan.eat(b"\"reservation\":\"")?;
    let reservation = scan.reservation()?;
    scan.eat(b"\"")?;
    Some(reservation)
}

/// The parts are left in the list.
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
    let mut once = None;
    if scan.has(b",\"once\":\"") {
        once = Some(scan.once_mark()?);
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

/// The outer `None`: it says something else.
fn client_left(scan: &mut Scan<'_>) -> Option<Option<ClientLeft>> {
    if !scan.has(b",\"client_left\":\"") {
        return Some(None);
    }
    let left = if scan.has(b"early\"") {
        ClientLeft::Early
    } else {
        scan.eat(b"near-end\"").map(|()| ClientLeft::NearEnd)?
    };
    Some(Some(left))
}

/// The parts are left in the two lists.
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
    let charged_on_limit = scan.credits_unless_none(b",\"charged_on_limit\":")?;
    let returned_to_limit = scan.credits_unless_none(b",\"returned_to_limit\":")?;
    scan.eat(b",\"reserved_at\":\"")?;
    let reserved_at = scan.time()?;
    scan.eat(b"\"")?;
    Some(Charged {
        reservation,
        work,
        quantity,
        charged,
        returned,
        spent: &[],
        returned_to: &[],
        charged_on_limit,
        returned_to_limit,
        reserved_at,
        client_left: client_left(scan)?,
    })
}

const CAUSES: [ReleaseCause; 6] = [
    ReleaseCause::Requested,
    ReleaseCause::Queued,
    ReleaseCause::Error,
    ReleaseCause::ClientGone,
    ReleaseCause::Expired,
    ReleaseCause::AccountClosed,
];

/// The parts are left in the list.
fn released<'a>(scan: &mut Scan<'a>, parts: &mut Vec<GrantPart>) -> Option<Released<'a>> {
    let reservation = reservation(scan)?;
    let work = work(scan)?;
    scan.eat(b",\"returned\":")?;
    let returned = scan.credits()?;
    scan.eat(b",\"returned_to\":")?;
    scan.parts(parts)?;
    let returned_to_limit = scan.credits_unless_none(b",\"returned_to_limit\":")?;
    scan.eat(b",\"cause\":\"")?;
    let text = scan.plain_text()?;
    let cause = CAUSES.into_iter().find(|cause| cause.as_str() == text)?;
    scan.eat(b"\",\"reserved_at\":\"")?;
    let reserved_at = scan.time()?;
    scan.eat(b"\"")?;
    Some(Released {
        reservation,
        work,
        returned,
        returned_to: &[],
        returned_to_limit,
        cause,
        reserved_at,
        client_left: client_left(scan)?,
    })
}
