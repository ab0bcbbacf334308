//! Compares a CSV file of the platform's own, an access log or the lines of an invoice, with the charges in the log.
//!
//! In: the file, which of its columns say what, a period, and accounts. Out: how many lines and charges match, are missing
//! here or there, or differ, and examples of each.
//!
//! Promise: both sides lie in temporary tables of one session, which end with it; both are read in order and once. Memory
//! grows with neither. The charges come from the log, not from a view.

mod file;
mod ledger;
mod merge;

use keyledger_events::{AccountId, Credits, Timestamp};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgConnection};

use super::ReconcileError;
use crate::statements::Period;
pub use file::{Columns, FileError, MatchedBy, TheirFile};

/// A line of the file or a charge of the ledger, as examples show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub what: Found,
    /// What both are found by: a reservation, a request, or account and endpoint.
    pub key: String,
    /// Of the file.
    pub line: Option<u64>,
    /// Of the log.
    pub position: Option<u64>,
    pub at: Option<Timestamp>,
    /// Credits, as the file says them.
    pub theirs: Option<Credits>,
    /// Credits that were charged.
    pub ours: Option<Credits>,
}

/// What was found of a line or a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A line of which the ledger has no charge.
    MissingHere,
    /// A charge of which the file has no line.
    MissingThere,
    /// Both are there, and the amounts are not the same.
    Different,
    /// A line that says the same again as one before it.
    Repeated,
}

impl Found {
    pub const fn as_str(self) -> &'static str {
        match self {
            Found::MissingHere => "missing-here",
            Found::MissingThere => "missing-there",
            Found::Different => "different",
            Found::Repeated => "repeated",
        }
    }
}

/// How the file and the ledger compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// Lines of the file, its head not counted.
    pub lines: u64,
    /// Lines outside of the period, of other accounts, or of work that was never held and cost nothing.
    pub left_out: u64,
    /// Charges of the ledger that are more than nothing.
    pub charges: u64,
    pub matched: u64,
    pub missing_here: u64,
    pub missing_there: u64,
    pub different: u64,
    pub repeated: u64,
    /// Micro-credits of all lines that are not left out, where a column says them.
    pub theirs: i128,
    /// Micro-credits of all charges.
    pub ours: i128,
    /// The first of each kind, in their order.
    pub examples: Vec<Example>,
}

impl Compared {
    /// Whether every line has its charge and every charge its line.
    pub const fn is_equal(&self) -> bool {
        self.missing_here + self.missing_there + self.different + self.repeated == 0
    }
}

/// What is compared, and what is looked at around it: a line and its charge may stand on either side of a border.
#[derive(Debug, Clone, Copy)]
struct Around {
    period: Period,
    margin_seconds: u32,
}

/// A hold lasts that long at most, so a request is no longer before its charge.
const HOLD_SECONDS_MAX: u32 = 24 * 3_600;

impl Around {
    fn of(columns: &Columns, period: Period) -> Around {
        let margin_seconds = match (&columns.time, &columns.matched_by) {
            (Some(_), MatchedBy::Reservation(_) | MatchedBy::Request(_)) => HOLD_SECONDS_MAX,
            // Without times of their own all lines are of the period; and where nothing but the time tells which charge is whose, one
            // from beyond the border would be taken for another.
            (None, _) | (Some(_), MatchedBy::Endpoint { .. }) => 0,
        };
        Around { period, margin_seconds }
    }

    fn from(&self) -> Timestamp {
        self.period.from().minus_seconds(self.margin_seconds)
    }

    fn to(&self) -> Timestamp {
        self.period.to().plus_seconds(self.margin_seconds)
    }

    /// Whether what happened at so many micros is of the period.
    fn holds(&self, at: i64) -> bool {
        self.period.from().micros() <= at && at < self.period.to().micros()
    }
}

/// Compares a file with the charges of a period: of all accounts where none is named. A line that is matched by an id is of the
/// period that its charge is of.
pub async fn compare(
    database_url: &str,
    their_file: &TheirFile,
    accounts: &[AccountId],
    period: Period,
    examples_max: usize,
) -> Result<Compared, ReconcileError> {
    let mut connection = PgConnection::connect(database_url).await?;
    let pool = PgPoolOptions::new().max_connections(1).connect(database_url).await?;
    for statement in TABLES {
        sqlx::query(statement).execute(&mut connection).await?;
    }
    let mut compared = Compared::default();
    let around = Around::of(&their_file.columns, period);
    file::load(&mut connection, their_file, accounts, around, &mut compared).await?;
    ledger::load(&mut connection, &pool, their_file.matched_by(), accounts, around).await?;
    for statement in INDEXES.into_iter().chain(TOP_UPS) {
        sqlx::query(statement).execute(&mut connection).await?;
    }
    merge::merge(&mut connection, their_file, around, examples_max, &mut compared).await?;
    Ok(compared)
}

/// Byte order, as programs compare. `amount` is micro-credits; a null in `theirs` says nothing of it.
const TABLES: [&str; 3] = [
    "create temporary table theirs (key text collate \"C\" not null, at bigint not null, n bigint not null, amount bigint)",
    "create temporary table ours (key text collate \"C\", at bigint not null, n bigint not null, amount bigint not null,
                                  reservation uuid not null, beside uuid not null,
                                  own_key text collate \"C\" not null)",
    "create temporary table requests (reservation uuid not null, request text not null)",
];

const INDEXES: [&str; 3] = [
    "create index on theirs (key, at, n)",
    "create index on ours (key, at, n)",
    "analyze theirs, ours",
];

/// A charge and its top-up are one delivery: one line of an access log tells both, unless a line of its own tells the top-up.
const TOP_UPS: [&str; 3] = [
    "create temporary table top_ups as
         select main.n as main, top_up.n as top_up, top_up.amount from ours main
         join ours top_up on top_up.reservation = main.beside and top_up.at = main.at and top_up.n > main.n
         where not exists (select from theirs where theirs.key = top_up.own_key)",
    "update ours set amount = ours.amount + top_ups.amount from top_ups where ours.n = top_ups.main",
    "delete from ours using top_ups where ours.n = top_ups.top_up",
];
