//! An export: a part of the log in one file, with all that is needed to prove it, and its verifier.
//!
//! In: a file, the public keys that an auditor has, and perhaps an older checkpoint. Out: good, tampered with the first bad
//! position, or that nobody can tell.
//!
//! Promise: no database, no network, and none of the ledger's own rules. Memory grows with accounts, open holds and
//! settled ids, not with events; a file is read once.
//!
//! # The format
//!
//! Lines of UTF-8, each with a newline. A line that begins with `{"keyledger":` is a JSON object of the format's own. Any other is
//! one event: its canonical bytes exactly, so that its leaf in the tree of RFC 6962 is SHA-256 of a zero byte and the line.
//! Hashes are 32 bytes in base64 with padding; those of several leaves stand one behind the other in one text.
//!
//! 1. The head, the first line:
//!    `{"keyledger":"export/1","origin":…,"shard":0,"scope":…,"first":p,"last":q,"from":…,"to":…,"made_at":…,"checkpoint":…}`.
//!    `scope` is `{"shard":0}`, `{"account":"acct_…"}` or `{"account":"acct_…","key":"key_…"}`. `first` and `last` are positions:
//!    of a shard all between them are in the file, of an account or a key its first and its last one. `from` and `to` say
//!    what was asked for. `checkpoint` is a signed note whole (C2SP tlog-checkpoint), whose size is `last` or more.
//! 2. `{"keyledger":"consistency","from":n,"path":[hash…]}`, where it was asked for: the tree of the checkpoint extends that
//!    of the first n leaves (RFC 6962 section 2.1.4).
//! 3. The price books that were published up to `last`, but of a shard those before `first` alone: for each
//!    `{"keyledger":"proof","position":p,"path":[hash…],"for":"prices"}` and the event.
//! 4. The events by position. Before the events of a tile, which is 256 positions (index 0: 1 to 256), stands
//!    `{"keyledger":"tile","index":i,"hashes":…,"path":[hash…]}`: the leaf hashes of all positions of the tile that the tree
//!    has, and the way from the tile's own root to the tree's: an inclusion proof of leaf i in the tree whose leaves are
//!    the roots of tiles. Of an account or a key it also has `"at":[p…]`, the positions of the events that follow; where
//!    those are few, each event has a line of its own before it instead,
//!    `{"keyledger":"proof","position":p,"path":[hash…]}`, an inclusion proof at the checkpoint's size (section 2.1.3).
//! 5. `{"keyledger":"end","events":n,"sha256":…}`, the last line: how many lines are events, and SHA-256, in hexadecimal
//!    digits, over all lines before that are none, newlines included. A file without it is incomplete.
//!
//! # What is checked
//!
//! First the checkpoint: signed by a key that the auditor has, for this origin; cosigned by every witness that was named; an
//! extension of the older checkpoint. Then line by line; for each event in this order: it stands where one is expected; its
//! leaf is the proven one; its bytes are canonical; its shard and position are those of its place; and it may follow, by
//! the rules in `books/`. The first thing that is wrong ends it. Its position is where the event was expected; of a tile
//! that cannot be proven, the first position that the file has of it; without a position where it is no event's
//! (a signature, the last line).
//!
//! What it cannot show: that an account or a key has no further event, which only the export of a whole shard does.

mod books;
mod chain;
mod fact;
mod lines;
mod live;
mod lot;
mod told;
mod verify;

pub use lines::{Consistency, End, FORMAT, Head, Proof, Scope, Tile};
pub use live::LiveBooks;
pub use told::{Balance, Told};
pub use verify::{Asked, Verdict, verify};

/// Positions of a tile: the width that C2SP tlog-tiles has.
pub const TILE: u64 = 256;

/// Why a file is not good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `false`: nobody can tell, because the file is incomplete or of another format.
    pub tampered: bool,
    pub position: Option<u64>,
    pub why: String,
}

impl Fault {
    fn at(position: u64, why: impl Into<String>) -> Fault {
        Fault {
            tampered: true,
            position: Some(position),
            why: why.into(),
        }
    }

    fn nowhere(why: impl Into<String>) -> Fault {
        Fault {
            tampered: true,
            position: None,
            why: why.into(),
        }
    }

    fn unknown(why: impl Into<String>) -> Fault {
        Fault {
            tampered: false,
            position: None,
            why: why.into(),
        }
    }
}
