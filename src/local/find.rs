//! Finds the server programs: a named place first, then the usual ones, then `PATH`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::LocalError;

/// Where Debian and its relatives put the server programs of each major version. They are not on `PATH`.
const DEBIAN_POSTGRES: &str = "/usr/lib/postgresql";

/// The directory that holds `postgres` and `initdb`, and their major version.
#[derive(Debug, Clone)]
pub(super) struct PostgresPrograms {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

impl PostgresPrograms {
    pub(super) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }
}

/// Looks in `KEYLEDGER_PG_BIN`, then Debian's directories from the highest version down, then `PATH`.
pub(super) fn postgres() -> Result<PostgresPrograms, LocalError> {
    let candidates = match env::var_os("KEYLEDGER_PG_BIN") {
        Some(named) => vec![PathBuf::from(named)],
        None => debian_versions(Path::new(DEBIAN_POSTGRES))
            .into_iter()
            .chain(search_path())
            .collect(),
    };
    candidates
        .into_iter()
        .filter(|dir| dir.join("postgres").is_file() && dir.join("initdb").is_file())
        .find_map(|dir| {
            Some(PostgresPrograms {
                major: major_of(&dir.join("postgres"))?,
                dir,
            })
        })
        .ok_or_else(|| LocalError::NotInstalled {
            program: "postgres",
            looked: format!("KEYLEDGER_PG_BIN, {DEBIAN_POSTGRES}/*/bin, PATH"),
        })
}

/// Looks at `named`, else at `KEYLEDGER_NATS_BIN`, else in `.keyledger/bin`, `/usr/sbin` and `PATH`.
pub(super) fn nats_server(named: Option<PathBuf>) -> Result<PathBuf, LocalError> {
    let candidates = match named.or_else(|| env::var_os("KEYLEDGER_NATS_BIN").map(PathBuf::from)) {
        Some(named) => vec![named],
        // A normal user's PATH often lacks /usr/sbin.
        None => [PathBuf::from(".keyledger/bin"), PathBuf::from("/usr/sbin")]
            .into_iter()
            .chain(search_path())
            .map(|dir| dir.join("nats-server"))
            .collect(),
    };
    candidates
        .into_iter()
        .find(|file| file.is_file())
        // The server runs in another directory than we do.
        .and_then(|file| file.canonicalize().ok())
        .ok_or_else(|| LocalError::NotInstalled {
            program: "nats-server",
            looked: "KEYLEDGER_NATS_BIN, .keyledger/bin, /usr/sbin, PATH".to_owned(),
        })
}

fn search_path() -> Vec<PathBuf> {
    env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default()
}

fn debian_versions(root: &Path) -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    versions.into_iter().map(|(_, bin)| bin).collect()
}

/// Asks the program itself: a directory's name says little about what is in it.
fn major_of(postgres: &Path) -> Option<u32> {
    let output = Command::new(postgres).arg("--version").output().ok()?;
    parse_major(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, also `18beta1`.
fn parse_major(version_line: &str) -> Option<u32> {
    let version = version_line.split_once("(PostgreSQL) ")?.1;
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_the_program_says() {
        assert_eq!(
            parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(parse_major("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(parse_major("postgres (Something) 3"), None);
    }

    #[test]
    fn the_highest_installed_version_comes_first() {
        let root = tempfile::tempdir().unwrap();
        for name in ["9", "15", "16", "notes"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        let found = debian_versions(root.path());
        assert_eq!(
            found,
            ["16", "15", "9"].map(|major| root.path().join(major).join("bin"))
        );
    }

    #[test]
    fn a_missing_server_names_the_command_that_installs_it() {
        let complaint = nats_server(Some("/nowhere/nats-server".into()))
            .unwrap_err()
            .to_string();
        assert!(complaint.contains("make setup"), "{complaint}");
    }
}
