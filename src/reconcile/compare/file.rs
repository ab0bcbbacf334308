//! Reading the file.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use csv::{ByteRecord, ReaderBuilder};
use keyledger_events::{AccountId, Credits, Endpoint, ReservationId, Timestamp};
use sqlx::PgConnection;

use super::{Around, Compared, ReconcileError};
use crate::log::bigint;
use crate::statements::Moment;

/// Lines that are sent to the database at once.
const LINES_AT_ONCE: usize = 5_000;

/// A line longer than that is not one of a table of charges.
const LINE_BYTES_MAX: usize = 64 << 10;

/// As much is read of a line, and no more: an open quote makes one of all the rest of the file.
const READ_BYTES_MAX: usize = 1 << 20;

/// The file cannot be read as a table of charges.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{path} cannot be read: {error}", path = path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("the file has no column {column:?}; it has {there}")]
    NoColumn { column: String, there: String },
    #[error("the file has the column {column:?} twice")]
    ColumnTwice { column: String },
    #[error("line {line}: {what}")]
    Malformed { line: u64, what: String },
    #[error("line {line}: {column:?} {what}")]
    BadValue {
        line: u64,
        column: String,
        what: &'static str,
    },
}

/// Which columns of the file say what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    pub matched_by: MatchedBy,
    /// Credits of the line: decimal. Not there: lines and charges are only matched.
    pub amount: Option<String>,
    /// When it was: lines outside of the period are left out, but where an id leads to a charge in it. Not there: all lines count.
    pub time: Option<String>,
    /// Whose it is: lines of other accounts are left out. Not there: all lines count.
    pub account: Option<String>,
}

/// What a line and its charge have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MatchedBy {
    /// A column with the reservation's id, which is the charge's.
    Reservation(String),
    /// A column with the request's id, as the gateway or the caller named it.
    Request(String),
    /// The columns for account and time beside this one for the endpoint; times may be that many seconds apart.
    Endpoint { column: String, apart_seconds_max: u32 },
}

/// A file and how to read it.
#[derive(Debug, Clone)]
pub struct TheirFile {
    pub path: PathBuf,
    pub delimiter: u8,
    pub columns: Columns,
}

impl TheirFile {
    pub const fn matched_by(&self) -> &MatchedBy {
        &self.columns.matched_by
    }
}

/// Where the columns stand.
struct Places {
    key: usize,
    amount: Option<usize>,
    time: Option<usize>,
    account: Option<usize>,
}

impl Places {
    fn find(header: &ByteRecord, columns: &Columns) -> Result<Places, FileError> {
        let names: Vec<String> = header
            .iter()
            .map(|name| {
                String::from_utf8_lossy(name)
                    .trim_start_matches('\u{feff}')
                    .trim()
                    .to_owned()
            })
            .collect();
        let find = |column: &String| {
            let mut places = names.iter().enumerate().filter(|(_, name)| *name == column);
            match (places.next(), places.next()) {
                (Some((place, _)), None) => Ok(place),
                (Some(_), Some(_)) => Err(FileError::ColumnTwice { column: column.clone() }),
                (None, _) => Err(FileError::NoColumn {
                    column: column.clone(),
                    there: names.join(", "),
                }),
            }
        };
        let (MatchedBy::Reservation(key) | MatchedBy::Request(key) | MatchedBy::Endpoint { column: key, .. }) =
            &columns.matched_by;
        Ok(Places {
            key: find(key)?,
            amount: columns.amount.as_ref().map(find).transpose()?,
            time: columns.time.as_ref().map(find).transpose()?,
            account: columns.account.as_ref().map(find).transpose()?,
        })
    }
}

/// A line that takes part. Micros; `at` is 0 where no column says it.
struct Line {
    key: String,
    at: i64,
    number: u64,
    amount: Option<i64>,
}

/// What may take part.
struct Scope<'a> {
    columns: &'a Columns,
    places: Places,
    accounts: &'a [AccountId],
    around: Around,
}

impl Scope<'_> {
    /// The line of a record. `None`: it is left out.
    fn line(&self, record: &ByteRecord, number: u64) -> Result<Option<Line>, FileError> {
        let text = |place: usize, column: &str| {
            let bytes = record.get(place).unwrap_or_default();
            std::str::from_utf8(bytes)
                .map(str::trim)
                .map_err(|_| FileError::BadValue {
                    line: number,
                    column: column.to_owned(),
                    what: "is not UTF-8",
                })
        };
        let bad = |column: &str, what| FileError::BadValue {
            line: number,
            column: column.to_owned(),
            what,
        };
        let mut at = 0;
        if let (Some(place), Some(column)) = (self.places.time, &self.columns.time) {
            let moment: Moment = text(place, column)?
                .parse()
                .map_err(|_| bad(column, "is no time of RFC 3339"))?;
            if moment.0 < self.around.from() || moment.0 >= self.around.to() {
                return Ok(None);
            }
            at = moment.0.micros();
        }
        let mut whose = None;
        if let (Some(place), Some(column)) = (self.places.account, &self.columns.account) {
            let account: AccountId = text(place, column)?
                .parse()
                .map_err(|_| bad(column, "is no account's id"))?;
            if !self.accounts.is_empty() && !self.accounts.contains(&account) {
                return Ok(None);
            }
            whose = Some(account);
        }
        let mut amount = None;
        if let (Some(place), Some(column)) = (self.places.amount, &self.columns.amount) {
            let text = text(place, column)?;
            amount = match text {
                "" => Some(0),
                _ => {
                    let credits: Credits = text.parse().map_err(|_| bad(column, "is no amount of credits"))?;
                    Some(credits.micros())
                }
            };
        }
        let key = match &self.columns.matched_by {
            MatchedBy::Reservation(column) => {
                let text = text(self.places.key, column)?;
                // Whatever was refused before anything was held has no reservation, and no charge either.
                if text.is_empty() && amount.is_none_or(|amount| amount == 0) {
                    return Ok(None);
                }
                let id: ReservationId = text.parse().map_err(|_| bad(column, "is no reservation's id"))?;
                id.to_string()
            }
            MatchedBy::Request(column) => {
                let text = text(self.places.key, column)?;
                if text.is_empty() {
                    if amount.is_none_or(|amount| amount == 0) {
                        return Ok(None);
                    }
                    return Err(bad(column, "is empty"));
                }
                text.to_owned()
            }
            MatchedBy::Endpoint { column, .. } => {
                let text = text(self.places.key, column)?;
                // Without an id nothing tells it from a line beside it that did cost something.
                if amount == Some(0) || (text.is_empty() && amount.is_none()) {
                    return Ok(None);
                }
                let endpoint = Endpoint::parse(text).map_err(|_| bad(column, "is no endpoint's name"))?;
                let account = whose.map(|account| account.to_string()).unwrap_or_default();
                format!("{account} {}", endpoint.as_str())
            }
        };
        Ok(Some(Line {
            key,
            at,
            number,
            amount,
        }))
    }
}

/// Sends the lines that take part to the table `theirs`.
pub(super) async fn load(
    connection: &mut PgConnection,
    file: &TheirFile,
    accounts: &[AccountId],
    around: Around,
    compared: &mut Compared,
) -> Result<(), ReconcileError> {
    let unreadable = |error| FileError::Unreadable {
        path: file.path.clone(),
        error,
    };
    let opened = File::open(&file.path).map_err(unreadable)?;
    let mut reader = ReaderBuilder::new()
        .delimiter(file.delimiter)
        .has_headers(true)
        .from_reader(Bounded::new(opened));
    let header = reader.byte_headers().cloned();
    let header = header.map_err(|error| malformed(&error, 1, reader.get_ref()))?;
    let places = Places::find(&header, &file.columns)?;
    let scope = Scope {
        columns: &file.columns,
        places,
        accounts,
        around,
    };
    let mut record = ByteRecord::new();
    let mut lines = Vec::with_capacity(LINES_AT_ONCE);
    loop {
        let number = reader.position().line();
        reader.get_mut().begin_line();
        let read = reader.read_byte_record(&mut record);
        if !read.map_err(|error| malformed(&error, number, reader.get_ref()))? {
            break;
        }
        let number = record.position().map_or(number, csv::Position::line);
        if record.as_slice().len() > LINE_BYTES_MAX {
            return Err(FileError::Malformed {
                line: number,
                what: "is longer than 64 KiB: is a quote left open?".to_owned(),
            }
            .into());
        }
        compared.lines += 1;
        match scope.line(&record, number)? {
            Some(line) => lines.push(line),
            None => compared.left_out += 1,
        }
        if lines.len() == LINES_AT_ONCE {
            send(connection, &mut lines).await?;
        }
    }
    send(connection, &mut lines).await
}

/// A file of which so much is read for a line and no more.
struct Bounded {
    file: File,
    left: usize,
}

impl Bounded {
    const fn new(file: File) -> Bounded {
        Bounded {
            file,
            left: READ_BYTES_MAX,
        }
    }

    const fn begin_line(&mut self) {
        self.left = READ_BYTES_MAX;
    }
}

impl Read for Bounded {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            return Err(std::io::Error::other("the line is too long"));
        }
        let most = bytes.len().min(self.left);
        let read = self.file.read(bytes.get_mut(..most).unwrap_or_default())?;
        self.left = self.left.saturating_sub(read);
        Ok(read)
    }
}

/// What is wrong with the line that began there.
fn malformed(error: &csv::Error, began: u64, file: &Bounded) -> FileError {
    let line = error.position().map_or(began, csv::Position::line);
    let what = if error.is_io_error() && file.left == 0 {
        "is longer than 1 MiB: is a quote left open?".to_owned()
    } else {
        what_is_wrong(error)
    };
    FileError::Malformed { line, what }
}

fn what_is_wrong(error: &csv::Error) -> String {
    if let csv::ErrorKind::UnequalLengths { expected_len, len, .. } = error.kind() {
        return format!("has {len} columns where the file has {expected_len}");
    }
    error.to_string()
}

async fn send(connection: &mut PgConnection, lines: &mut Vec<Line>) -> Result<(), ReconcileError> {
    let keys: Vec<&str> = lines.iter().map(|line| line.key.as_str()).collect();
    let ats: Vec<i64> = lines.iter().map(|line| line.at).collect();
    let numbers: Vec<i64> = lines.iter().map(|line| bigint(line.number)).collect();
    let amounts: Vec<Option<i64>> = lines.iter().map(|line| line.amount).collect();
    sqlx::query("insert into theirs (key, at, n, amount) select * from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])")
        .bind(keys)
        .bind(ats)
        .bind(numbers)
        .bind(amounts)
        .execute(connection)
        .await?;
    lines.clear();
    Ok(())
}

/// A moment of micros, where there is one.
pub(super) fn moment(micros: i64) -> Option<Timestamp> {
    Timestamp::from_micros(micros).filter(|moment| *moment != Timestamp::EPOCH)
}
