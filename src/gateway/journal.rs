//! Settlements that the ledger has not taken yet, on disk: a gateway that dies goes on with them when it comes back.
//!
//! In: a settlement as soon as the ledger does not take it at once, and word that it is over. Out: at the start,
//! whatever was left, here or in `handed_over`.
//!
//! Promise: `keep` returns when the record is on disk. A file that was torn or damaged costs the records that it hit,
//! loudly, and nothing else: each line has a checksum, and settling has the reservation's own id, so a record that
//! comes back a second time charges nothing. One process a directory.
//!
//! Not here: key texts, clients, and what a settlement does. The line says which hold of which account ends how.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use keyledger_events::ReservationId;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::oneshot;

use super::handed_over::{self, HandedOver};
use super::journal_line::{self, Kept, Line};

/// Why a journal cannot be used. Nothing was served.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process would replay and forget the same records.
    #[error("another process keeps its settlements in {0}")]
    Taken(PathBuf),
    #[error("the journal in {directory} cannot be used")]
    Io { directory: PathBuf, source: io::Error },
}

/// The way to the thread that writes, and what is written without it.
#[derive(Debug)]
pub(super) struct Journal {
    orders: mpsc::Sender<Order>,
    pub(super) handed_over: HandedOver,
}

#[derive(Debug)]
enum Order {
    Keep(Kept, oneshot::Sender<io::Result<()>>),
    Over(ReservationId),
}

const FILE: &str = "settlements.journal";
const NEW_FILE: &str = "settlements.journal.new";
const LOCK: &str = "lock";
/// A file that has grown beyond this is written anew with what is still open, if that is less than half of it.
const COMPACT_BYTES: u64 = 1 << 20;
/// Beyond this nothing more is kept: a disk is not to be filled by a ledger that is away.
const BYTES_MAX: u64 = 256 << 20;

impl Journal {
    /// Opens the journal of a directory, which is made if it is not there, and says what was left in it.
    pub(super) fn open(directory: &Path) -> Result<(Journal, Vec<Kept>), JournalError> {
        let failed = |source| JournalError::Io {
            directory: directory.to_owned(),
            source,
        };
        std::fs::create_dir_all(directory).map_err(failed)?;
        let lock = File::create(directory.join(LOCK)).map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => JournalError::Taken(directory.to_owned()),
            other => failed(other.into()),
        })?;
        let mut open = read(&directory.join(FILE)).map_err(failed)?;
        let (handed_over, damaged) = handed_over::left(directory).map_err(failed)?;
        tell_of_damage(damaged);
        for kept in handed_over {
            // What the journal says of it was decided later.
            open.entry(kept.reservation).or_insert(kept);
        }
        let left = open.values().cloned().collect();
        let mut writer = Writer {
            directory: directory.to_owned(),
            file: File::open(directory).map_err(failed)?,
            bytes: 0,
            open,
            _lock: lock,
        };
        // A torn line at the end would swallow the next record: the file begins anew, with whole lines only.
        writer.compact().map_err(failed)?;
        let handed_over = HandedOver::begin(directory).map_err(failed)?;
        let (orders, waiting) = mpsc::channel();
        std::thread::Builder::new()
            .name("settlement-journal".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(failed)?;
        Ok((Journal { orders, handed_over }, left))
    }

    /// Writes a settlement down. True once it is on disk; dropping the future does not stop that.
    pub(super) async fn keep(&self, kept: Kept) -> bool {
        let (tell, told) = oneshot::channel();
        let reservation = kept.reservation;
        let written = match self.orders.send(Order::Keep(kept, tell)) {
            Ok(()) => told.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        };
        if let Err(error) = &written {
            tracing::error!(%reservation, %error, "a settlement could not be journaled; it is kept in memory only");
            metrics::counter!("keyledger_gateway_journal_failures_total").increment(1);
        }
        written.is_ok()
    }

    /// Forgets a settlement: it is done, or its hold is over. Need not be on disk: settling twice is settling once.
    pub(super) fn over(&self, reservation: ReservationId) {
        let _ = self.orders.send(Order::Over(reservation));
    }
}

/// Everything that is open in a file. What cannot be read is skipped, and said.
fn read(path: &Path) -> io::Result<BTreeMap<ReservationId, Kept>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let mut open = BTreeMap::new();
    let mut damaged = 0u64;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match journal_line::read(line) {
            Some(Line::Kept(kept)) => {
                open.insert(kept.reservation, kept);
            }
            Some(Line::Over(reservation)) => {
                open.remove(&reservation);
            }
            None => damaged += 1,
        }
    }
    tell_of_damage(damaged);
    Ok(open)
}

fn tell_of_damage(damaged: u64) {
    if damaged > 0 {
        tracing::error!(
            damaged,
            "lines of the settlement journal are damaged; their holds expire and cost nothing"
        );
        metrics::counter!("keyledger_gateway_journal_damaged_lines_total").increment(damaged);
    }
}

/// Who writes the file: one thread, so that records that come together share one sync.
struct Writer {
    directory: PathBuf,
    file: File,
    bytes: u64,
    open: BTreeMap<ReservationId, Kept>,
    _lock: File,
}

impl Writer {
    /// Until the last sender is gone.
    fn run(mut self, waiting: &mpsc::Receiver<Order>) {
        while let Ok(first) = waiting.recv() {
            let mut lines = Vec::new();
            let mut tell = Vec::new();
            for order in std::iter::once(first).chain(waiting.try_iter()) {
                match order {
                    Order::Keep(kept, told) => {
                        lines.extend(journal_line::write(&Line::Kept(kept.clone())));
                        self.open.insert(kept.reservation, kept);
                        tell.push(told);
                    }
                    Order::Over(reservation) => {
                        if self.open.remove(&reservation).is_some() {
                            lines.extend(journal_line::write(&Line::Over(reservation)));
                        }
                    }
                }
            }
            let written = self.append(&lines, !tell.is_empty());
            metrics::gauge!("keyledger_gateway_journal_records")
                .set(u32::try_from(self.open.len()).unwrap_or(u32::MAX));
            for told in tell {
                let _ = told.send(written.as_ref().copied().map_err(|error| error.kind().into()));
            }
        }
    }

    fn append(&mut self, lines: &[u8], sync: bool) -> io::Result<()> {
        // With these lines in it: how many come at once must not decide how large the file stays.
        let grown = self.bytes + u64::try_from(lines.len()).unwrap_or(0);
        if grown > COMPACT_BYTES && self.open_bytes() < grown / 2 || self.open.is_empty() && self.bytes > 0 {
            return self.compact();
        }
        if self.bytes > BYTES_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_all(lines).inspect_err(|_| {
            // Half a line may be there: the next record begins on a line of its own.
            let _ = self.file.write_all(b"\n");
        })?;
        self.bytes += u64::try_from(lines.len()).unwrap_or(0);
        if sync { self.file.sync_data() } else { Ok(()) }
    }

    /// About what a compacted file would have.
    fn open_bytes(&self) -> u64 {
        const LINE_BYTES: u64 = 200;
        u64::try_from(self.open.len())
            .unwrap_or(u64::MAX)
            .saturating_mul(LINE_BYTES)
    }

    /// Writes what is open to a new file, which takes the old one's place whole or not at all.
    fn compact(&mut self) -> io::Result<()> {
        let lines: Vec<u8> = self
            .open
            .values()
            .flat_map(|kept| journal_line::write(&Line::Kept(kept.clone())))
            .collect();
        let path = self.directory.join(NEW_FILE);
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&path)?;
        file.write_all(&lines)?;
        file.sync_all()?;
        std::fs::rename(&path, self.directory.join(FILE))?;
        File::open(&self.directory)?.sync_all()?;
        self.file = file;
        self.bytes = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
