//! Charges for bodies whose last bytes are being handed over, on disk: a process that is killed at that moment settles
//! them when it comes back.
//!
//! In: a charge, right before the socket is given the last bytes. Out: at the start, whatever was left.
//!
//! Promise: `write` is one `write(2)` to a place of its own in the file, and returns when the kernel has it: that outlives
//! the process, not the machine, and waits for no disk. A place that is free again is used again, so that the file is as
//! long as most were on their way at once, and never has to be written anew.
//!
//! Not here: what a record becomes when the ledger does not take it at once: see `journal`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::journal_line::{self, Kept, Line};

const FILE: &str = "handed-over";
/// A record has some 250 bytes; an endpoint's name is not in it.
const PLACE_BYTES: u16 = 512;
/// More than connections that a gateway takes: 32 MiB.
const PLACES_MAX: u32 = 65_536;
/// What no record begins with.
const FREE: [u8; 1] = [0];

/// The file, and which of its places are free.
#[derive(Debug)]
pub(super) struct HandedOver {
    file: File,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    free: Vec<u32>,
    used_so_far: u32,
}

/// Where a record stands. To be given back; one that is lost stays on disk, and is settled again at the next start.
#[derive(Debug)]
#[must_use]
pub(super) struct Place(u32);

/// The records that were left in a directory, and lines that are damaged.
pub(super) fn left(directory: &Path) -> io::Result<(Vec<Kept>, u64)> {
    let bytes = match std::fs::read(directory.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let (mut left, mut damaged) = (Vec::new(), 0);
    for place in bytes
        .chunks(PLACE_BYTES.into())
        .filter(|place| !place.starts_with(&FREE))
    {
        // After its end stands what is left of a longer one.
        let line = place.split_inclusive(|byte| *byte == b'\n').next();
        match line.and_then(journal_line::read) {
            Some(Line::Kept(kept)) => left.push(kept),
            Some(Line::Over(_)) | None => damaged += 1,
        }
    }
    Ok((left, damaged))
}

impl HandedOver {
    /// Begins with an empty file: what was left in it has to be kept elsewhere by now.
    pub(super) fn begin(directory: &Path) -> io::Result<HandedOver> {
        let mut options = OpenOptions::new();
        let file = options.create(true).write(true).truncate(true);
        Ok(HandedOver {
            file: file.open(directory.join(FILE))?,
            places: Mutex::default(),
        })
    }

    /// Writes a charge down. `None` where it cannot be: it is settled all the same, unless the process is killed now.
    pub(super) fn write(&self, kept: Kept) -> Option<Place> {
        let line = journal_line::write(&Line::Kept(kept));
        let written = if line.len() > PLACE_BYTES.into() {
            Err(io::ErrorKind::InvalidData.into())
        } else {
            self.write_line(&line)
        };
        written
            .inspect_err(|error| {
                tracing::error!(%error, "a charge could not be written down before its last bytes left");
                metrics::counter!("keyledger_gateway_journal_failures_total").increment(1);
            })
            .ok()
    }

    fn write_line(&self, line: &[u8]) -> io::Result<Place> {
        let place = self.places().take().ok_or(io::ErrorKind::StorageFull)?;
        match self.file.write_all_at(line, place.offset()) {
            Ok(()) => Ok(place),
            Err(error) => {
                self.free(place);
                Err(error)
            }
        }
    }

    /// Forgets a record: it is settled, or its last bytes have not left.
    pub(super) fn free(&self, place: Place) {
        // What cannot be freed is settled a second time at the next start, which changes nothing.
        match self.file.write_all_at(&FREE, place.offset()) {
            Ok(()) => self.places().free.push(place.0),
            Err(error) => tracing::error!(%error, "a charge that is over could not be forgotten"),
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // Each change under the lock is whole.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn take(&mut self) -> Option<Place> {
        if let Some(free) = self.free.pop() {
            return Some(Place(free));
        }
        let next = Place(self.used_so_far);
        self.used_so_far = self.used_so_far.checked_add(1).filter(|used| *used <= PLACES_MAX)?;
        Some(next)
    }
}

impl Place {
    fn offset(&self) -> u64 {
        u64::from(self.0) * u64::from(PLACE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use keyledger_events::{AccountId, ReservationId, Timestamp};

    use super::*;
    use crate::gateway::hold::Settlement;
    use crate::prices::WhenMore;

    fn kept(number: u128) -> Kept {
        Kept {
            account: AccountId::from_parts(1, 7),
            reservation: ReservationId::from_parts(1, number),
            settlement: Settlement::Charge {
                quantity: u64::MAX,
                more: u64::MAX,
            },
            when_more: WhenMore::Shortfall,
            expires_at: Timestamp::MAX,
            client_left: None,
        }
    }

    fn numbers(directory: &Path) -> Vec<u128> {
        let (mut left, damaged) = left(directory).unwrap();
        assert_eq!(damaged, 0);
        left.sort_by_key(|kept| kept.reservation);
        let number = |kept: Kept| {
            let mut bytes = kept.reservation.to_bytes();
            bytes[..6].fill(0);
            u128::from_be_bytes(bytes)
        };
        left.into_iter().map(number).collect()
    }

    #[test]
    fn what_was_written_and_is_not_free_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(numbers(directory.path()), []);
        let handed_over = HandedOver::begin(directory.path()).unwrap();
        let mut places: Vec<Place> = (0..5).map(|n| handed_over.write(kept(n)).unwrap()).collect();
        handed_over.free(places.remove(3));
        handed_over.free(places.remove(1));
        assert_eq!(numbers(directory.path()), [0, 2, 4]);
        let _ = HandedOver::begin(directory.path()).unwrap();
        assert_eq!(numbers(directory.path()), []);
    }

    #[test]
    fn the_file_is_as_long_as_most_were_on_their_way_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let handed_over = HandedOver::begin(directory.path()).unwrap();
        for round in 0..1_000 {
            let places: Vec<Place> = (0..7)
                .map(|n| handed_over.write(kept(round * 7 + n)).unwrap())
                .collect();
            places.into_iter().for_each(|place| handed_over.free(place));
        }
        let longest = 7 * u64::from(PLACE_BYTES);
        assert!(std::fs::metadata(directory.path().join(FILE)).unwrap().len() <= longest);
    }

    #[test]
    fn a_short_record_in_a_long_ones_place_is_read_alone() {
        let directory = tempfile::tempdir().unwrap();
        let handed_over = HandedOver::begin(directory.path()).unwrap();
        handed_over.free(handed_over.write(kept(u128::MAX >> 60)).unwrap());
        let short = Kept {
            settlement: Settlement::Charge { quantity: 1, more: 0 },
            ..kept(1)
        };
        let _place = handed_over.write(short.clone()).unwrap();
        assert_eq!(left(directory.path()).unwrap(), (vec![short], 0));
    }

    #[test]
    fn a_damaged_record_costs_itself_and_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let handed_over = HandedOver::begin(directory.path()).unwrap();
        let _places: Vec<Place> = (0..3).map(|n| handed_over.write(kept(n)).unwrap()).collect();
        let path = directory.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[usize::from(PLACE_BYTES) + 40] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(left(directory.path()).unwrap(), (vec![kept(0), kept(2)], 1));
    }

    #[test]
    fn what_finds_no_place_is_not_written() {
        let mut places = Places {
            free: Vec::new(),
            used_so_far: PLACES_MAX - 1,
        };
        assert!(places.take().is_some());
        assert!(places.take().is_none() && places.take().is_none());
        places.free.push(7);
        assert!(places.take().is_some_and(|place| place.0 == 7));
    }
}
