//! As whom a server runs. Postgres refuses to be root, so root hands it to the user that its package made.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::error::LocalError;

const POSTGRES_USER: &str = "postgres";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RunAs {
    Ourselves,
    User { name: String, uid: u32, gid: u32 },
}

impl RunAs {
    /// Ourselves, unless we are root.
    pub(super) fn for_postgres() -> Result<RunAs, LocalError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(RunAs::Ourselves);
        }
        let users = fs::read_to_string("/etc/passwd").map_err(LocalError::io("read /etc/passwd"))?;
        find_user(&users, POSTGRES_USER).ok_or(LocalError::NoSuchUser { name: POSTGRES_USER })
    }

    /// Gives `path` to the server.
    pub(super) fn give(&self, path: &Path) -> Result<(), LocalError> {
        match self {
            RunAs::Ourselves => Ok(()),
            RunAs::User { uid, gid, .. } => chown(path, Some(*uid), Some(*gid))
                .map_err(LocalError::io(format!("give {} to the server's user", path.display()))),
        }
    }

    /// Complains about the topmost directory that keeps the server away from `dir` (absolute, without links).
    pub(super) fn check_reach(&self, dir: &Path) -> Result<(), LocalError> {
        match self {
            RunAs::Ourselves => Ok(()),
            RunAs::User { name, uid, gid } => match closed_above(dir, *uid, *gid)? {
                None => Ok(()),
                Some(closed) => Err(LocalError::Unreachable {
                    dir: dir.to_owned(),
                    closed,
                    user: name.clone(),
                }),
            },
        }
    }
}

/// The topmost directory above `dir` that a user may not pass through. Groups other than the first are ignored, since
/// the server is started without them.
fn closed_above(dir: &Path, uid: u32, gid: u32) -> Result<Option<PathBuf>, LocalError> {
    let mut above: Vec<&Path> = dir.ancestors().skip(1).collect();
    above.reverse();
    for parent in above {
        let found = fs::metadata(parent).map_err(LocalError::io(format!("look at {}", parent.display())))?;
        let mode = found.permissions().mode();
        let passable = if found.uid() == uid {
            mode & 0o100
        } else if found.gid() == gid {
            mode & 0o010
        } else {
            mode & 0o001
        };
        if passable == 0 {
            return Ok(Some(parent.to_owned()));
        }
    }
    Ok(None)
}

/// Reads one user out of the lines of `/etc/passwd` (passwd(5)).
fn find_user(users: &str, wanted: &str) -> Option<RunAs> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| *name == wanted)?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(RunAs::User {
            name: name.to_owned(),
            uid,
            gid,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str =
        "root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/bash\n";

    #[test]
    fn the_user_of_the_package_is_found_by_name() {
        let expected = RunAs::User {
            name: "postgres".to_owned(),
            uid: 101,
            gid: 104,
        };
        assert_eq!(find_user(USERS, "postgres"), Some(expected));
        assert_eq!(find_user(USERS, "post"), None);
    }

    #[test]
    fn the_first_closed_directory_above_is_named() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        fs::create_dir_all(&dir).unwrap();
        for (path, mode) in [(root.path().to_owned(), 0o755), (root.path().join("a"), 0o700)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(
            closed_above(&dir, 4_000_001, 4_000_001).unwrap(),
            Some(root.path().join("a"))
        );

        fs::set_permissions(root.path().join("a"), fs::Permissions::from_mode(0o711)).unwrap();
        assert_eq!(closed_above(&dir, 4_000_001, 4_000_001).unwrap(), None);
    }
}
