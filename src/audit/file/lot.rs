//! A file cut into lots of whole lines, so that one thread can hash while another one enters what was hashed.

use std::io::Read;

use memchr::memchr_iter;

use super::Fault;

/// Bytes read at once, and the most that a line may have: a price book is the longest event that there is.
const LOT_BYTES: usize = 1 << 20;
const LINE_BYTES_MAX: usize = 64 << 20;

/// Whole lines, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Lot {
    pub bytes: Vec<u8>,
    /// Where each line lies, without its newline.
    pub lines: Vec<std::ops::Range<usize>>,
}

pub(super) struct Lots<R> {
    from: R,
    /// The beginning of a line whose end has not been read.
    rest: Vec<u8>,
    pub read: u64,
}

impl<R: Read> Lots<R> {
    pub(super) fn of(from: R) -> Lots<R> {
        Lots {
            from,
            rest: Vec::new(),
            read: 0,
        }
    }

    /// The next lot; `None` at the end. What comes behind the last newline is no line: such a file was cut.
    pub(super) fn next(&mut self) -> Result<Option<Lot>, Fault> {
        let mut bytes = Vec::with_capacity(LOT_BYTES + self.rest.len());
        bytes.append(&mut self.rest);
        loop {
            let before = bytes.len();
            let limit = u64::try_from(LOT_BYTES).unwrap_or(u64::MAX);
            let read = (&mut self.from).take(limit).read_to_end(&mut bytes);
            let read = read.map_err(|error| Fault::unknown(format!("the file cannot be read: {error}")))?;
            self.read = self.read.saturating_add(u64::try_from(read).unwrap_or(0));
            if read == 0 {
                return if bytes.is_empty() {
                    Ok(None)
                } else {
                    Err(Fault::unknown("the file is incomplete: its last line has no end"))
                };
            }
            let new = bytes.get(before..).unwrap_or_default();
            let Some(last) = memchr::memrchr(b'\n', new) else {
                if bytes.len() > LINE_BYTES_MAX {
                    return Err(Fault::unknown("a line is longer than any of an export"));
                }
                continue;
            };
            self.rest = bytes.split_off(before + last + 1);
            let mut start = 0;
            let lines = memchr_iter(b'\n', &bytes).map(|end| {
                let line = start..end;
                start = end + 1;
                line
            });
            return Ok(Some(Lot {
                lines: lines.collect(),
                bytes,
            }));
        }
    }
}
