//! The small files beside a server's data that outlive a run: who holds it, its port, its password, its log.
//!
//! A port is kept so that a client that was told a URL yesterday finds the server today.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::error::LocalError;

/// Ports are chosen below the range that the system takes client ports from (32768 and up on Linux). Inside it, another
/// program's outgoing connection could sit on our port while the server is down, and a client that retries against a
/// dead local port could even connect to itself.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const PORT_ATTEMPTS: usize = 200;

/// A log longer than this is put aside when the server starts.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
const LOG_TAIL_LINES: usize = 20;

/// A password or token: 32 random bytes in hex.
#[derive(Clone)]
pub(super) struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    pub(super) fn draw() -> Result<Secret, LocalError> {
        random_hex(32).map(Secret)
    }

    pub(super) fn read(file: &Path) -> Result<Secret, LocalError> {
        match fs::read_to_string(file) {
            Ok(text) => Ok(Secret(text.trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(LocalError::Incomplete { file: file.to_owned() })
            }
            Err(error) => Err(LocalError::io(format!("read {}", file.display()))(error)),
        }
    }

    /// For URLs and for files that only the server's user reads.
    pub(super) fn let_out(&self) -> &str {
        &self.0
    }
}

/// Draws from the system itself: this room stands alone, and its secrets never have to be replayed.
pub(super) fn random_hex(bytes: usize) -> Result<String, LocalError> {
    let mut drawn = vec![0; bytes];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut drawn))
        .map_err(LocalError::io("draw random bytes"))?;
    Ok(drawn.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file that only its owner can read; replaces an earlier one, whatever its mode was.
pub(super) fn write_private(file: &Path, content: &str) -> Result<(), LocalError> {
    let write = || {
        let fresh = file.with_extension("new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut open = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        open.write_all(content.as_bytes())?;
        open.sync_all()?;
        fs::rename(&fresh, file)
    };
    write().map_err(LocalError::io(format!("write {}", file.display())))
}

/// Takes the directory for this process until the file is dropped. A killed owner's hold is gone at once.
pub(super) fn take(dir: &Path) -> Result<File, LocalError> {
    let file = dir.join("lock");
    let open = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&file)
        .map_err(LocalError::io(format!("open {}", file.display())))?;
    match open.try_lock() {
        Ok(()) => Ok(open),
        Err(fs::TryLockError::WouldBlock) => Err(LocalError::InUse { dir: dir.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(LocalError::io(format!("lock {}", file.display()))(error)),
    }
}

/// A port, and whether another may be taken in its stead when the server cannot have it after all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Port {
    pub(super) number: u16,
    pub(super) fixed: bool,
}

/// The port that was asked for, else the one of the last run, else a new one; noted for the next run.
pub(super) fn choose_port(dir: &Path, asked: Option<u16>) -> Result<Port, LocalError> {
    let note = dir.join("port");
    let port = match asked {
        Some(number) if is_free(number) => Port { number, fixed: true },
        Some(port) => return Err(LocalError::PortTaken { port }),
        None => {
            let last = fs::read_to_string(&note).ok().and_then(|text| text.trim().parse().ok());
            let number = match last.filter(|number| is_free(*number)) {
                Some(number) => number,
                None => free_port()?,
            };
            Port { number, fixed: false }
        }
    };
    write_private(&note, &format!("{}\n", port.number))?;
    Ok(port)
}

/// Makes the next `choose_port` choose anew.
pub(super) fn forget_port(dir: &Path) -> Result<(), LocalError> {
    fs::remove_file(dir.join("port")).map_err(LocalError::io("forget the port"))
}

fn free_port() -> Result<u16, LocalError> {
    for _ in 0..PORT_ATTEMPTS {
        let drawn = u16::from_str_radix(&random_hex(2)?, 16).unwrap_or(0);
        let number = PORTS.start + drawn % (PORTS.end - PORTS.start);
        if is_free(number) {
            return Ok(number);
        }
    }
    Err(LocalError::PortTaken { port: PORTS.start })
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Opens the server's log to append to; a long one is put aside first.
pub(super) fn open_log(dir: &Path) -> Result<File, LocalError> {
    let file = dir.join("log");
    let open = || {
        if fs::metadata(&file).is_ok_and(|found| found.len() > LOG_BYTES_MAX) {
            fs::rename(&file, dir.join("log.previous"))?;
        }
        OpenOptions::new().append(true).create(true).mode(0o600).open(&file)
    };
    open().map_err(LocalError::io(format!("open {}", file.display())))
}

/// The last lines of the server's log, for an error message.
pub(super) fn log_tail(dir: &Path) -> String {
    let log = fs::read(dir.join("log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_port_of_the_last_run_is_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let first = choose_port(dir.path(), None).unwrap();
        assert_eq!(choose_port(dir.path(), None).unwrap().number, first.number);
    }

    #[test]
    fn a_port_that_somebody_else_took_is_given_up_unless_it_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let first = choose_port(dir.path(), None).unwrap().number;
        let _somebody = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        assert_ne!(choose_port(dir.path(), None).unwrap().number, first);
        assert!(matches!(choose_port(dir.path(), Some(first)), Err(LocalError::PortTaken { port }) if port == first));
    }

    #[test]
    fn a_secret_is_private_on_disk_and_in_debug_output() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        let secret = Secret::draw().unwrap();
        write_private(&file, secret.let_out()).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Secret::read(&file).unwrap().let_out(), secret.let_out());
        assert_eq!(secret.let_out().len(), 64);
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn a_directory_has_one_holder() {
        let dir = tempfile::tempdir().unwrap();
        let held = take(dir.path()).unwrap();
        assert!(matches!(take(dir.path()), Err(LocalError::InUse { .. })));
        drop(held);
        take(dir.path()).unwrap();
    }
}
