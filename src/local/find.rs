//! Finds the server programs: a named place first, then the usual ones, then `PATH`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::LocalError;

/// Where Debian and its relatives put the server programs of each major version. They are not on `PATH`.
const DEBIAN_POSTGRES: &str = "/usr/lib/postgresql";

const POSTGRES_VARIABLE: &str = "KEYLEDGER_PG_BIN";
const NATS_VARIABLE: &str = "KEYLEDGER_NATS_BIN";

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

/// Looks in `KEYLEDGER_PG_BIN` if that is set, else in Debian's directories from the highest version down, then `PATH`.
pub(super) fn postgres() -> Result<PostgresPrograms, LocalError> {
    const PROGRAM: &str = "postgres";
    if let Some(place) = env::var_os(POSTGRES_VARIABLE).map(PathBuf::from) {
        let named_by = POSTGRES_VARIABLE;
        return programs_in(place.clone()).ok_or(LocalError::NotWhereNamed {
            program: PROGRAM,
            place,
            named_by,
        });
    }
    debian_versions(Path::new(DEBIAN_POSTGRES))
        .into_iter()
        .chain(search_path())
        .find_map(programs_in)
        .ok_or(LocalError::NotInstalled {
            program: PROGRAM,
            looked: "/usr/lib/postgresql/*/bin and PATH",
        })
}

/// A program that comes with Postgres, such as `pgbench`: beside the server's own.
pub fn postgres_program(name: &'static str) -> Result<PathBuf, LocalError> {
    program_at(&postgres()?.dir.join(name)).ok_or(LocalError::NotInstalled {
        program: name,
        looked: "the directory of the program postgres",
    })
}

/// Looks at `named`, else at `KEYLEDGER_NATS_BIN`, else in `.keyledger/bin`, `/usr/sbin` and `PATH`.
pub(super) fn nats_server(named: Option<PathBuf>) -> Result<PathBuf, LocalError> {
    const PROGRAM: &str = "nats-server";
    let by_caller = named.map(|place| (place, "the caller"));
    let by_variable = || env::var_os(NATS_VARIABLE).map(|place| (PathBuf::from(place), NATS_VARIABLE));
    if let Some((place, named_by)) = by_caller.or_else(by_variable) {
        return program_at(&place).ok_or(LocalError::NotWhereNamed {
            program: PROGRAM,
            place,
            named_by,
        });
    }
    // A normal user's PATH often lacks /usr/sbin.
    [PathBuf::from(".keyledger/bin"), PathBuf::from("/usr/sbin")]
        .into_iter()
        .chain(search_path())
        .find_map(|dir| program_at(&dir.join(PROGRAM)))
        .ok_or(LocalError::NotInstalled {
            program: PROGRAM,
            looked: ".keyledger/bin, /usr/sbin and PATH",
        })
}

fn programs_in(dir: PathBuf) -> Option<PostgresPrograms> {
    let postgres = program_at(&dir.join("postgres"))?;
    program_at(&dir.join("initdb"))?;
    Some(PostgresPrograms {
        major: major_of(&postgres)?,
        dir,
    })
}

/// Absolute, because a server runs in another directory than we do.
fn program_at(file: &Path) -> Option<PathBuf> {
    file.is_file().then(|| file.canonicalize().ok()).flatten()
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
    fn a_server_that_is_not_where_it_was_said_to_be_is_named_with_its_place() {
        let complaint = nats_server(Some("/nowhere/nats-server".into()))
            .unwrap_err()
            .to_string();
        assert!(
            complaint.contains("no usable nats-server at /nowhere/nats-server"),
            "{complaint}"
        );
    }

    #[test]
    fn a_missing_server_names_the_command_that_installs_it() {
        let missing = LocalError::NotInstalled {
            program: "postgres",
            looked: "PATH",
        };
        assert!(missing.to_string().contains("run `make setup`"));
    }
}
