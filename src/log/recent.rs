//! The newest events that this process appended, for those of it that read along: the relay, the sealer, the projections. The
//! log need not send back what it was sent a moment ago.
//!
//! Promise: what is here is in the log, with these bytes at these positions, one after the other without a gap. Where another
//! process has appended in between, and where nobody reads along, nothing is kept. Memory is bounded. A database that loses
//! what it had committed, under a process that goes on, is noticed by that process's next append.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyledger_events::{Position, Recorded};
use tokio::sync::watch;

use super::wire_array::WireArray;
use super::{Batch, Log, ReadError, Stored};

/// Of canonical bytes: more than a second of a busy log.
const BYTES_KEPT_MAX: usize = 32 << 20;

/// Of so many appends the events are kept beside their bytes. Who reads along closely need not decode them.
const APPENDS_DECODED_MAX: usize = 16;

/// The appends of one process to one shard.
#[derive(Debug)]
pub(super) struct Recent {
    ring: Mutex<Ring>,
    end: watch::Sender<Position>,
}

#[derive(Debug, Default)]
struct Ring {
    appends: VecDeque<Append>,
    bytes: usize,
    /// Somebody has asked.
    wanted: bool,
}

#[derive(Debug)]
struct Append {
    first: Position,
    bodies: WireArray<Vec<u8>>,
    /// One for each body, or nothing at all.
    decoded: Vec<Option<Arc<Recorded>>>,
}

/// An event that was appended a moment ago.
#[derive(Debug)]
pub enum AtHand {
    /// As it was encoded.
    Decoded(Arc<Recorded>),
    Stored(Stored),
}

impl Default for Recent {
    fn default() -> Recent {
        Recent {
            ring: Mutex::default(),
            end: watch::Sender::new(Position::START),
        }
    }
}

impl Append {
    /// The position after its last event.
    fn end(&self) -> u64 {
        self.first.0 + u64::try_from(self.bodies.len()).unwrap_or_default()
    }
}

impl Recent {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is in the log now.
    pub(super) fn keep(&self, first: Position, bodies: &WireArray<Vec<u8>>, decoded: &[Option<Arc<Recorded>>]) {
        if !self.ring().wanted {
            return;
        }
        let append = Append {
            first,
            bodies: bodies.clone(),
            decoded: decoded.to_vec(),
        };
        let last = Position(append.end() - 1);
        self.ring().push(append);
        self.end.send_replace(last);
    }

    /// Somebody else has appended: what comes next does not follow what is here.
    pub(super) fn forget(&self) {
        self.ring().forget();
    }

    /// At most `limit` events right after a position, each made of its bytes and, where it is still there, of what they were
    /// encoded from. `None`: the first of them is not here.
    fn after<E>(
        &self,
        after: Position,
        limit: u32,
        event: impl Fn(Position, &[u8], Option<&Arc<Recorded>>) -> E,
    ) -> Option<Vec<E>> {
        let mut ring = self.ring();
        ring.wanted = true;
        let next = after.0.checked_add(1)?;
        let from = ring.appends.partition_point(|append| append.end() <= next);
        let skip = next.checked_sub(ring.appends.get(from)?.first.0)?;
        let appends = ring.appends.range(from..);
        let events = appends.flat_map(|append| {
            let decoded = append.decoded.iter().map(Option::as_ref);
            append.bodies.iter().zip(decoded.chain(std::iter::repeat(None)))
        });
        let events = events
            .skip(usize::try_from(skip).ok()?)
            .take(usize::try_from(limit).unwrap_or(usize::MAX));
        let made = (next..).zip(events).map(|(position, (body, decoded))| {
            let position = Position(position);
            event(position, body, decoded.filter(|decoded| decoded.position == position))
        });
        Some(made.collect())
    }
}

fn stored(position: Position, body: &[u8]) -> Stored {
    Stored {
        position,
        body: body.to_vec(),
    }
}

impl Ring {
    fn push(&mut self, append: Append) {
        if self.appends.back().is_some_and(|last| last.end() != append.first.0) {
            self.forget();
        }
        self.bytes += append.bodies.bytes();
        self.appends.push_back(append);
        if let Some(older) = self.appends.iter_mut().rev().nth(APPENDS_DECODED_MAX) {
            older.decoded = Vec::new();
        }
        while self.bytes > BYTES_KEPT_MAX
            && let Some(oldest) = self.appends.pop_front()
        {
            self.bytes -= oldest.bodies.bytes();
        }
    }

    fn forget(&mut self) {
        self.appends.clear();
        self.bytes = 0;
    }
}

impl Log {
    /// Events right after a position, in order, without a gap, and at least one if there is one: at most `limit`, and perhaps
    /// fewer although there are more. Those that this process has just appended come from its memory.
    pub async fn read_along(&self, after: Position, limit: u32) -> Result<Vec<Stored>, ReadError> {
        match self.at_hand(after, limit) {
            Some(events) => Ok(events),
            None => self.read(after, limit).await,
        }
    }

    /// The same, where nothing has to be asked for. `None`: the log has to be read.
    pub fn at_hand(&self, after: Position, limit: u32) -> Option<Vec<Stored>> {
        let events = self
            .recent
            .after(after, limit, |position, body, _| stored(position, body));
        events.filter(|events| !events.is_empty())
    }

    /// The same, decoded already where that is at hand too.
    pub fn at_hand_decoded(&self, after: Position, limit: u32) -> Option<Vec<AtHand>> {
        let events = self
            .recent
            .after(after, limit, |position, body, decoded| match decoded {
                Some(decoded) => {
                    debug_assert_eq!(
                        Recorded::decode_loosely(body).ok().as_ref(),
                        Some(decoded.as_ref()),
                        "an event is what its bytes say"
                    );
                    AtHand::Decoded(Arc::clone(decoded))
                }
                None => AtHand::Stored(stored(position, body)),
            });
        events.filter(|events| !events.is_empty())
    }

    /// Whether somebody reads along.
    pub fn is_read_along(&self) -> bool {
        self.recent.ring().wanted
    }

    /// The last event that this process appended, and every later one.
    pub fn appended(&self) -> watch::Receiver<Position> {
        self.recent.end.subscribe()
    }

    /// Somebody found that what is at hand may not be what the log holds.
    pub fn forget_appended(&self) {
        self.recent.forget();
    }

    pub(super) fn keep_recent(&self, batch: &Batch) {
        if let Some(first) = batch.first() {
            self.recent.keep(first, batch.bodies(), batch.decoded());
        }
    }
}

#[cfg(test)]
mod tests {
    use keyledger_events::{
        AccountId, Actor, CommandId, Credits, CreditsExpired, Event, EventId, GrantId, Seq, Shard, Timestamp,
    };

    use super::*;

    fn bodies(texts: &[&str]) -> WireArray<Vec<u8>> {
        let mut array = WireArray::default();
        texts.iter().for_each(|text| array.push(text.as_bytes()));
        array
    }

    fn read(recent: &Recent, after: u64, limit: u32) -> Option<Vec<(u64, String)>> {
        let events = recent.after(Position(after), limit, |position, body, _| stored(position, body))?;
        let text = |event: Stored| (event.position.0, String::from_utf8(event.body).unwrap());
        Some(events.into_iter().map(text).collect())
    }

    fn expected(events: &[(u64, &str)]) -> Option<Vec<(u64, String)>> {
        Some(events.iter().map(|(at, text)| (*at, (*text).to_owned())).collect())
    }

    #[test]
    fn what_was_appended_is_read_from_any_place_of_it() {
        let recent = Recent::default();
        recent.keep(Position(5), &bodies(&["lost"]), &[]);
        assert_eq!(read(&recent, 4, 9), None, "nobody had asked");
        recent.keep(Position(6), &bodies(&["a", "", "c"]), &[]);
        recent.keep(Position(9), &bodies(&["d"]), &[]);
        recent.keep(Position(10), &bodies(&["e", "f"]), &[]);
        let all = [(6, "a"), (7, ""), (8, "c"), (9, "d"), (10, "e"), (11, "f")];
        for from in 0..all.len() {
            for limit in 0..8 {
                let upto = all.len().min(from + limit);
                let limit = u32::try_from(limit).unwrap();
                let after = all[from].0 - 1;
                assert_eq!(
                    read(&recent, after, limit),
                    expected(&all[from..upto]),
                    "{after} {limit}"
                );
            }
        }
        assert_eq!((read(&recent, 4, 1), read(&recent, 11, 1)), (None, None));
        assert_eq!(read(&recent, u64::MAX, 1), None);
        assert_eq!(*recent.end.borrow(), Position(11));
    }

    #[test]
    fn what_does_not_follow_begins_anew() {
        let recent = Recent::default();
        assert_eq!(read(&recent, 0, 1), None);
        recent.keep(Position(1), &bodies(&["a"]), &[]);
        recent.keep(Position(3), &bodies(&["c"]), &[]);
        assert_eq!(read(&recent, 0, 9), None);
        assert_eq!(read(&recent, 2, 9), expected(&[(3, "c")]));
        recent.forget();
        assert_eq!(read(&recent, 2, 9), None);
    }

    fn event(position: u64) -> Recorded {
        let zero = [0; 16];
        Recorded {
            id: EventId::from_bytes(zero),
            shard: Shard(0),
            position: Position(position),
            account: AccountId::from_bytes(zero),
            seq: Seq(position),
            time: Timestamp::EPOCH,
            actor: Actor::System,
            command: CommandId::parse("due").unwrap(),
            sealed: None,
            event: Event::CreditsExpired(CreditsExpired {
                grant: GrantId::from_bytes(zero),
                amount: Credits::from_micros(1).unwrap(),
                repays: Credits::ZERO,
            }),
        }
    }

    #[test]
    fn an_event_is_decoded_only_at_its_own_place_and_for_a_while() {
        let recent = Recent::default();
        assert_eq!(read(&recent, 0, 1), None);
        let texts = bodies(&["a", "b"]);
        let kept = |position: u64| Some(Arc::new(event(position)));
        // The second is sealed; of the next append the first is not what its place says.
        recent.keep(Position(1), &texts, &[kept(1), None]);
        recent.keep(Position(3), &texts, &[kept(9), kept(4)]);
        let decoded = |recent: &Recent| {
            let at_hand = recent.after(Position(0), 4, |_, _, decoded| decoded.is_some());
            at_hand.unwrap()
        };
        assert_eq!(decoded(&recent), [true, false, false, true]);
        for append in 0..APPENDS_DECODED_MAX {
            let first = 5 + 2 * u64::try_from(append).unwrap();
            recent.keep(Position(first), &texts, &[]);
        }
        assert_eq!(decoded(&recent), [false; 4], "the bytes are there still");
    }

    #[test]
    fn memory_is_bounded() {
        let recent = Recent::default();
        assert_eq!(read(&recent, 0, 1), None);
        let megabyte = "x".repeat(1 << 20);
        for first in 1..=100 {
            recent.keep(Position(first), &bodies(&[megabyte.as_str()]), &[]);
        }
        assert!(recent.ring().bytes <= BYTES_KEPT_MAX);
        let kept = recent.ring().appends.len();
        assert_eq!(kept, 31, "31 with their lengths are the most below 32 MiB");
        assert_eq!(read(&recent, 68, 1), None);
        assert_eq!(read(&recent, 69, 200).map(|events| events.len()), Some(31));
        let sum: usize = recent.ring().appends.iter().map(|append| append.bodies.bytes()).sum();
        assert_eq!(recent.ring().bytes, sum);
    }
}
