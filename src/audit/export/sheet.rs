//! The file of an export as it is written, and as it is found when it was cut short.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::super::file::{Consistency, End, Head, Proof, TILE, Tile};
use super::ExportError;

#[derive(Debug)]
pub(super) struct Sheet {
    file: BufWriter<File>,
    pub head: Head,
    /// Over the lines that are no events.
    ours: Sha256,
    pub events: u64,
    pub bytes: u64,
    /// The last position that is in the file; `None` before the first.
    pub after: Option<u64>,
    pub is_over: bool,
    /// Of the checkpoint that the file's is shown to extend: its size.
    pub older: Option<u64>,
}

/// A place in a file up to which it is whole, and from which on it can be written anew.
#[derive(Debug, Clone)]
struct Mark {
    ours: Sha256,
    events: u64,
    bytes: u64,
    after: Option<u64>,
}

impl Sheet {
    pub(super) fn create(path: &Path, head: Head) -> Result<Sheet, ExportError> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.map_err(|error| {
            if error.kind() == ErrorKind::AlreadyExists {
                ExportError::FileIsThere {
                    path: path.display().to_string(),
                }
            } else {
                ExportError::File(error)
            }
        })?;
        let line = serde_json::to_vec(&head)?;
        let mut sheet = Sheet {
            file: BufWriter::with_capacity(1 << 20, file),
            head,
            ours: Sha256::new(),
            events: 0,
            bytes: 0,
            after: None,
            is_over: false,
            older: None,
        };
        sheet.ours(&line)?;
        Ok(sheet)
    }

    /// Opens a file and cuts off what is not whole.
    pub(super) fn resume(path: &Path) -> Result<Sheet, ExportError> {
        let not = |why| ExportError::NotResumable {
            path: path.display().to_string(),
            why,
        };
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut lines = BufReader::with_capacity(1 << 20, &file);
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line)?;
        let head: Head = line
            .strip_suffix(b"\n")
            .and_then(|line| serde_json::from_slice(line).ok())
            .ok_or_else(|| not("it has no whole first line"))?;
        let mut at = Mark {
            ours: Sha256::new(),
            events: 0,
            bytes: 0,
            after: None,
        };
        at.pass(&line, true);
        let mut mark = at.clone();
        let (mut is_over, mut older) = (false, None);
        loop {
            line.clear();
            lines.read_until(b'\n', &mut line)?;
            let Some(text) = line.strip_suffix(b"\n") else { break };
            let ours = text.starts_with(b"{\"keyledger\":");
            if ours {
                let begins = begins_after(text, &head).ok_or_else(|| not("a line of it cannot be read"))?;
                if let Some(after) = begins {
                    at.after = Some(after);
                    mark = at.clone();
                }
                older = older.or_else(|| Some(serde_json::from_slice::<Consistency>(text).ok()?.from));
                is_over = text.starts_with(b"{\"keyledger\":\"end\"");
            }
            at.pass(&line, ours);
        }
        drop(lines);
        if is_over {
            mark = at;
        }
        file.set_len(mark.bytes)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Sheet {
            file: BufWriter::with_capacity(1 << 20, file),
            head,
            ours: mark.ours,
            events: mark.events,
            bytes: mark.bytes,
            after: mark.after,
            is_over,
            older,
        })
    }

    /// Writes a line of the format.
    pub(super) fn ours(&mut self, line: &[u8]) -> Result<(), ExportError> {
        self.ours.update(line);
        self.ours.update(b"\n");
        self.line(line)
    }

    /// Writes an event.
    pub(super) fn event(&mut self, body: &[u8]) -> Result<(), ExportError> {
        self.events = self.events.saturating_add(1);
        self.line(body)
    }

    fn line(&mut self, line: &[u8]) -> Result<(), ExportError> {
        self.file.write_all(line)?;
        self.file.write_all(b"\n")?;
        self.bytes = self.bytes.saturating_add(u64::try_from(line.len()).unwrap_or(0) + 1);
        Ok(())
    }

    /// Writes the last line, and all that waits, to disk.
    pub(super) fn end(&mut self) -> Result<(), ExportError> {
        let end = End::new(self.events, &self.ours.clone().finalize());
        self.line(&serde_json::to_vec(&end)?)?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        self.is_over = true;
        Ok(())
    }
}

impl Mark {
    fn pass(&mut self, line: &[u8], ours: bool) {
        self.bytes = self.bytes.saturating_add(u64::try_from(line.len()).unwrap_or(0));
        if ours {
            self.ours.update(line);
        } else {
            self.events = self.events.saturating_add(1);
        }
    }
}

/// The position that the events behind a line follow, where they can be written anew from there. `None`: the line cannot
/// be read.
fn begins_after(line: &[u8], head: &Head) -> Option<Option<u64>> {
    if line.starts_with(b"{\"keyledger\":\"tile\"") {
        let tile: Tile = serde_json::from_slice(line).ok()?;
        let first = match &tile.at {
            Some(at) => *at.first()?,
            None => (tile.index.checked_mul(TILE)? + 1).max(head.first),
        };
        return Some(Some(first.checked_sub(1)?));
    }
    if line.starts_with(b"{\"keyledger\":\"proof\"") {
        let proof: Proof = serde_json::from_slice(line).ok()?;
        return Some(if proof.purpose.is_none() {
            Some(proof.position.checked_sub(1)?)
        } else {
            None
        });
    }
    Some(None)
}
