//! What stands before an event's data, of the four events that a busy log is made of.

use keyledger_events::{AccountId, Timestamp};

use super::scan::Scan;

/// The members before the data; the type is among them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope {
    pub shard: u64,
    pub busy: Busy,
    pub account: AccountId,
    pub time: Timestamp,
    pub position: u64,
    pub seq: u64,
}

/// The events that a busy log is made of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Busy {
    Used,
    Held,
    Charged,
    Released,
}

impl Busy {
    fn of(scan: &mut Scan<'_>) -> Option<Busy> {
        if scan.has(b"KeyUsed") {
            Some(Busy::Used)
        } else if scan.has(b"CreditsReserved") {
            Some(Busy::Held)
        } else if scan.has(b"CreditsCharged") {
            Some(Busy::Charged)
        } else {
            scan.eat(b"CreditsReleased").map(|()| Busy::Released)
        }
    }
}

pub(super) fn envelope(scan: &mut Scan<'_>) -> Option<Envelope> {
    scan.eat(b"{\"specversion\":\"1.0\",\"id\":\"")?;
    scan.ulid()?;
    scan.eat(b"\",\"source\":\"/keyledger/shards/")?;
    let shard = scan.number().filter(|shard| *shard <= u64::from(u16::MAX))?;
    scan.eat(b"\",\"type\":\"keyledger.")?;
    let busy = Busy::of(scan)?;
    scan.eat(b".v1\",\"subject\":\"")?;
    let account = scan.account()?;
    scan.eat(b"\",\"time\":\"")?;
    let time = scan.time()?;
    scan.eat(b"\",\"datacontenttype\":\"application/json\",\"position\":")?;
    let position = scan.number().filter(|position| *position > 0)?;
    scan.eat(b",\"accountseq\":")?;
    let seq = scan.number().filter(|seq| *seq > 0)?;
    scan.eat(b",\"actor\":\"")?;
    scan.actor()?;
    scan.eat(b"\",\"commandid\":\"")?;
    scan.command()?;
    scan.eat(b"\"")?;
    if scan.has(b",\"sealed\":\"") {
        scan.sealed()?;
        scan.eat(b"\"")?;
    }
    scan.eat(b",\"data\":{")?;
    Some(Envelope {
        shard,
        busy,
        account,
        time,
        position,
        seq,
    })
}
