//! A statement as a file for a spreadsheet: RFC 4180, UTF-8, first what was owned before, then a record for each line, last
//! what is owned. A file without its last record was cut off.

use csv::{QuoteStyle, Terminator, WriterBuilder};
use keyledger_events::Timestamp;

use super::{Format, Line, Statement, StatementError, credits};
use crate::spreadsheet::cell;

const COLUMNS: usize = 24;
const HEADER: [&str; COLUMNS] = [
    "at",
    "type",
    "shard",
    "position",
    "id",
    "credits",
    "balance",
    "key_id",
    "key_name",
    "channel",
    "environment",
    "endpoint",
    "quantity",
    "unit_price",
    "price_version",
    "charge_id",
    "reserved_at",
    "charged_at",
    "source",
    "reference",
    "reason",
    "starts_at",
    "expires_at",
    "actor",
];

type Record = [String; COLUMNS];

/// Writes the file. Its last record is `closing`, or `so-far` where the period is not over.
#[derive(Debug, Clone, Copy, Default)]
pub struct CsvFile;

/// Micro-credits in decimal: a number to every spreadsheet, below zero too.
fn decimal(micros: i64) -> Result<String, StatementError> {
    Ok(credits(micros)?.to_string())
}

impl Format for CsvFile {
    fn head(&mut self, statement: &Statement) -> Result<Vec<u8>, StatementError> {
        let opening = bounding(statement.period().from(), "opening", statement.opening())?;
        written([HEADER.map(str::to_owned), opening])
    }

    fn lines(&mut self, statement: &Statement, lines: &[Line]) -> Result<Vec<u8>, StatementError> {
        let shard = statement.shard().to_string();
        let records: Vec<Record> = lines
            .iter()
            .map(|line| record(line, &shard))
            .collect::<Result<_, _>>()?;
        written(records)
    }

    fn end(&mut self, statement: &Statement) -> Result<Vec<u8>, StatementError> {
        let kind = if statement.complete() { "closing" } else { "so-far" };
        let mut closing = bounding(statement.period().to(), kind, statement.closing())?;
        closing[2] = statement.shard().to_string();
        closing[3] = statement.position().to_string();
        written([closing])
    }
}

fn bounding(at: Timestamp, kind: &str, balance: i64) -> Result<Record, StatementError> {
    let mut record = Record::default();
    record[0] = at.to_string();
    kind.clone_into(&mut record[1]);
    record[6] = decimal(balance)?;
    Ok(record)
}

/// What somebody chose cannot be taken for a formula; numbers stay numbers.
fn record(line: &Line, shard: &str) -> Result<Record, StatementError> {
    let work = line.work.as_ref();
    let time = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string()).unwrap_or_default();
    let text = |text: Option<&str>| text.map(cell).unwrap_or_default();
    Ok([
        line.at.to_string(),
        line.kind.as_str().to_owned(),
        shard.to_owned(),
        line.position.to_string(),
        line.id.clone(),
        decimal(line.amount)?,
        decimal(line.balance)?,
        work.and_then(|work| work.key)
            .map(|key| key.to_string())
            .unwrap_or_default(),
        text(work.and_then(|work| work.key_name.as_deref())),
        work.map(|work| work.channel.to_owned()).unwrap_or_default(),
        work.map(|work| work.environment.to_owned()).unwrap_or_default(),
        text(work.map(|work| work.endpoint.as_str())),
        work.and_then(|work| work.quantity)
            .map(|units| units.to_string())
            .unwrap_or_default(),
        work.map(|work| work.unit_price.to_string()).unwrap_or_default(),
        work.map(|work| work.price_version.to_string()).unwrap_or_default(),
        line.charge.map(|charge| charge.to_string()).unwrap_or_default(),
        time(line.reserved_at),
        time(line.charged_at),
        line.source.map(|source| source.as_str().to_owned()).unwrap_or_default(),
        text(line.reference.as_deref()),
        text(line.reason.as_deref()),
        time(line.starts_at),
        time(line.expires_at),
        line.actor.clone(),
    ])
}

fn written(records: impl IntoIterator<Item = Record>) -> Result<Vec<u8>, StatementError> {
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .quote_style(QuoteStyle::NonNumeric)
        .from_writer(Vec::new());
    for record in records {
        // A Vec takes every record.
        writer.write_record(record).map_err(|_| StatementError::OutOfBounds)?;
    }
    writer.into_inner().map_err(|_| StatementError::OutOfBounds)
}
