//! An event as the auditor's books take it: what stands in it, borrowed from its bytes or from what was decoded.

pub(super) use keyledger_events::busy::{Busy, Charged, Held, Released, Used, Work};

use keyledger_events::{AccountId, DecodeError, Event, KeyId, Recorded, Timestamp, busy};

/// Room that is used again for one event after the other.
#[derive(Debug, Default)]
pub(super) struct Desk {
    busy: busy::Desk,
    decoded: Option<Recorded>,
}

/// An event, where it says that it stands.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub shard: u64,
    pub position: u64,
    pub account: AccountId,
    pub seq: u64,
    pub time: Timestamp,
    pub fact: Fact<'a>,
}

#[derive(Debug)]
pub(super) enum Fact<'a> {
    Busy(Busy<'a>),
    Other(&'a Event),
}

impl Desk {
    /// Reads an event's bytes, and refuses all that are not canonical.
    pub(super) fn read<'a>(&'a mut self, bytes: &'a [u8]) -> Result<Entry<'a>, DecodeError> {
        let Desk { busy, decoded } = self;
        match busy.read(bytes) {
            Some((head, busy)) => Ok(Entry {
                shard: u64::from(head.shard.0),
                position: head.position.0,
                account: head.account,
                seq: head.seq.0,
                time: head.time,
                fact: Fact::Busy(busy),
            }),
            None => Ok(Entry::of(decoded.insert(Recorded::decode(bytes)?))),
        }
    }
}

impl<'a> Entry<'a> {
    fn of(recorded: &'a Recorded) -> Entry<'a> {
        Entry {
            shard: u64::from(recorded.shard.0),
            position: recorded.position.0,
            account: recorded.account,
            seq: recorded.seq.0,
            time: recorded.time,
            fact: Busy::of(&recorded.event).map_or(Fact::Other(&recorded.event), Fact::Busy),
        }
    }
}

impl Fact<'_> {
    /// The key that it is about.
    pub(super) fn key(&self) -> Option<KeyId> {
        match self {
            Fact::Busy(busy) => busy.key(),
            Fact::Other(event) => event.key(),
        }
    }
}
