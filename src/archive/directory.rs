//! A directory of segments.
//!
//! Promise: a file has its name only when all of it is on the disk, and so is its name. A writer that is killed leaves a file
//! that begins with a dot, which nobody reads; the next one that puts the same file writes it anew.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use tokio::sync::Semaphore;

use super::store::StoreError;

#[derive(Debug, Clone)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn at(path: PathBuf) -> Directory {
        Directory(path)
    }

    pub(super) async fn put(&self, name: &str, file: Vec<u8>) -> Result<(), StoreError> {
        let (root, path) = (self.0.clone(), self.0.join(name));
        on_the_side(move || put(&root, &path, &file)).await
    }

    pub(super) async fn read(&self, name: &str, part: Option<(u64, u64)>) -> Result<Vec<u8>, StoreError> {
        let path = self.0.join(name);
        on_the_side(move || read(&path, part)).await
    }
}

static THREADS: Semaphore = Semaphore::const_new(64);

/// Waiting for a disk is not for the threads that serve.
async fn on_the_side<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    // A disk that hangs keeps the threads that wait for it, whoever has given up meanwhile: not all that there are.
    let place = THREADS.acquire().await.map_err(io::Error::other)?;
    let work = move || {
        let _place = place;
        work()
    };
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
    done.map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            StoreError::Absent
        } else {
            StoreError::Disk(error)
        }
    })
}

fn put(root: &Path, path: &Path, file: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(root);
    // The place itself has to be there: a disk that is not mounted must not be written beside.
    if !root.is_dir() {
        return Err(io::Error::other(format!("{} is no directory", root.display())));
    }
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = folder.join(format!(".{name}.{}", std::process::id()));
    let written = write_and_sync(&unfinished, file).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // What is half there helps nobody, and may be what fills the disk.
        let _ = fs::remove_file(&unfinished);
    }
    written?;
    File::open(folder)?.sync_all()?;
    File::open(root)?.sync_all()
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn read(path: &Path, part: Option<(u64, u64)>) -> io::Result<Vec<u8>> {
    let Some((at, bytes)) = part else {
        return fs::read(path);
    };
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(at))?;
    let mut read = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
    file.take(bytes).read_to_end(&mut read)?;
    Ok(read)
}
