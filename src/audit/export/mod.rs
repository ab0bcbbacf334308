//! The export: a part of the log with its proofs, written into one file that [`super::file`] describes and verifies.
//!
//! In: a database whose log is sealed, and what is asked for. Out: the file.
//!
//! Promise: the events are copied as they are, and the hashes come from what was signed: an event that was changed since is
//! exported changed, and named by whoever verifies the file. Memory does not grow with the export. One that was cut short
//! goes on where it ended.
//!
//! Not here: any judgement of what is exported.

mod groups;
mod sheet;

use std::path::PathBuf;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use keyledger_events::{AccountId, KeyId, Position, Seq, Timestamp};

use super::file::{Consistency, Head, Proof, Scope, TILE, Tile};
use super::merkle;
use super::note::{Checkpoint, Note};
use super::tree::{SealedCheckpoint, StoreError, Tree, TreeError};
use crate::log::{ReadError, Stored};
use groups::Group;
use sheet::Sheet;

/// What to export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Shard,
    Account(AccountId),
    Key(KeyId),
}

/// Where a part of the log begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    At(Position),
    /// A beginning at it, an end before it.
    Moment(Timestamp),
}

#[derive(Debug, Clone)]
pub struct ExportOptions {
    pub wanted: Wanted,
    pub from: Option<Place>,
    pub to: Option<Place>,
    /// Of an older checkpoint that the file is to show an extension of: its size.
    pub older: Option<u64>,
    pub out: PathBuf,
    /// Go on with a file that was cut short.
    pub resume: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    pub head: Head,
    pub events: u64,
    pub bytes: u64,
    /// What was asked for goes on beyond the last checkpoint: the file ends with it.
    pub ends_early: bool,
    /// Of so many witnesses, no checkpoint that would do has the signatures.
    pub witnesses_missing: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("nothing of the log is sealed yet: `[audit]` in the config file names the key, `keyledger serve` seals")]
    NotSealed,
    #[error("there is nothing to export")]
    Nothing,
    #[error("there is no such key")]
    NoKey,
    #[error("the older checkpoint has {older} events, and the newest one that the file can end with {size}")]
    OlderIsLater { older: u64, size: u64 },
    #[error("the checkpoint in the database cannot be read")]
    Checkpoint,
    #[error("{path} is there already; --resume goes on with an export that was cut short")]
    FileIsThere { path: String },
    #[error("{path} is no export that could be gone on with: {why}")]
    NotResumable { path: String, why: &'static str },
    #[error("the file: {0}")]
    File(#[from] std::io::Error),
    #[error("a line cannot be written: {0}")]
    Line(#[from] serde_json::Error),
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> ExportError {
        ExportError::Tree(error.into())
    }
}

/// Groups whose proofs are asked for at the same time: a round trip each, which wait for one another otherwise.
pub const GROUPS_AT_ONCE: usize = 6;
/// A tile's line has 11 kB, a proof's one: from so many events of a tile on, the tile's is the shorter way.
const PROOFS_OF_TILE_MAX: usize = 11;
/// The sealer is at most a second behind; longer than this it stands still.
const SEALER_WAITS: u32 = 50;
const SEALER_WAIT: Duration = Duration::from_millis(100);
const PRICES: &str = "keyledger.PricesPublished.v1";

/// Exports. `progress` is told how many of how many positions are done.
pub async fn export(
    tree: &Tree,
    options: &ExportOptions,
    made_at: Timestamp,
    mut progress: impl FnMut(u64, u64),
) -> Result<Exported, ExportError> {
    let (mut sheet, ends_early, witnesses_missing) = if options.resume {
        (resumed(tree, options)?, false, 0)
    } else {
        let found = find(tree, options, made_at).await?;
        let sheet = Sheet::create(&options.out, found.head)?;
        (sheet, found.ends_early, found.witnesses_missing)
    };
    let head = sheet.head.clone();
    let size = checkpoint_of(&head.checkpoint)?.size;
    let positions = head.last - head.first + 1;
    if !sheet.is_over {
        if sheet.after.is_none() {
            preface(tree, options, size, &mut sheet).await?;
        }
        let after = sheet.after.unwrap_or(head.first - 1);
        let groups = groups::groups(tree.log().clone(), head.scope, after, head.last);
        let sparse = !matches!(head.scope, Scope::Shard { .. });
        let mut parts = groups
            .map_ok(|group| part(tree, group, size, sparse))
            .try_buffered(GROUPS_AT_ONCE)
            .boxed();
        while let Some(part) = parts.try_next().await? {
            for (line, bodies) in &part.lines {
                sheet.ours(line)?;
                for body in bodies {
                    sheet.event(body)?;
                }
            }
            progress(part.last.saturating_sub(head.first - 1), positions);
        }
        sheet.end()?;
    }
    Ok(Exported {
        head,
        events: sheet.events,
        bytes: sheet.bytes,
        ends_early,
        witnesses_missing,
    })
}

/// A file that was cut short, if it is an export of what is asked for.
fn resumed(tree: &Tree, options: &ExportOptions) -> Result<Sheet, ExportError> {
    let sheet = Sheet::resume(&options.out)?;
    let is_asked_for = match (options.wanted, sheet.head.scope) {
        (Wanted::Shard, Scope::Shard { shard }) => shard == tree.shard().0,
        (Wanted::Account(asked), Scope::Account { account }) => asked == account,
        (Wanted::Key(asked), Scope::Key { key, .. }) => asked == key,
        _ => false,
    };
    let size = checkpoint_of(&sheet.head.checkpoint)?.size;
    let shows = |older| older == 0 || older == size || sheet.older == Some(older);
    let why = if !is_asked_for {
        "it is one of something else"
    } else if sheet.after.is_some() && !options.older.is_none_or(shows) {
        "it does not show that its checkpoint extends the older one"
    } else {
        return Ok(sheet);
    };
    Err(ExportError::NotResumable {
        path: options.out.display().to_string(),
        why,
    })
}

/// Lines of the format, each with the events that follow it.
struct Part {
    lines: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
    last: u64,
}

async fn part(tree: &Tree, group: Group, size: u64, sparse: bool) -> Result<Part, ExportError> {
    let Group { tile, events } = group;
    let last = events.last().map_or(0, |event| event.position.0);
    if sparse && events.len() <= PROOFS_OF_TILE_MAX {
        let mut lines = Vec::with_capacity(events.len());
        for event in events {
            lines.push(proven(tree, event, size, false).await?);
        }
        return Ok(Part { lines, last });
    }
    let leaves = tree.tile(0, tile, size).await?;
    let path = above(tree, tile, size).await?;
    let at = sparse.then(|| events.iter().map(|event| event.position.0).collect());
    let line = serde_json::to_vec(&Tile::new(tile, leaves, &path, at))?;
    let bodies = events.into_iter().map(|event| event.body).collect();
    Ok(Part {
        lines: vec![(line, bodies)],
        last,
    })
}

/// The way from the root of a tile to the root of the tree. The trees over leaves and over tiles split alike, because a tile
/// is a power of two and only the last one may be narrower.
async fn above(tree: &Tree, tile: u64, size: u64) -> Result<Vec<merkle::Hash>, ExportError> {
    let ranges = merkle::inclusion(tile, size.div_ceil(TILE)).ok_or(TreeError::Beyond { size })?;
    let leaves: Vec<_> = ranges
        .iter()
        .map(|tiles| tiles.start * TILE..(tiles.end * TILE).min(size))
        .collect();
    Ok(tree.roots(&leaves, size).await?)
}

async fn proven(
    tree: &Tree,
    event: Stored,
    size: u64,
    for_prices: bool,
) -> Result<(Vec<u8>, Vec<Vec<u8>>), ExportError> {
    let position = event.position.0;
    let path = tree.inclusion(position.saturating_sub(1), size).await?;
    let line = serde_json::to_vec(&Proof::new(position, &path, for_prices))?;
    Ok((line, vec![event.body]))
}

/// What stands before the events: how the checkpoint extends an older one, and the price books.
async fn preface(tree: &Tree, options: &ExportOptions, size: u64, sheet: &mut Sheet) -> Result<(), ExportError> {
    if let Some(older) = options.older.or(sheet.older) {
        if older > size {
            return Err(ExportError::OlderIsLater { older, size });
        }
        if older > 0 && older < size {
            let path = tree.consistency(older, size).await?;
            sheet.ours(&serde_json::to_vec(&Consistency::new(older, &path))?)?;
        }
    }
    let end = match sheet.head.scope {
        Scope::Shard { .. } => sheet.head.first - 1,
        Scope::Account { account } | Scope::Key { account, .. } if account != AccountId::SYSTEM => sheet.head.last,
        Scope::Account { .. } | Scope::Key { .. } => 0,
    };
    let whole = Seq(u64::MAX);
    let books = tree
        .log()
        .events_of_types(AccountId::SYSTEM, Seq::START, whole, &[PRICES])
        .await?;
    for book in books.into_iter().filter(|book| book.position.0 <= end) {
        let (line, bodies) = proven(tree, book, size, true).await?;
        sheet.ours(&line)?;
        for body in &bodies {
            sheet.event(body)?;
        }
    }
    Ok(())
}

fn checkpoint_of(note: &str) -> Result<Checkpoint, ExportError> {
    let note = Note::parse(note).map_err(|_| ExportError::Checkpoint)?;
    Checkpoint::parse(&note.text).map_err(|_| ExportError::Checkpoint)
}

/// What a new file begins with.
struct Found {
    head: Head,
    ends_early: bool,
    witnesses_missing: u64,
}

/// Finds what is asked for, and the first checkpoint that has it, and the older one too.
async fn find(tree: &Tree, options: &ExportOptions, made_at: Timestamp) -> Result<Found, ExportError> {
    let log = tree.log();
    let end = log.head().await?.position;
    let first = match options.from {
        None => Position(1),
        Some(Place::At(position)) => position.max(Position(1)),
        Some(Place::Moment(moment)) => log.last_before(moment, end).await?.next(),
    };
    let last = match options.to {
        None => end,
        Some(Place::At(position)) => position.min(end),
        Some(Place::Moment(moment)) => log.last_before(moment, end).await?,
    };
    let scope = match options.wanted {
        Wanted::Shard => Scope::Shard { shard: tree.shard().0 },
        Wanted::Account(account) => Scope::Account { account },
        Wanted::Key(key) => {
            let account = log.account_of_key(key).await?.ok_or(ExportError::NoKey)?;
            Scope::Key { account, key }
        }
    };
    let asked = ends(tree, scope, first, last).await?.ok_or(ExportError::Nothing)?;
    let older = options.older.unwrap_or(0);
    let (sealed, witnesses_missing) = sealed(tree, asked.1.0.max(older)).await?;
    if older > sealed.size {
        let size = sealed.size;
        return Err(ExportError::OlderIsLater { older, size });
    }
    let found = if sealed.size < asked.1.0 {
        ends(tree, scope, first, Position(sealed.size))
            .await?
            .ok_or(ExportError::NotSealed)?
    } else {
        asked
    };
    let told = |place: Option<Place>| {
        place.map(|place| match place {
            Place::At(position) => position.to_string(),
            Place::Moment(moment) => moment.to_string(),
        })
    };
    let head = Head {
        keyledger: super::file::FORMAT.to_owned(),
        origin: checkpoint_of(&sealed.note)?.origin,
        shard: tree.shard().0,
        scope,
        first: found.0.0,
        last: found.1.0,
        from: told(options.from),
        to: told(options.to),
        made_at,
        checkpoint: sealed.whole_note(),
    };
    Ok(Found {
        head,
        ends_early: found.1 < asked.1,
        witnesses_missing,
    })
}

/// The positions of the scope's first and last event within a range.
async fn ends(
    tree: &Tree,
    scope: Scope,
    first: Position,
    last: Position,
) -> Result<Option<(Position, Position)>, ExportError> {
    Ok(match scope {
        Scope::Shard { .. } => (first <= last).then_some((first, last)),
        Scope::Account { account } => tree.log().ends_of_account(account, first, last).await?,
        Scope::Key { account, key } => tree.log().ends_of_key(account, key, first, last).await?,
    })
}

/// The first checkpoint of so many events that all witnesses have signed, and 0: the sealer, or they, may be about to sign it.
/// Else the first that most have, and how many have not; else the newest.
async fn sealed(tree: &Tree, size: u64) -> Result<(SealedCheckpoint, u64), ExportError> {
    let store = tree.store();
    let witnesses = store.witnesses().await?;
    let signed_by = async |witnesses| match witnesses {
        0 => store.covering(size).await,
        _ => store.witnessed(size, witnesses).await,
    };
    for _ in 0..SEALER_WAITS {
        if let Some(sealed) = signed_by(witnesses).await? {
            return Ok((sealed, 0));
        }
        tokio::time::sleep(SEALER_WAIT).await;
    }
    for fewer in (0..witnesses).rev() {
        if let Some(sealed) = signed_by(fewer).await? {
            return Ok((sealed, witnesses - fewer));
        }
    }
    let newest = store.latest().await?.ok_or(ExportError::NotSealed)?;
    let signatures = u64::try_from(newest.cosignatures.len()).unwrap_or(0);
    Ok((newest, witnesses.saturating_sub(signatures)))
}
