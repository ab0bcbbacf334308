//! From the first event to the last, a page at a time.

use std::collections::HashMap;

use keyledger_events::{AccountId, KeyId, Position, Recorded, Seq, Timestamp, leaf_hash};

use super::sealed::Seals;
use super::{CheckError, CheckOptions, Checked};
use crate::audit::file::LiveBooks;
use crate::audit::tree::{Edge, FullTile};
use crate::log::{Columns, KeysOfBlock, Stored};

const PAGE: u32 = 10_000;

/// What the events so far came to.
struct Walk<'a> {
    options: &'a CheckOptions,
    checked: Checked,
    edge: Edge,
    seals: Seals<'a>,
    seqs: HashMap<AccountId, Seq>,
    keys_of_blocks: HashMap<AccountId, KeysOfBlock>,
    /// Until an event could not be read whose columns are not there either.
    knows_keys: bool,
    time: Timestamp,
    /// Until something may not follow: what comes after it would be wrong as well.
    books: Option<LiveBooks>,
}

pub(super) async fn walk(options: &CheckOptions, progress: impl FnMut(u64, u64)) -> Result<Checked, CheckError> {
    let head = options.tree.log().head().await?.position.0;
    let mut walk = Walk {
        options,
        checked: Checked {
            last_good: head,
            ..Checked::default()
        },
        edge: Edge::default(),
        seals: Seals::new(options),
        seqs: HashMap::new(),
        keys_of_blocks: HashMap::new(),
        knows_keys: true,
        time: Timestamp::EPOCH,
        books: Some(LiveBooks::of_shard(options.tree.shard().0)),
    };
    match walk.go(head, progress).await {
        Ok(()) => Ok(walk.checked),
        // What is wrong so far is wrong, whatever the rest is.
        Err(error) if walk.checked.found > 0 => {
            walk.checked.last_good = walk.checked.last_good.min(walk.edge.size());
            walk.checked.find(None, format!("the check came to no end: {error}"));
            Ok(walk.checked)
        }
        Err(error) => Err(error),
    }
}

impl Walk<'_> {
    async fn go(&mut self, head: u64, mut progress: impl FnMut(u64, u64)) -> Result<(), CheckError> {
        while self.edge.size() < head {
            if !self.page(head).await? {
                break;
            }
            progress(self.edge.size(), head);
        }
        self.end(head).await
    }

    /// Looks at the next page; `false` where the log cannot be followed any further.
    async fn page(&mut self, head: u64) -> Result<bool, CheckError> {
        let log = self.options.tree.log();
        let after = Position(self.edge.size());
        let last = Position(head.min(after.0 + u64::from(PAGE)));
        let limit = u32::try_from(last.0 - after.0).unwrap_or(PAGE);
        let (stored, columns) = tokio::join!(log.read(after, limit), log.columns(after, last));
        let (stored, columns) = (stored?, columns?);
        let mut columns = columns.into_iter().peekable();
        let mut tiles = Vec::new();
        let mut whole = true;
        for event in &stored {
            let expected = self.edge.size() + 1;
            if event.position.0 != expected {
                whole = false;
                break;
            }
            let of_event = columns.next_if(|columns| columns.position == event.position);
            self.event(event, of_event.as_ref());
            self.edge.push(leaf_hash(&event.body), |tile| tiles.push(tile));
            self.seals.at(&self.edge, &mut self.checked).await?;
        }
        self.compare(&tiles).await?;
        if whole && self.edge.size() == last.0 {
            return Ok(true);
        }
        self.missing(head).await?;
        Ok(false)
    }

    /// One event by itself, and after those before it.
    fn event(&mut self, event: &Stored, columns: Option<&Columns>) {
        let position = event.position.0;
        self.checked.events += 1;
        let recorded = match Recorded::decode(&event.body) {
            Ok(recorded) => recorded,
            Err(error) => {
                // What comes after it is not wrong because of it, as far as it can be known whose it is.
                self.books = None;
                let said = Recorded::decode_loosely(&event.body).ok();
                let said = said.map(|recorded| (recorded.account, recorded.seq));
                self.seqs.extend(said.or_else(|| columns.map(Columns::of_account)));
                match columns {
                    Some(columns) => {
                        let (account, seq) = columns.of_account();
                        self.leads_key(account, seq, columns.key());
                    }
                    None => self.knows_keys = false,
                }
                return self
                    .checked
                    .find(Some(position), format!("the event cannot be read: {error}"));
            }
        };
        if recorded.position != event.position || recorded.shard != self.options.tree.shard() {
            let says = format!("{}:{}", recorded.shard, recorded.position);
            self.checked
                .find(Some(position), format!("the event says that it stands at {says}"));
        }
        if let Some(column) = columns.and_then(|columns| columns.differs_from(&recorded)) {
            let what = format!("the column {column} is not what the event says");
            self.checked.find(Some(position), what);
        }
        let leads_key = self.leads_key(recorded.account, recorded.seq, recorded.event.key());
        if leads_key && self.knows_keys && columns.is_some_and(|columns| !columns.leads_key()) {
            let what = "the column leads_key hides it and what follows it from its key's history";
            self.checked.find(Some(position), what);
        }
        let seq = self.seqs.entry(recorded.account).or_insert(Seq::START);
        if recorded.seq != seq.next() {
            let what = format!("{} has number {} after {seq}", recorded.account, recorded.seq);
            self.checked.find(Some(position), what);
        }
        *seq = recorded.seq;
        if recorded.time < self.time {
            self.checked
                .find(Some(position), "its time is before that of the event before it");
        }
        self.time = self.time.max(recorded.time);
        let may_follow = self.books.as_mut().map_or(Ok(()), |books| books.enter(&event.body));
        if let Err(why) = may_follow {
            self.books = None;
            self.checked
                .find(Some(position), format!("it may not follow what was before: {why}"));
        }
    }

    /// Whether the log's index by key must have an event.
    fn leads_key(&mut self, account: AccountId, seq: Seq, key: Option<KeyId>) -> bool {
        self.keys_of_blocks.entry(account).or_default().leads(seq, key)
    }

    /// Tiles that are kept must be those that the events give.
    async fn compare(&mut self, tiles: &[FullTile]) -> Result<(), CheckError> {
        let names: Vec<(u8, u64)> = tiles.iter().map(|tile| (tile.level, tile.index)).collect();
        let kept = self.options.tree.store().tiles(&names).await?;
        for (tile, kept) in tiles.iter().zip(kept) {
            let Some(kept) = kept else {
                self.seals.unkept(tile);
                continue;
            };
            let differs = tile.hashes.iter().zip(&kept).position(|(ours, theirs)| ours != theirs);
            if let Some(at) = differs {
                let at = u64::try_from(at).unwrap_or(0);
                let first = (tile.index * 256 + at) << (tile.level * 8);
                let what = format!(
                    "hash {at} of tile {} of level {} is not that of the events",
                    tile.index, tile.level
                );
                // Events that are what was signed are not the ones that are wrong here.
                let of_event = (!self.seals.is_good(first + 1)).then_some(first + 1);
                self.checked.find(of_event, what);
            }
        }
        Ok(())
    }

    /// A gap: says where, and how wide it is.
    async fn missing(&mut self, head: u64) -> Result<(), CheckError> {
        let first = self.edge.size() + 1;
        let next = self.options.tree.log().first_after(Position(first)).await?;
        let last = next.map_or(head, |next| next.0 - 1);
        let what = match last {
            last if last == first => format!("position {first} is missing"),
            last => format!("positions {first} to {last} are missing"),
        };
        self.checked.find(Some(first), what);
        Ok(())
    }

    async fn end(&mut self, head: u64) -> Result<(), CheckError> {
        if let Some(beyond) = self
            .options
            .tree
            .log()
            .first_after(Position(head.max(self.edge.size())))
            .await?
            && self.options.tree.log().head().await?.position.0 < beyond.0
        {
            self.checked
                .find(Some(beyond.0), "an event stands behind the head of the log");
        }
        self.seals.end(&self.edge, head, &mut self.checked).await
    }
}
