//! A segment: the events of some positions in a row, as one file that is never changed.
//!
//! In: canonical bytes in order. Out: the file, and back.
//!
//! The file is its bundles of 256 events one after the other, then the index, then a trailer of 16 bytes: where the index
//! begins, as a big-endian number of 8 bytes, and `KLSEG\0\0\x01`. Each bundle is a gzip member by itself, and holds a C2SP
//! tlog-tiles entry bundle: of each event two bytes with its length, big-endian, and the canonical bytes. Bundle `n` of a
//! shard begins with position 256 n + 1, as `tile/entries/` counts. So what is cut out of the file is what an auditor's
//! tools read, and `gunzip` opens all of it. The index is a gzip member too; `index.rs` has its form.
//!
//! Promise: the same events give the same file.
//!
//! Not here: where files are kept.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use keyledger_events::{Position, Recorded, Shard, Timestamp};
use sha2::{Digest as _, Sha256};

use super::index::{BundlePlace, Index};

/// Events in a bundle, as in a tile.
pub const BUNDLE_EVENTS: usize = 256;
/// Bundles in a segment, at most and unless something else is asked for: 65,536 events.
pub const BUNDLES_MAX: u32 = 256;
const TRAILER: &[u8; 8] = b"KLSEG\0\0\x01";
/// No bundle and no index is larger, unpacked: 256 events of 65,535 bytes are less.
const UNPACKED_BYTES_MAX: u64 = 32 << 20;

/// A segment as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub shard: Shard,
    /// From 0, in the order of the log.
    pub number: u32,
    pub first: Position,
    pub last: Position,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub bytes: u64,
    pub sha256: [u8; 32],
    pub index_at: u64,
    pub index_bytes: u64,
    pub index_sha256: [u8; 32],
    pub place: String,
    pub name: String,
}

impl Segment {
    /// The event's number in the segment. `None`: it is not in it.
    pub fn number_of(&self, position: Position) -> Option<u32> {
        if position > self.last {
            return None;
        }
        u32::try_from(position.0.checked_sub(self.first.0)?).ok()
    }

    pub fn position_of(&self, event: u32) -> Position {
        Position(self.first.0.saturating_add(u64::from(event)))
    }

    pub fn events(&self) -> u64 {
        self.last.0.saturating_sub(self.first.0) + 1
    }
}

/// Why events make no segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("the event at {position} does not follow the one before it in the log or in its account")]
    OutOfOrder { position: Position },
    #[error("the event at {position} is longer than a bundle can say")]
    TooLong { position: Position },
    #[error("there is no event")]
    Empty,
    #[error("the bundles could not be compressed")]
    NotCompressed,
}

/// A segment's file, and what it is.
#[derive(Debug)]
pub struct Built {
    pub file: Vec<u8>,
    pub index: Index,
    pub segment: Segment,
}

/// Makes the file of events that stand one after the other.
pub fn build<'a>(
    place: &str,
    number: u32,
    events: impl IntoIterator<Item = (&'a Recorded, &'a [u8])>,
) -> Result<Built, Unfit> {
    let mut building = Building::default();
    for (recorded, body) in events {
        building.add(recorded, body)?;
    }
    building.end(place, number)
}

#[derive(Default)]
struct Building {
    file: Vec<u8>,
    index: Index,
    bundle: Vec<u8>,
    in_bundle: usize,
    first: Option<(Shard, Position, Timestamp)>,
    last: Option<(Position, Timestamp)>,
}

impl Building {
    fn add(&mut self, recorded: &Recorded, body: &[u8]) -> Result<(), Unfit> {
        let position = recorded.position;
        let follows = self
            .last
            .is_none_or(|(last, time)| last.next() == position && time <= recorded.time);
        if !follows || self.index.add(recorded).is_none() {
            return Err(Unfit::OutOfOrder { position });
        }
        let bytes = u16::try_from(body.len()).map_err(|_| Unfit::TooLong { position })?;
        self.first.get_or_insert((recorded.shard, position, recorded.time));
        self.last = Some((position, recorded.time));
        self.bundle.extend_from_slice(&bytes.to_be_bytes());
        self.bundle.extend_from_slice(body);
        self.in_bundle += 1;
        if self.in_bundle == BUNDLE_EVENTS {
            self.end_bundle()?;
        }
        Ok(())
    }

    fn end_bundle(&mut self) -> Result<(), Unfit> {
        let packed = pack(&self.bundle).ok_or(Unfit::NotCompressed)?;
        self.index.bundles.push(BundlePlace {
            at: length(&self.file),
            bytes: length(&packed),
            sha256: sha256(&packed),
        });
        self.file.extend_from_slice(&packed);
        self.bundle.clear();
        self.in_bundle = 0;
        Ok(())
    }

    fn end(mut self, place: &str, number: u32) -> Result<Built, Unfit> {
        if self.in_bundle > 0 {
            self.end_bundle()?;
        }
        let (Some((shard, first, first_at)), Some((last, last_at))) = (self.first, self.last) else {
            return Err(Unfit::Empty);
        };
        let index = pack(&self.index.encode()).ok_or(Unfit::NotCompressed)?;
        let index_at = length(&self.file);
        self.file.extend_from_slice(&index);
        self.file.extend_from_slice(&index_at.to_be_bytes());
        self.file.extend_from_slice(TRAILER);
        let digest = sha256(&self.file);
        let name = format!("shard-{shard}/segment-{number:08}-{}", hex(&digest));
        Ok(Built {
            segment: Segment {
                shard,
                number,
                first,
                last,
                first_at,
                last_at,
                bytes: length(&self.file),
                sha256: digest,
                index_at,
                index_bytes: length(&index),
                index_sha256: sha256(&index),
                place: place.to_owned(),
                name,
            },
            index: self.index,
            file: self.file,
        })
    }
}

/// The events of a bundle, unpacked. `None`: it is no such thing.
pub(super) fn open_bundle(packed: &[u8]) -> Option<Vec<Vec<u8>>> {
    let unpacked = unpack(packed)?;
    let mut rest = unpacked.as_slice();
    let mut events = Vec::with_capacity(BUNDLE_EVENTS);
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        let (event, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        events.push(event.to_vec());
        rest = behind;
    }
    Some(events)
}

pub(super) fn open_index(packed: &[u8]) -> Option<Index> {
    Index::decode(&unpack(packed)?)
}

fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::default());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let mut unpacked = Vec::with_capacity(packed.len() * 6);
    let read = GzDecoder::new(packed)
        .take(UNPACKED_BYTES_MAX)
        .read_to_end(&mut unpacked)
        .ok()?;
    (u64::try_from(read).ok()? < UNPACKED_BYTES_MAX).then_some(unpacked)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// As people write a digest.
pub fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use keyledger_events::{AccountId, Actor, CommandId, Event, EventId, KeyId, KeyName, KeyRenamed, Seq};

    use super::*;

    fn recorded(position: u64, account: u64, seq: u64) -> Recorded {
        Recorded {
            id: EventId::from_parts(position, 7),
            shard: Shard(0),
            position: Position(position),
            account: AccountId::from_parts(account, 1),
            seq: Seq(seq),
            time: Timestamp::from_micros(1_764_000_000_000_000 + i64::try_from(position).unwrap()).unwrap(),
            actor: Actor::System,
            command: CommandId::parse("test").unwrap(),
            event: Event::from(KeyRenamed {
                key: KeyId::from_parts(account, 2),
                name: KeyName::parse("Finance").unwrap(),
            }),
            sealed: None,
        }
    }

    fn encoded(events: &[Recorded]) -> Vec<(Recorded, Vec<u8>)> {
        events.iter().map(|event| (event.clone(), event.encode())).collect()
    }

    fn built(events: &[(Recorded, Vec<u8>)]) -> Result<Built, Unfit> {
        build("/there", 3, events.iter().map(|(event, body)| (event, body.as_slice())))
    }

    #[test]
    fn what_went_into_a_segment_comes_out_of_it_and_the_same_events_are_the_same_file() {
        // Two accounts in turns, of which one has a history before.
        let events: Vec<_> = (0..600)
            .map(|n| recorded(1_025 + n, n % 2, if n % 2 == 0 { n / 2 + 1 } else { n / 2 + 40 }))
            .collect();
        let events = encoded(&events);
        let Built { file, index, segment } = built(&events).unwrap();
        assert_eq!((segment.first, segment.last), (Position(1_025), Position(1_624)));
        let part = |at: u64, bytes: u64| {
            let at = usize::try_from(at).unwrap();
            &file[at..at + usize::try_from(bytes).unwrap()]
        };
        let packed = part(segment.index_at, segment.index_bytes);
        assert_eq!(sha256(packed), segment.index_sha256);
        assert_eq!(open_index(packed).unwrap(), index);
        let bundles = index.bundles.iter().map(|bundle| part(bundle.at, bundle.bytes));
        let out: Vec<Vec<u8>> = bundles.flat_map(|packed| open_bundle(packed).unwrap()).collect();
        assert!(out.iter().eq(events.iter().map(|(_, body)| body)));
        for (number, (event, _)) in (0..).zip(&events) {
            assert_eq!(index.seq_of(number), Some(event.seq));
            assert_eq!(index.time_of(number), Some(event.time));
            assert_eq!(index.account_of(number), Some(event.account));
        }
        assert_eq!(index.of_account(AccountId::from_parts(1, 1)).len(), 300);
        assert_eq!(index.of_key(KeyId::from_parts(0, 2)).first(), Some(&0));
        assert_eq!(built(&events).unwrap().file, file);
    }

    #[test]
    fn events_with_a_gap_between_them_make_no_segment() {
        for gap in [
            [recorded(1, 1, 1), recorded(3, 1, 2)],
            [recorded(1, 1, 1), recorded(2, 1, 3)],
        ] {
            assert!(matches!(built(&encoded(&gap)), Err(Unfit::OutOfOrder { .. })));
        }
        assert_eq!(built(&[]).unwrap_err(), Unfit::Empty);
    }

    #[test]
    fn what_is_cut_short_is_neither_a_bundle_nor_an_index() {
        let Built { file, segment, .. } = built(&encoded(&[recorded(1, 1, 1)])).unwrap();
        let index_at = usize::try_from(segment.index_at).unwrap();
        assert!(open_bundle(&file[..index_at]).is_some());
        assert_eq!(open_bundle(&file[..index_at - 9]), None);
        assert_eq!(open_index(&file[index_at..index_at + 20]), None);
        assert_eq!(open_index(&file[..index_at]), None);
    }
}
