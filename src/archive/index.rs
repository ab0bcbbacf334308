//! What is where in a segment: its bundles, and of each event the account, the key, the type and the time.
//!
//! In: events in order, or the bytes of an index. Out: the other one, and answers to which events are whose.
//!
//! Promise: whose an event is, what type it has and when it was is known without its bytes. An account's events have no gap
//! in their numbers, so the first one's number is enough. Bytes that are no index are refused, whatever they are.
//!
//! Not here: what an event says.

use std::collections::HashMap;

use keyledger_events::{AccountId, KeyId, Recorded, Seq, Timestamp};

use super::varint::{Reader, put, put_bytes};

/// A bundle in the segment's file, and the SHA-256 of it as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BundlePlace {
    pub(super) at: u64,
    pub(super) bytes: u64,
    pub(super) sha256: [u8; 32],
}

/// The index of one segment. Events are named by their number in it, from 0.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Index {
    pub(super) bundles: Vec<BundlePlace>,
    types: Vec<String>,
    accounts: Groups<AccountId>,
    /// Of each account, the number of its first event here.
    first_seqs: Vec<Seq>,
    keys: Groups<KeyId>,
    events: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    time: Timestamp,
    account: u32,
    /// 0: of no key.
    key: u32,
    of_type: u16,
}

/// Events by whose they are.
#[derive(Debug)]
struct Groups<Id> {
    ids: Vec<Id>,
    ordinals: HashMap<Id, u32>,
    events: Vec<Vec<u32>>,
}

impl<Id: PartialEq> PartialEq for Groups<Id> {
    fn eq(&self, other: &Groups<Id>) -> bool {
        // The ordinals follow from the ids.
        self.ids == other.ids && self.events == other.events
    }
}

impl<Id: Eq> Eq for Groups<Id> {}

impl<Id> Default for Groups<Id> {
    fn default() -> Groups<Id> {
        Groups {
            ids: Vec::new(),
            ordinals: HashMap::new(),
            events: Vec::new(),
        }
    }
}

impl<Id: Copy + Eq + std::hash::Hash> Groups<Id> {
    /// The id's ordinal; a new one is given the next.
    fn ordinal(&mut self, id: Id) -> u32 {
        *self.ordinals.entry(id).or_insert_with(|| {
            self.ids.push(id);
            self.events.push(Vec::new());
            count(self.ids.len()) - 1
        })
    }

    fn add(&mut self, ordinal: u32, event: u32) -> Option<()> {
        self.events.get_mut(usize::try_from(ordinal).ok()?)?.push(event);
        Some(())
    }

    fn of(&self, id: Id) -> &[u32] {
        let events = self.ordinals.get(&id).and_then(|ordinal| at(&self.events, *ordinal));
        events.map_or(&[], Vec::as_slice)
    }
}

fn count(many: usize) -> u32 {
    u32::try_from(many).unwrap_or(u32::MAX)
}

fn at<T>(all: &[T], ordinal: u32) -> Option<&T> {
    all.get(usize::try_from(ordinal).ok()?)
}

/// Types that are looked for, as one index numbers them.
#[derive(Debug, Clone)]
pub struct Wanted(Vec<bool>);

const FORM: u64 = 1;

impl Index {
    /// Adds the next event. `None`: it does not follow what its account has here, or there is no room.
    pub(super) fn add(&mut self, recorded: &Recorded) -> Option<()> {
        let account = self.accounts.ordinal(recorded.account);
        if usize::try_from(account).ok()? == self.first_seqs.len() {
            self.first_seqs.push(recorded.seq);
        }
        let key = recorded.event.key().map_or(0, |key| self.keys.ordinal(key) + 1);
        let name = recorded.event.type_name();
        let of_type = self.types.iter().position(|known| known == name).unwrap_or_else(|| {
            self.types.push(name.to_owned());
            self.types.len() - 1
        });
        self.push(Entry {
            time: recorded.time,
            account,
            key,
            of_type: u16::try_from(of_type).ok()?,
        })?;
        (self.seq_of(count(self.events.len()) - 1)? == recorded.seq).then_some(())
    }

    fn push(&mut self, entry: Entry) -> Option<()> {
        let number = u32::try_from(self.events.len()).ok()?;
        self.accounts.add(entry.account, number)?;
        if entry.key > 0 {
            self.keys.add(entry.key - 1, number)?;
        }
        self.events.push(entry);
        Some(())
    }

    /// Whether this is what comes of these events.
    pub(super) fn is_of(&self, events: &[Recorded]) -> bool {
        let mut again = Index {
            bundles: self.bundles.clone(),
            ..Index::default()
        };
        events.iter().all(|event| again.add(event).is_some()) && again == *self
    }

    pub fn len(&self) -> u32 {
        count(self.events.len())
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The account's events here, in order.
    pub fn of_account(&self, account: AccountId) -> &[u32] {
        self.accounts.of(account)
    }

    /// The key's events here, in order.
    pub fn of_key(&self, key: KeyId) -> &[u32] {
        self.keys.of(key)
    }

    pub fn accounts(&self) -> impl Iterator<Item = (AccountId, &[u32])> {
        let events = self.accounts.events.iter().map(Vec::as_slice);
        self.accounts.ids.iter().copied().zip(events)
    }

    pub fn keys(&self) -> impl Iterator<Item = (KeyId, &[u32])> {
        let events = self.keys.events.iter().map(Vec::as_slice);
        self.keys.ids.iter().copied().zip(events)
    }

    pub fn account_of(&self, event: u32) -> Option<AccountId> {
        at(&self.accounts.ids, at(&self.events, event)?.account).copied()
    }

    /// The event's number in its account's history.
    pub fn seq_of(&self, event: u32) -> Option<Seq> {
        let account = at(&self.events, event)?.account;
        let before = at(&self.accounts.events, account)?.binary_search(&event).ok()?;
        let first = at(&self.first_seqs, account)?;
        Some(Seq(first.0.checked_add(u64::try_from(before).ok()?)?))
    }

    pub fn time_of(&self, event: u32) -> Option<Timestamp> {
        Some(at(&self.events, event)?.time)
    }

    pub fn type_of(&self, event: u32) -> Option<&str> {
        self.types
            .get(usize::from(at(&self.events, event)?.of_type))
            .map(String::as_str)
    }

    /// The types of some events, each once.
    pub fn types_of(&self, events: &[u32]) -> Vec<&str> {
        let mut there = vec![false; self.types.len()];
        for event in events {
            let known = at(&self.events, *event).and_then(|entry| there.get_mut(usize::from(entry.of_type)));
            if let Some(known) = known {
                *known = true;
            }
        }
        let names = self.types.iter().zip(there).filter(|(_, there)| *there);
        names.map(|(name, _)| name.as_str()).collect()
    }

    pub fn wanted(&self, types: &[&str]) -> Wanted {
        Wanted(self.types.iter().map(|name| types.contains(&name.as_str())).collect())
    }

    pub fn is_wanted(&self, event: u32, wanted: &Wanted) -> bool {
        let of_type = at(&self.events, event).and_then(|entry| wanted.0.get(usize::from(entry.of_type)));
        of_type.copied().unwrap_or(false)
    }

    /// Memory that it takes, about.
    pub(super) fn weight(&self) -> usize {
        const GROUP: usize = 96;
        self.events.len() * (size_of::<Entry>() + 12)
            + (self.accounts.ids.len() + self.keys.ids.len()) * GROUP
            + self.bundles.len() * size_of::<BundlePlace>()
    }
}

impl Index {
    /// The bytes of it, to be compressed.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.events.len() * 8);
        put(&mut out, FORM);
        put(&mut out, u64::from(count(self.bundles.len())));
        for bundle in &self.bundles {
            put(&mut out, bundle.bytes);
            out.extend_from_slice(&bundle.sha256);
        }
        put(&mut out, u64::from(count(self.types.len())));
        for name in &self.types {
            put_bytes(&mut out, name.as_bytes());
        }
        put(&mut out, u64::from(count(self.accounts.ids.len())));
        for (id, first) in self.accounts.ids.iter().zip(&self.first_seqs) {
            out.extend_from_slice(&id.to_bytes());
            put(&mut out, first.0);
        }
        put(&mut out, u64::from(count(self.keys.ids.len())));
        for id in &self.keys.ids {
            out.extend_from_slice(&id.to_bytes());
        }
        put(&mut out, u64::from(self.len()));
        // A column after the other: neighbours in a column are alike, which is what makes it small.
        for entry in &self.events {
            put(&mut out, u64::from(entry.account));
        }
        for entry in &self.events {
            put(&mut out, u64::from(entry.key));
        }
        for entry in &self.events {
            put(&mut out, u64::from(entry.of_type));
        }
        let mut last = 0;
        for entry in &self.events {
            // Times never run backwards in a shard.
            put(&mut out, entry.time.micros().saturating_sub(last).unsigned_abs());
            last = entry.time.micros();
        }
        out
    }

    /// `None`: this is no index of this form.
    pub(super) fn decode(bytes: &[u8]) -> Option<Index> {
        let mut read = Reader::new(bytes);
        let mut index = Index::default();
        if read.number()? != FORM {
            return None;
        }
        let mut place = 0_u64;
        for _ in 0..read.number()? {
            let bytes = read.number()?;
            let sha256 = read.array()?;
            index.bundles.push(BundlePlace {
                at: place,
                bytes,
                sha256,
            });
            place = place.checked_add(bytes)?;
        }
        for _ in 0..read.number()? {
            let name = std::str::from_utf8(read.bytes()?).ok()?;
            index.types.push(name.to_owned());
        }
        for _ in 0..read.number()? {
            index.accounts.ordinal(AccountId::from_bytes(read.array()?));
            index.first_seqs.push(Seq(read.number()?));
        }
        for _ in 0..read.number()? {
            index.keys.ordinal(KeyId::from_bytes(read.array()?));
        }
        index.decode_events(&mut read)?;
        (read.is_at_end() && index.first_seqs.len() == index.accounts.ids.len()).then_some(index)
    }

    fn decode_events(&mut self, read: &mut Reader<'_>) -> Option<()> {
        let many = read.number()?;
        let mut column = || (0..many).map(|_| read.number()).collect::<Option<Vec<u64>>>();
        let (accounts, keys, types, times) = (column()?, column()?, column()?, column()?);
        let mut now = 0_i64;
        for (((account, key), of_type), elapsed) in accounts.into_iter().zip(keys).zip(types).zip(times) {
            now = now.checked_add(i64::try_from(elapsed).ok()?)?;
            let entry = Entry {
                time: Timestamp::from_micros(now)?,
                account: u32::try_from(account).ok()?,
                key: u32::try_from(key).ok()?,
                of_type: u16::try_from(of_type).ok()?,
            };
            self.types.get(usize::from(entry.of_type))?;
            self.push(entry)?;
        }
        Some(())
    }
}
