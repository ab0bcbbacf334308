//! A checkpoint: how large a log is and what its root is. C2SP `tlog-checkpoint`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::audit::merkle::Hash;

/// The text of a checkpoint. It says nothing until it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log this is of: the name of the key that signs it.
    pub origin: String,
    /// Events in the tree, which is the position of the last one.
    pub size: u64,
    pub root: Hash,
    /// Lines after these: none in ours.
    pub more: String,
}

/// The text is no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no checkpoint")]
pub struct MalformedCheckpoint;

impl Checkpoint {
    pub fn parse(text: &str) -> Result<Checkpoint, MalformedCheckpoint> {
        let mut lines = text.splitn(4, '\n');
        let mut line = || lines.next().ok_or(MalformedCheckpoint);
        let (origin, size, root, more) = (line()?, line()?, line()?, line()?);
        let decimal = size == "0" || (!size.starts_with('0') && size.bytes().all(|b| b.is_ascii_digit()));
        let size = size.parse().ok().filter(|_| decimal).ok_or(MalformedCheckpoint)?;
        let root = STANDARD.decode(root).map_err(|_| MalformedCheckpoint)?;
        let root = root.try_into().map_err(|_| MalformedCheckpoint)?;
        let whole = more.is_empty() || (more.ends_with('\n') && !more.split_terminator('\n').any(str::is_empty));
        if !super::is_name(origin) || !whole {
            return Err(MalformedCheckpoint);
        }
        Ok(Checkpoint {
            origin: origin.to_owned(),
            size,
            root,
            more: more.to_owned(),
        })
    }

    /// The text that is signed.
    pub fn to_text(&self) -> String {
        format!(
            "{}\n{}\n{}\n{}",
            self.origin,
            self.size,
            STANDARD.encode(self.root),
            self.more
        )
    }
}
