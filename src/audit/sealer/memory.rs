//! What a sealer signed last, in a file of its own: no right on the database changes it.
//!
//! Promise: what is remembered is on the disk before it leaves the process.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::audit::note::{Checkpoint, Note};

/// The file of one log.
#[derive(Debug, Clone)]
pub struct Memory {
    directory: PathBuf,
    file: PathBuf,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    #[error("{path}: {fault}")]
    Io { path: PathBuf, fault: io::Error },
    /// It was changed, or is of another log: to go on without it would be to forget what was signed.
    #[error("{path} is no checkpoint of {origin}")]
    NotOurs { path: PathBuf, origin: String },
}

impl Memory {
    /// The file of the log with this origin, in a directory.
    pub fn of(directory: &Path, origin: &str) -> Memory {
        let name = origin.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-', "_");
        Memory {
            directory: directory.to_owned(),
            file: directory.join(format!("{name}.signed")),
        }
    }

    /// What was signed last; `None` where nothing was yet.
    pub fn last(&self, origin: &str) -> Result<Option<Checkpoint>, MemoryError> {
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(fault) => return Err(self.fault(fault)),
        };
        let checkpoint = Note::parse(&text)
            .ok()
            .and_then(|note| Checkpoint::parse(&note.text).ok())
            .filter(|checkpoint| checkpoint.origin == origin);
        checkpoint.map(Some).ok_or_else(|| MemoryError::NotOurs {
            path: self.file.clone(),
            origin: origin.to_owned(),
        })
    }

    /// Remembers a signed checkpoint, whole or not at all.
    pub fn keep(&self, note: &str) -> Result<(), MemoryError> {
        self.write(note).map_err(|fault| self.fault(fault))
    }

    fn write(&self, note: &str) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        // Named after the process: two sealers on one machine must not write into one file.
        let fresh = self.file.with_extension(format!("{}.new", std::process::id()));
        let mut file = File::create(&fresh)?;
        file.write_all(note.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &self.file)?;
        File::open(&self.directory)?.sync_all()
    }

    fn fault(&self, fault: io::Error) -> MemoryError {
        MemoryError::Io {
            path: self.file.clone(),
            fault,
        }
    }
}
