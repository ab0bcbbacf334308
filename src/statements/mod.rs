//! Statements: what an account owned when a period began, every movement in it, and what it owned in the end.
//!
//! In: an account and a period. Out: lines in the order of the log, a bounded number at a time, and what they add up to.
//!
//! Promise: everything comes from the log, so a period that is over has the same statement for ever: opening + the sum of
//! the lines = closing, to the micro-credit. Memory does not grow with the lines.
//!
//! Not here: views, HTTP, who may see it. `keyledger reconcile` compares statements with views.

mod csv;
mod line;
mod parquet;
mod period;
mod pieces;

use std::collections::HashMap;
use std::sync::Arc;

use keyledger_events::{AccountId, Credits, DecodeError, Event, KeyId, Position, Recorded, Seq, Shard, Timestamp};
use keyledger_projections::{FoldError, Movement, Sums, Tally};

use crate::log::{Log, ReadError, Span, StatementMark, Stored};

pub use self::csv::CsvFile;
pub use self::parquet::ParquetFile;
pub use line::{Kind, Line};
pub use period::{Moment, Month, Period};
pub use pieces::{BrokenOff, Format, pieces};

/// Events of an account that are looked at, at once; at most as many lines are in memory.
const EVENTS_AT_ONCE: u64 = 4_000;

/// How far apart marks are that later statements begin from.
const EVENTS_A_MARK: u64 = 5 * EVENTS_AT_ONCE;

/// Names of keys that are read at once.
const NAMES_AT_ONCE: u32 = 1_000;

/// How far the clocks of the processes that write one log may be apart: when nothing was written since, a period is over
/// only so long after its end.
const CLOCKS_APART_SECONDS_MAX: u32 = 300;

/// A statement could not be read on.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error("the event at {position} cannot be read: {error}")]
    Event { position: Position, error: DecodeError },
    #[error(transparent)]
    Fold(#[from] FoldError),
    #[error("an amount is out of its bounds")]
    OutOfBounds,
    #[error("the file cannot be written: {0}")]
    Unwritten(String),
}

/// What a key is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName {
    pub name: Arc<str>,
    pub preview: Arc<str>,
}

/// Whether a statement that passes the place of a mark leaves one there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    Kept,
    /// Only those that are there are used.
    Read,
}

/// A statement that is being read.
#[derive(Debug)]
pub struct Statement {
    log: Log,
    account: AccountId,
    name: String,
    period: Period,
    marks: Marks,
    complete: bool,
    opening: Sums,
    keys: HashMap<KeyId, KeyName>,
    span: Span,
    read: Seq,
    tally: Tally,
}

impl Statement {
    /// Opens the statement of an account: finds its events and adds up what was before. `None`: there is no such account.
    pub async fn open(
        log: Log,
        account: AccountId,
        period: Period,
        marks: Marks,
        now: Timestamp,
    ) -> Result<Option<Statement>, StatementError> {
        let Some(span) = log.span(account, period.from(), period.to()).await? else {
            return Ok(None);
        };
        let over = period.to().plus_seconds(CLOCKS_APART_SECONDS_MAX) <= now;
        let mut statement = Statement {
            account,
            name: String::new(),
            period,
            marks,
            complete: over || span.head.recorded_at >= period.to(),
            opening: Sums::default(),
            keys: HashMap::new(),
            read: span.before,
            tally: Tally::default(),
            span,
            log,
        };
        statement.opening = statement.opened().await?;
        statement.read_names().await?;
        Ok(Some(statement))
    }

    /// What everything before the period adds up to: from the last mark on, leaving more of them behind.
    async fn opened(&self) -> Result<Sums, StatementError> {
        let mut mark = self.log.statement_mark(self.account, self.span.before).await?;
        while mark.seq < self.span.before {
            let (last, movements) = self.movements(mark.seq, self.span.before).await?;
            for movement in &movements {
                mark.sums.take(movement)?;
            }
            mark.seq = last;
            self.keep(mark).await;
        }
        Ok(mark.sums)
    }

    /// The movements among the next events, and the last event that was looked at.
    async fn movements(&self, after: Seq, end: Seq) -> Result<(Seq, Vec<Movement>), StatementError> {
        // Every look ends at a multiple, so that marks are at the same events whoever leaves them.
        let last = Seq((after.0 / EVENTS_AT_ONCE + 1) * EVENTS_AT_ONCE).min(end);
        let types = &Movement::TYPES;
        let stored = self.log.events_of_types(self.account, after, last, types).await?;
        let movements = stored
            .iter()
            .map(|stored| Ok(Movement::of(decoded(stored)?)))
            .filter_map(Result::transpose);
        Ok((last, movements.collect::<Result<_, StatementError>>()?))
    }

    /// Keeps a mark where one has its place. Without it the next statement is slower, and nothing else.
    async fn keep(&self, mark: StatementMark) {
        if self.marks == Marks::Kept
            && mark.seq.0.is_multiple_of(EVENTS_A_MARK)
            && let Err(error) = self.log.keep_statement_mark(self.account, &mark).await
        {
            tracing::warn!(%error, account = %self.account, "a mark for statements was not kept");
        }
    }

    /// What account and keys were called at the end of the period.
    async fn read_names(&mut self) -> Result<(), StatementError> {
        for of_type in [
            "keyledger.AccountOpened.v1",
            "keyledger.AccountRenamed.v1",
            "keyledger.KeyCreated.v1",
            "keyledger.KeyRenamed.v1",
        ] {
            let mut after = Seq::START;
            // An account that was opened later has a name all the same.
            let last = self.span.last.max(Seq(1));
            loop {
                let log = &self.log;
                let page = log.events_of_seldom_type(self.account, after, last, of_type, NAMES_AT_ONCE);
                let page = page.await?;
                let mut named: Vec<Recorded> = page.iter().map(decoded).collect::<Result<_, _>>()?;
                self.log.open(&mut named).await?;
                for recorded in named {
                    after = recorded.seq;
                    self.learn(recorded.event);
                }
                if page.len() < usize::try_from(NAMES_AT_ONCE).unwrap_or(usize::MAX) {
                    break;
                }
            }
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "only events of the types above are read")]
    fn learn(&mut self, event: Event) {
        match event {
            Event::AccountOpened(e) => self.name = e.name.as_str().to_owned(),
            Event::AccountRenamed(e) => self.name = e.name.as_str().to_owned(),
            Event::KeyCreated(e) => {
                let called = KeyName {
                    name: e.name.as_str().into(),
                    preview: e.preview.into(),
                };
                self.keys.insert(e.key, called);
            }
            Event::KeyRenamed(e) => {
                if let Some(key) = self.keys.get_mut(&e.key) {
                    key.name = e.name.as_str().into();
                }
            }
            _ => {}
        }
    }

    /// The next lines, in the order of the log: some, or none yet. `None`: there are no more.
    pub async fn next(&mut self) -> Result<Option<Vec<Line>>, StatementError> {
        if self.read >= self.span.last {
            return Ok(None);
        }
        let (last, movements) = self.movements(self.read, self.span.last).await?;
        let mut lines = Vec::with_capacity(movements.len());
        for movement in movements {
            self.tally.take(&movement)?;
            lines.push(Line::new(movement, self.closing(), &self.keys));
        }
        self.read = last;
        self.keep(StatementMark {
            seq: last,
            sums: self.closing_sums(),
        })
        .await;
        Ok(Some(lines))
    }

    pub fn shard(&self) -> Shard {
        self.log.shard()
    }

    pub fn account(&self) -> AccountId {
        self.account
    }

    /// What the account was called at the end of the period.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn period(&self) -> Period {
        self.period
    }

    /// Whether nothing can be added to the period any more.
    pub fn complete(&self) -> bool {
        self.complete
    }

    /// The account's last event before the end of the period: all up to it is told.
    pub fn position(&self) -> Position {
        self.span.last_position
    }

    /// Where the log ended when the statement was opened.
    pub fn head(&self) -> Position {
        self.span.head.position
    }

    /// What the account owned before the period, in micro-credits.
    pub fn opening(&self) -> i64 {
        self.opening.owned()
    }

    /// What the account owns after the lines that were read so far, in micro-credits.
    pub fn closing(&self) -> i64 {
        self.opening.owned() + self.tally.sums.owned()
    }

    /// The sums of the whole history up to the lines that were read so far.
    pub fn closing_sums(&self) -> Sums {
        let (before, now) = (&self.opening, &self.tally.sums);
        Sums {
            granted: before.granted + now.granted,
            charged: before.charged + now.charged,
            refunded: before.refunded + now.refunded,
            expired: before.expired + now.expired,
            corrected: before.corrected + now.corrected,
        }
    }

    /// What the lines that were read so far add up to.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What a key was called at the end of the period.
    pub fn key_name(&self, key: &KeyId) -> Option<&KeyName> {
        self.keys.get(key)
    }
}

/// `statement-2026-11.csv`, `statement-2026-11-01-to-2026-11-24.csv`: the days that it has.
pub fn file_name(statement: &Statement, ending: &str) -> String {
    let period = statement.period();
    let month = Month::of(period.from());
    if month.period() == period {
        return format!("statement-{month}.{ending}");
    }
    let day = |moment: Timestamp| moment.to_string().chars().take(10).collect::<String>();
    format!("statement-{}-to-{}.{ending}", day(period.from()), day(period.to()))
}

/// Micro-credits as an amount.
pub fn credits(micros: i64) -> Result<Credits, StatementError> {
    Credits::from_micros(micros).ok_or(StatementError::OutOfBounds)
}

fn decoded(stored: &Stored) -> Result<Recorded, StatementError> {
    stored.decode().map_err(|error| StatementError::Event {
        position: stored.position,
        error,
    })
}
