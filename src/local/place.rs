//! Directories for servers: kept ones, and throw-away ones in memory where there is room.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::LocalError;
use super::kept;
use super::run_as::RunAs;

/// Where a checkout keeps its development data.
const DATA_DIR: &str = ".keyledger/data";
/// Where the data of a checkout goes that the server's user cannot reach, for example one below `/root`.
const SYSTEM_DATA_DIR: &str = "/var/lib/keyledger";

const MEMORY_DIR: &str = "/dev/shm";
/// A cluster starts at 40 MB and every test database adds 8 MB; containers often give shared memory 64 MB in all.
const MEMORY_BYTES_MIN: u64 = 4 * 1024 * 1024 * 1024;

const THROW_AWAY_PREFIX: &str = "keyledger-local-";
/// A throw-away directory whose owner may still be between making it and locking it is left alone for this long.
const THROW_AWAY_AGE_MIN: Duration = Duration::from_secs(60);

/// Makes `dir` and what is missing above it, and returns it absolute and without links.
///
/// What is made on the way is open to pass through, whatever the umask: the server may run as another user.
pub(super) fn make(dir: &Path) -> Result<PathBuf, LocalError> {
    let make = || {
        let missing: Vec<&Path> = dir
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
            .collect();
        for path in missing.into_iter().rev() {
            match DirBuilder::new().mode(0o711).create(path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(0o711))?,
            }
        }
        dir.canonicalize()
    };
    make().map_err(LocalError::io(format!("make the directory {}", dir.display())))
}

/// Makes a server's own directory, closed to everybody else.
pub(super) fn make_private(dir: &Path) -> Result<PathBuf, LocalError> {
    let dir = make(dir)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))
        .map_err(LocalError::io(format!("close {} to others", dir.display())))?;
    Ok(dir)
}

/// The directory for development data: `.keyledger/data` below the current directory.
///
/// Root in a checkout that the server's user cannot reach gets one below `/var/lib/keyledger`, and `.keyledger/data`
/// becomes a link to it, so that the data is found and removed where it is expected.
pub fn default_data_dir() -> Result<PathBuf, LocalError> {
    let here = std::env::current_dir().map_err(LocalError::io("find the current directory"))?;
    data_dir_of(&here, &RunAs::for_postgres()?, Path::new(SYSTEM_DATA_DIR))
}

fn data_dir_of(checkout: &Path, run_as: &RunAs, system: &Path) -> Result<PathBuf, LocalError> {
    let wanted = checkout.join(DATA_DIR);
    if wanted.exists() || run_as.check_reach(&checkout.join("data")).is_ok() {
        return Ok(wanted);
    }
    let name = checkout.to_string_lossy().trim_matches('/').replace('/', "-");
    let elsewhere = make(&system.join(name))?;
    if let Some(parent) = wanted.parent() {
        make(parent)?;
    }
    // A link whose target was removed is in the way of its successor.
    let _dangling = fs::remove_file(&wanted);
    symlink(&elsewhere, &wanted).map_err(LocalError::io(format!(
        "link {} to {}",
        wanted.display(),
        elsewhere.display()
    )))?;
    Ok(wanted)
}

/// A directory that is removed when this value is dropped.
#[derive(Debug)]
pub(super) struct ThrowAway {
    dir: PathBuf,
    _held: File,
}

impl ThrowAway {
    /// Makes one in memory where 4 GiB are free, else in the temporary directory; sweeps what killed runs left there.
    pub(super) fn make() -> Result<ThrowAway, LocalError> {
        let base = if has_room(Path::new(MEMORY_DIR)) {
            PathBuf::from(MEMORY_DIR)
        } else {
            std::env::temp_dir()
        };
        let dir = make(&base.join(format!("{THROW_AWAY_PREFIX}{}", kept::random_hex(8)?)))?;
        let made = ThrowAway {
            _held: kept::take(&dir)?,
            dir,
        };
        made.sweep_others();
        Ok(made)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Best effort: a directory in memory that nobody will ever use again costs memory until the next boot.
    fn sweep_others(&self) {
        let (Some(base), Ok(ours)) = (self.dir.parent(), fs::metadata(&self.dir)) else {
            return;
        };
        for entry in fs::read_dir(base).into_iter().flatten().flatten() {
            let dir = entry.path();
            let Ok(theirs) = fs::symlink_metadata(&dir) else {
                continue;
            };
            if !entry.file_name().to_string_lossy().starts_with(THROW_AWAY_PREFIX)
                || !theirs.is_dir()
                || theirs.uid() != ours.uid()
                || age_between(&theirs, &ours) < THROW_AWAY_AGE_MIN
            {
                continue;
            }
            if let Ok(_held) = kept::take(&dir) {
                let _left_for_the_next_sweep = fs::remove_dir_all(&dir);
            }
        }
    }
}

impl Drop for ThrowAway {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "could not remove a throw-away directory");
        }
    }
}

/// How much later `newer` was changed; zero if it was not. Compares two files, so no clock has to be read.
fn age_between(older: &fs::Metadata, newer: &fs::Metadata) -> Duration {
    match (older.modified(), newer.modified()) {
        (Ok(older), Ok(newer)) => newer.duration_since(older).unwrap_or_default(),
        _ => Duration::ZERO,
    }
}

fn has_room(dir: &Path) -> bool {
    let free = rustix::fs::statvfs(dir).map_or(0, |found| found.f_bavail.saturating_mul(found.f_frsize));
    let writable = rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok();
    writable && free >= MEMORY_BYTES_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_a_checkout_that_the_server_cannot_reach_is_kept_elsewhere_behind_a_link() {
        let root = tempfile::tempdir().unwrap();
        let checkout = root.path().canonicalize().unwrap().join("closed");
        DirBuilder::new().mode(0o700).create(&checkout).unwrap();
        let stranger = RunAs::User {
            name: "stranger".to_owned(),
            uid: 4_000_001,
            gid: 4_000_001,
        };
        let system = root.path().join("system");

        let found = data_dir_of(&checkout, &stranger, &system).unwrap();
        assert!(
            found
                .canonicalize()
                .unwrap()
                .starts_with(system.canonicalize().unwrap())
        );
        assert_eq!(data_dir_of(&checkout, &stranger, &system).unwrap(), found);

        // Removed as `make clean-data` does, but for the link.
        fs::remove_dir_all(found.canonicalize().unwrap()).unwrap();
        assert!(data_dir_of(&checkout, &stranger, &system).unwrap().is_dir());
        let reachable = root.path().join("open");
        assert_eq!(
            data_dir_of(&reachable, &RunAs::Ourselves, &system).unwrap(),
            reachable.join(".keyledger/data")
        );
    }

    #[test]
    fn a_throw_away_directory_goes_with_its_owner() {
        let made = ThrowAway::make().unwrap();
        let dir = made.dir().to_owned();
        fs::write(dir.join("something"), "x").unwrap();
        drop(made);
        assert!(!dir.exists());
    }

    #[test]
    fn the_directory_of_a_live_run_is_not_swept() {
        let first = ThrowAway::make().unwrap();
        let _second = ThrowAway::make().unwrap();
        assert!(first.dir().exists());
    }

    #[test]
    fn what_is_made_above_a_private_directory_can_be_passed_through() {
        let root = tempfile::tempdir().unwrap();
        let dir = make_private(&root.path().join("a/b")).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(
            fs::metadata(root.path().join("a")).unwrap().permissions().mode() & 0o777,
            0o711
        );
    }
}
