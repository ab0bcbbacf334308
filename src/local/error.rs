//! What can go wrong while a private server is started, and what the reader can do about it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a private server is not running. Nothing was deleted, and no process of ours is left behind.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The server program was found nowhere.
    #[error("{program} is not installed (looked in {looked}): run `make setup`, which installs it")]
    NotInstalled {
        program: &'static str,
        looked: &'static str,
    },
    /// The server program is not where its environment variable or its caller says.
    #[error("there is no usable {program} at {}, where {named_by} says: correct that, or leave it out", .place.display())]
    NotWhereNamed {
        program: &'static str,
        place: PathBuf,
        named_by: &'static str,
    },
    /// Postgres refuses to run as root, and the user that its package makes is not there.
    #[error(
        "postgres refuses to run as root and there is no system user `{name}` to run it as: run `make setup`, \
         or start keyledger as another user"
    )]
    NoSuchUser { name: &'static str },
    /// The server's user may not pass through a directory above its data.
    #[error(
        "the user `{user}`, who runs postgres, cannot reach {} because {} is closed to it: \
         run `chmod o+x {}`, or choose a data directory elsewhere", .dir.display(), .closed.display(), .closed.display()
    )]
    Unreachable {
        dir: PathBuf,
        closed: PathBuf,
        user: String,
    },
    /// Another process holds the directory, or this one does already.
    #[error("{} is in use by another running keyledger: stop that one first, or choose another directory", .dir.display())]
    InUse { dir: PathBuf },
    /// The cluster needs another major version. It is never upgraded behind its owner's back.
    #[error(
        "{} was written by postgres {found}, but {} is postgres {installed}: point KEYLEDGER_PG_BIN at the programs of \
         postgres {found}, or start from an empty directory", .dir.display(), .binary.display()
    )]
    OtherVersion {
        dir: PathBuf,
        found: u32,
        installed: u32,
        binary: PathBuf,
    },
    /// A file that belongs to the data is gone, so the data cannot be used as it is.
    #[error("{} is missing although the data beside it is there: restore it, or start from an empty directory", .file.display())]
    Incomplete { file: PathBuf },
    /// A port that was asked for by number is not free.
    #[error("port {port} on 127.0.0.1 is taken by another program")]
    PortTaken { port: u16 },
    /// The server ended before it took connections.
    #[error("{program} ended before it was ready ({status}); the end of its log:\n{log}")]
    EndedEarly {
        program: &'static str,
        status: ExitStatus,
        log: String,
    },
    /// The server is alive but took no connection in time. It was stopped.
    #[error("{program} was not ready after {seconds} seconds; the end of its log:\n{log}")]
    NotReady {
        program: &'static str,
        seconds: u64,
        log: String,
    },
    /// A server that an earlier, killed keyledger left behind does not end.
    #[error("process {pid}, left over on {}, does not end: end it by hand", .dir.display())]
    StuckLeftover { pid: i32, dir: PathBuf },
    /// The operation needs the server to be down.
    #[error("{program} is running: stop it first")]
    StillRunning { program: &'static str },
    /// A first connection to our own Postgres failed.
    #[error("postgres runs but does not answer: {0}")]
    Postgres(#[from] sqlx::Error),
    /// Nothing to run was named.
    #[error("no command was given to run beside the servers")]
    NoCommand,
    /// The operating system refused something.
    #[error("could not {doing}: {source}")]
    Io { doing: String, source: io::Error },
}

impl LocalError {
    /// Names what was being done when the operating system refused: `.map_err(LocalError::io("read the port"))`.
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> LocalError {
        let doing = doing.into();
        move |source| LocalError::Io { doing, source }
    }
}
