//! Events that left Postgres: segments of the log as files, in a directory or an S3-compatible store.
//!
//! In: a segment as the database knows it, and which of its events are wanted. Out: their canonical bytes.
//!
//! Promise: nothing is given that is not what was archived: every part that is read is proven by its SHA-256, the index by
//! the database's, each bundle by the index's. What cannot be read is said to be so, and is never nothing. A part is read by
//! itself, and memory for what was read is bounded.
//!
//! Not here: SQL, and which segments there are: `src/log/` knows. What an event means.

mod cache;
mod directory;
mod environment;
mod index;
mod object_store;
mod place;
mod segment;
mod store;
mod varint;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cache::{Bundle, Cache, Kept, Part};
use keyledger_events::Recorded;

pub use environment::Environment;
pub use index::{Index, Wanted};
pub use place::{BadPlace, Bucket, Place};
pub use segment::{BUNDLE_EVENTS, BUNDLES_MAX, Built, Segment, Unfit, build, hex};
use store::Store;
pub use store::StoreError;

/// Archived events could not be read, or a segment could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It may be there later, or elsewhere.
    #[error("the segment {name} in {place} cannot be had: {error}")]
    Away {
        name: String,
        place: String,
        error: StoreError,
    },
    /// What is there is not what was put there.
    #[error("the segment {name} in {place} is not what it was: {what}")]
    Corrupt {
        name: String,
        place: String,
        what: &'static str,
    },
}

/// Memory for what was read lately, in each process.
const CACHE_BYTES_MAX: usize = 64 << 20;
/// Bundles that are fetched at once.
const BUNDLES_AT_ONCE: usize = 32;

/// Reads segments, wherever they are. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Archive(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    environment: Environment,
    cache: Mutex<Cache>,
    stores: Mutex<HashMap<String, Store>>,
}

impl Archive {
    pub fn new(environment: Environment) -> Archive {
        Archive::with_cache(environment, CACHE_BYTES_MAX)
    }

    pub fn with_cache(environment: Environment, cache_bytes_max: usize) -> Archive {
        Archive(Arc::new(Inner {
            environment,
            cache: Mutex::new(Cache::of(cache_bytes_max)),
            stores: Mutex::default(),
        }))
    }

    /// Keeps a segment's file, on the disk or with the store when this answers. The same one may be there already.
    pub async fn put(&self, segment: &Segment, file: Vec<u8>) -> Result<(), ArchiveError> {
        let store = self.store(segment)?;
        let put = store.put(&segment.name, file).await;
        put.map_err(|error| away(segment, error))
    }

    /// Reads a segment whole, and proves all of it. Nothing of it is taken from memory.
    pub async fn read_whole(&self, segment: &Segment) -> Result<(Index, Vec<Vec<u8>>), ArchiveError> {
        let store = self.store(segment)?;
        let file = store.read(&segment.name).await.map_err(|error| away(segment, error))?;
        let segment = segment.clone();
        let opened = tokio::task::spawn_blocking(move || open_whole(&segment, &file));
        opened.await.unwrap_or_else(|_| Err(cut_short()))
    }

    /// The segment's index.
    pub async fn index(&self, segment: &Segment) -> Result<Arc<Index>, ArchiveError> {
        let part = Part {
            segment: segment.sha256,
            bundle: None,
        };
        if let Some(Kept::Index(index)) = self.kept(part) {
            return Ok(index);
        }
        let store = self.store(segment)?;
        let packed = store
            .read_part(&segment.name, segment.index_at, segment.index_bytes)
            .await
            .map_err(|error| away(segment, error))?;
        let segment = segment.clone();
        let opened = tokio::task::spawn_blocking(move || open_index(&segment, &packed));
        let index = Arc::new(opened.await.unwrap_or_else(|_| Err(cut_short()))?);
        self.keep(part, Kept::Index(Arc::clone(&index)));
        Ok(index)
    }

    /// The bytes of some events, which are named in order by their numbers in the segment.
    pub async fn events(&self, segment: &Segment, wanted: &[u32]) -> Result<Vec<Vec<u8>>, ArchiveError> {
        let index = self.index(segment).await?;
        let mut bundles: Vec<u32> = wanted.iter().map(|event| bundle_of(*event).0).collect();
        bundles.dedup();
        let mut events = Vec::with_capacity(wanted.len());
        let mut rest = wanted;
        for run in bundles.chunks(BUNDLES_AT_ONCE) {
            let opened = self.bundles(segment, &index, run).await?;
            for (bundle, opened) in run.iter().zip(opened) {
                let here = rest.iter().take_while(|event| bundle_of(**event).0 == *bundle).count();
                let (here, behind) = rest.split_at(here);
                rest = behind;
                for event in here {
                    let body = opened.get(bundle_of(*event).1);
                    events.push(body.ok_or_else(|| corrupt(segment, "a bundle is too short"))?.clone());
                }
            }
        }
        Ok(events)
    }

    /// Bundles by number, in order: those that are neighbours and not in memory by one read.
    async fn bundles(
        &self,
        segment: &Segment,
        index: &Index,
        wanted: &[u32],
    ) -> Result<Vec<Arc<Bundle>>, ArchiveError> {
        let part = |bundle| Part {
            segment: segment.sha256,
            bundle: Some(bundle),
        };
        let mut there: HashMap<u32, Arc<Bundle>> = HashMap::new();
        for bundle in wanted {
            if let Some(Kept::Bundle(kept)) = self.kept(part(*bundle)) {
                there.insert(*bundle, kept);
            }
        }
        let missing: Vec<u32> = wanted
            .iter()
            .copied()
            .filter(|bundle| !there.contains_key(bundle))
            .collect();
        for run in missing.chunk_by(|before, after| before + 1 == *after) {
            for (bundle, opened) in run.iter().zip(self.fetch(segment, index, run).await?) {
                let opened = Arc::new(opened);
                self.keep(part(*bundle), Kept::Bundle(Arc::clone(&opened)));
                there.insert(*bundle, opened);
            }
        }
        let bundles = wanted.iter().map(|bundle| there.get(bundle).cloned());
        bundles
            .collect::<Option<_>>()
            .ok_or_else(|| corrupt(segment, "it has too few bundles"))
    }

    /// Reads neighbours by one read.
    async fn fetch(&self, segment: &Segment, index: &Index, run: &[u32]) -> Result<Vec<Bundle>, ArchiveError> {
        let places = run
            .iter()
            .map(|bundle| index.bundles.get(usize::try_from(*bundle).ok()?).copied());
        let places: Vec<index::BundlePlace> = places
            .collect::<Option<_>>()
            .ok_or_else(|| corrupt(segment, "it has too few bundles"))?;
        let at = places.first().map_or(0, |first| first.at);
        let bytes = places.iter().map(|place| place.bytes).sum();
        let store = self.store(segment)?;
        let packed = store
            .read_part(&segment.name, at, bytes)
            .await
            .map_err(|error| away(segment, error))?;
        let segment = segment.clone();
        let opened = tokio::task::spawn_blocking(move || open_bundles(&segment, &places, &packed));
        opened.await.unwrap_or_else(|_| Err(cut_short()))
    }

    fn kept(&self, part: Part) -> Option<Kept> {
        let mut cache = self.0.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(part)
    }

    fn keep(&self, part: Part, kept: Kept) {
        let mut cache = self.0.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.keep(part, kept);
    }

    fn store(&self, segment: &Segment) -> Result<Store, ArchiveError> {
        let mut stores = self.0.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(&segment.place) {
            return Ok(store.clone());
        }
        let place = self.0.environment.place(&segment.place).map_err(StoreError::from);
        let store = place.and_then(|place| Store::open(&place, &self.0.environment));
        let store = store.map_err(|error| away(segment, error))?;
        stores.insert(segment.place.clone(), store.clone());
        Ok(store)
    }
}

/// The bundle of an event, and its place in there.
fn bundle_of(event: u32) -> (u32, usize) {
    let event = usize::try_from(event).unwrap_or(usize::MAX);
    let bundle = u32::try_from(event / BUNDLE_EVENTS).unwrap_or(u32::MAX);
    (bundle, event % BUNDLE_EVENTS)
}

fn open_index(segment: &Segment, packed: &[u8]) -> Result<Index, ArchiveError> {
    if segment::sha256(packed) != segment.index_sha256 {
        return Err(corrupt(segment, "its index has another hash"));
    }
    let index = segment::open_index(packed).ok_or_else(|| corrupt(segment, "its index is of another form"))?;
    if u64::from(index.len()) != segment.events() {
        return Err(corrupt(segment, "its index has another number of events"));
    }
    Ok(index)
}

/// Bundles that stand one after the other.
fn open_bundles(
    segment: &Segment,
    places: &[index::BundlePlace],
    mut packed: &[u8],
) -> Result<Vec<Bundle>, ArchiveError> {
    let mut bundles = Vec::with_capacity(places.len());
    for place in places {
        let bytes = usize::try_from(place.bytes).unwrap_or(usize::MAX);
        let (bundle, rest) = packed
            .split_at_checked(bytes)
            .ok_or_else(|| corrupt(segment, "it is shorter than it was"))?;
        if segment::sha256(bundle) != place.sha256 {
            return Err(corrupt(segment, "a bundle has another hash"));
        }
        let opened = segment::open_bundle(bundle);
        bundles.push(opened.ok_or_else(|| corrupt(segment, "a bundle is of another form"))?);
        packed = rest;
    }
    Ok(bundles)
}

fn open_whole(segment: &Segment, file: &[u8]) -> Result<(Index, Vec<Vec<u8>>), ArchiveError> {
    if segment::sha256(file) != segment.sha256 {
        return Err(corrupt(segment, "it has another hash"));
    }
    let place = usize::try_from(segment.index_at)
        .ok()
        .zip(usize::try_from(segment.index_bytes).ok());
    let packed = place.and_then(|(at, bytes)| file.get(at..at.checked_add(bytes)?));
    let index = open_index(segment, packed.ok_or_else(|| corrupt(segment, "it has no index"))?)?;
    let bundles = open_bundles(segment, &index.bundles, file)?;
    let events: Vec<Vec<u8>> = bundles.into_iter().flatten().collect();
    if u64::try_from(events.len()).ok() != Some(segment.events()) {
        return Err(corrupt(segment, "it has another number of events"));
    }
    Ok((index, events))
}

/// Reads the events of a whole segment strictly, and proves that they are those of its row and that the index is theirs.
pub fn prove(segment: &Segment, index: &Index, events: &[Vec<u8>]) -> Result<Vec<Recorded>, ArchiveError> {
    let recorded = events.iter().map(|event| Recorded::decode(event));
    let recorded: Vec<Recorded> = recorded
        .collect::<Result<_, _>>()
        .map_err(|_| corrupt(segment, "it has an event that is none"))?;
    if !index.is_of(&recorded) {
        return Err(corrupt(segment, "its index is of other events"));
    }
    let (Some(first), Some(last)) = (recorded.first(), recorded.last()) else {
        return Err(corrupt(segment, "it has no event"));
    };
    let in_row = recorded
        .iter()
        .zip(segment.first.0..)
        .all(|(event, at)| event.position.0 == at);
    let of_row = in_row
        && last.position == segment.last
        && (first.time, last.time) == (segment.first_at, segment.last_at)
        && recorded.iter().all(|event| event.shard == segment.shard);
    if !of_row {
        return Err(corrupt(segment, "it has other events than the database says"));
    }
    Ok(recorded)
}

fn away(segment: &Segment, error: StoreError) -> ArchiveError {
    ArchiveError::Away {
        name: segment.name.clone(),
        place: segment.place.clone(),
        error,
    }
}

fn corrupt(segment: &Segment, what: &'static str) -> ArchiveError {
    ArchiveError::Corrupt {
        name: segment.name.clone(),
        place: segment.place.clone(),
        what,
    }
}

/// A task of ours ended before its end: the process is going down.
fn cut_short() -> ArchiveError {
    ArchiveError::Away {
        name: "asked for".to_owned(),
        place: "its place".to_owned(),
        error: StoreError::Unreachable {
            why: "reading was cut short".to_owned(),
        },
    }
}
