//! A statement as an Apache Parquet file: the columns of the CSV file, with amounts as exact decimals and moments as such.
//!
//! Rows go out in groups, so memory does not grow with the lines. A file that was cut off lacks its footer, and no reader
//! takes it.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use ::parquet::basic::Compression;
use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::parser::parse_message_type;
use keyledger_events::Timestamp;

use super::{Format, Line, Statement, StatementError};

/// Rows that are gathered before they are written.
const ROWS_A_GROUP: usize = 20_000;

impl From<ParquetError> for StatementError {
    fn from(error: ParquetError) -> StatementError {
        StatementError::Unwritten(error.to_string())
    }
}

/// A row: a line, or what was owned at one end of the period.
#[derive(Debug)]
enum Row {
    End {
        at: Timestamp,
        kind: &'static str,
        /// Micro-credits.
        balance: i64,
    },
    Line(Box<Line>),
}

/// A value of a column.
enum Cell<'r> {
    Int(i64),
    Text(Cow<'r, str>),
}

type Read = for<'r> fn(&'r Row) -> Option<Cell<'r>>;

/// A column, as the schema's language says it, and its value in a row.
struct Column {
    says: &'static str,
    required: bool,
    is_text: bool,
    read: Read,
}

const fn text(says: &'static str, read: Read) -> Column {
    Column {
        says,
        required: false,
        is_text: true,
        read,
    }
}

const fn int(says: &'static str, read: Read) -> Column {
    Column {
        says,
        required: false,
        is_text: false,
        read,
    }
}

const fn required(column: Column) -> Column {
    Column {
        required: true,
        ..column
    }
}

fn of_line<'r>(row: &'r Row, read: impl FnOnce(&'r Line) -> Option<Cell<'r>>) -> Option<Cell<'r>> {
    match row {
        Row::Line(line) => read(line),
        Row::End { .. } => None,
    }
}

fn word<'r>(word: impl Into<Cow<'r, str>>) -> Option<Cell<'r>> {
    Some(Cell::Text(word.into()))
}

fn micros(moment: Option<Timestamp>) -> Option<Cell<'static>> {
    moment.map(|moment| Cell::Int(moment.micros()))
}

fn count(count: u64) -> Option<Cell<'static>> {
    i64::try_from(count).ok().map(Cell::Int)
}

static COLUMNS: &[Column] = &[
    required(int("int64 at (TIMESTAMP(MICROS,true))", |row| match row {
        Row::End { at, .. } => micros(Some(*at)),
        Row::Line(line) => micros(Some(line.at)),
    })),
    required(text("binary type (UTF8)", |row| match row {
        Row::End { kind, .. } => word(*kind),
        Row::Line(line) => word(line.kind.as_str()),
    })),
    int("int64 position", |row| of_line(row, |line| count(line.position.0))),
    text("binary id (UTF8)", |row| of_line(row, |line| word(line.id.as_str()))),
    int("int64 credits (DECIMAL(18,6))", |row| {
        of_line(row, |line| Some(Cell::Int(line.amount)))
    }),
    required(int("int64 balance (DECIMAL(18,6))", |row| match row {
        Row::End { balance, .. } => Some(Cell::Int(*balance)),
        Row::Line(line) => Some(Cell::Int(line.balance)),
    })),
    text("binary key_id (UTF8)", |row| {
        of_line(row, |line| word(line.work.as_ref()?.key?.to_string()))
    }),
    text("binary key_name (UTF8)", |row| {
        of_line(row, |line| word(line.work.as_ref()?.key_name.as_deref()?))
    }),
    text("binary channel (UTF8)", |row| {
        of_line(row, |line| word(line.work.as_ref()?.channel))
    }),
    text("binary environment (UTF8)", |row| {
        of_line(row, |line| word(line.work.as_ref()?.environment))
    }),
    text("binary endpoint (UTF8)", |row| {
        of_line(row, |line| word(line.work.as_ref()?.endpoint.as_str()))
    }),
    int("int64 quantity", |row| {
        of_line(row, |line| count(line.work.as_ref()?.quantity?))
    }),
    int("int64 unit_price (DECIMAL(18,6))", |row| {
        of_line(row, |line| Some(Cell::Int(line.work.as_ref()?.unit_price.micros())))
    }),
    int("int64 price_version", |row| {
        of_line(row, |line| count(line.work.as_ref()?.price_version))
    }),
    text("binary charge_id (UTF8)", |row| {
        of_line(row, |line| word(line.charge?.to_string()))
    }),
    int("int64 reserved_at (TIMESTAMP(MICROS,true))", |row| {
        of_line(row, |line| micros(line.reserved_at))
    }),
    int("int64 charged_at (TIMESTAMP(MICROS,true))", |row| {
        of_line(row, |line| micros(line.charged_at))
    }),
    text("binary source (UTF8)", |row| {
        of_line(row, |line| word(line.source?.as_str()))
    }),
    text("binary reference (UTF8)", |row| {
        of_line(row, |line| word(line.reference.as_deref()?))
    }),
    text("binary reason (UTF8)", |row| {
        of_line(row, |line| word(line.reason.as_deref()?))
    }),
    int("int64 starts_at (TIMESTAMP(MICROS,true))", |row| {
        of_line(row, |line| micros(line.starts_at))
    }),
    int("int64 expires_at (TIMESTAMP(MICROS,true))", |row| {
        of_line(row, |line| micros(line.expires_at))
    }),
    text("binary actor (UTF8)", |row| {
        of_line(row, |line| word(line.actor.as_str()))
    }),
];

fn schema() -> String {
    let columns: String = COLUMNS
        .iter()
        .map(|column| {
            let kind = if column.required { "required" } else { "optional" };
            format!("{kind} {};", column.says)
        })
        .collect();
    format!("message statement {{ {columns} }}")
}

/// Bytes that the writer has written and that have not gone out.
#[derive(Debug, Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn take(&self) -> Vec<u8> {
        // A write is whole or not there.
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the file.
#[derive(Default)]
pub struct ParquetFile {
    rows: Vec<Row>,
    written: Written,
    writer: Option<SerializedFileWriter<Written>>,
}

impl std::fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetFile")
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

impl ParquetFile {
    /// The name that the format has on the web.
    pub const MEDIA_TYPE: &str = "application/vnd.apache.parquet";

    /// Writes the rows that were gathered as one group.
    fn write_rows(&mut self) -> Result<(), StatementError> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        let mut group = writer.next_row_group()?;
        for column in COLUMNS {
            write_column(&mut group, column, &self.rows)?;
        }
        group.close()?;
        self.rows.clear();
        Ok(())
    }
}

fn write_column(
    group: &mut SerializedRowGroupWriter<'_, Written>,
    column: &Column,
    rows: &[Row],
) -> Result<(), StatementError> {
    let Some(mut writer) = group.next_column()? else {
        return Err(StatementError::Unwritten("the schema has fewer columns".to_owned()));
    };
    let cells: Vec<Option<Cell<'_>>> = rows.iter().map(column.read).collect();
    let there: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let levels = (!column.required).then_some(there.as_slice());
    if column.is_text {
        let values: Vec<ByteArray> = cells
            .iter()
            .filter_map(|cell| match cell {
                Some(Cell::Text(text)) => Some(ByteArray::from(text.as_ref())),
                Some(Cell::Int(_)) | None => None,
            })
            .collect();
        writer.typed::<ByteArrayType>().write_batch(&values, levels, None)?;
    } else {
        let values: Vec<i64> = cells
            .iter()
            .filter_map(|cell| match cell {
                Some(Cell::Int(value)) => Some(*value),
                Some(Cell::Text(_)) | None => None,
            })
            .collect();
        writer.typed::<Int64Type>().write_batch(&values, levels, None)?;
    }
    writer.close()?;
    Ok(())
}

impl Format for ParquetFile {
    fn head(&mut self, statement: &Statement) -> Result<Vec<u8>, StatementError> {
        let said = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
        let period = statement.period();
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("keyledger ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(vec![
                said("account", statement.account().to_string()),
                said("name", statement.name().to_owned()),
                said("from", period.from().to_string()),
                said("to", period.to().to_string()),
                said("complete", statement.complete().to_string()),
                said("position", format!("{}:{}", statement.shard(), statement.position())),
            ]))
            .build();
        let schema = Arc::new(parse_message_type(&schema())?);
        let sink = self.written.clone();
        self.writer = Some(SerializedFileWriter::new(sink, schema, Arc::new(properties))?);
        self.rows.push(Row::End {
            at: period.from(),
            kind: "opening",
            balance: statement.opening(),
        });
        Ok(self.written.take())
    }

    fn lines(&mut self, _: &Statement, lines: &[Line]) -> Result<Vec<u8>, StatementError> {
        self.rows
            .extend(lines.iter().map(|line| Row::Line(Box::new(line.clone()))));
        if self.rows.len() >= ROWS_A_GROUP {
            self.write_rows()?;
        }
        Ok(self.written.take())
    }

    fn end(&mut self, statement: &Statement) -> Result<Vec<u8>, StatementError> {
        self.rows.push(Row::End {
            at: statement.period().to(),
            kind: if statement.complete() { "closing" } else { "so-far" },
            balance: statement.closing(),
        });
        self.write_rows()?;
        if let Some(writer) = self.writer.take() {
            writer.close()?;
        }
        Ok(self.written.take())
    }
}
