//! How each view's changes become rows: one multi-row statement a table and kind of change.

mod balance;
mod charges;
mod key_list;
mod notices;
mod plans;
mod reservations;
mod usage;

use std::time::Duration;

use keyledger_projections::Changes;
use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr as _, SqlStr};

pub(super) use balance::Balance;
pub(super) use charges::Charges;
pub(super) use key_list::KeyList;
pub(super) use notices::Notices;
pub(super) use reservations::Reservations;
pub(super) use usage::Usage;

use super::view::View;

/// A view's tables.
pub(super) trait Table: Send + Sync + 'static {
    type Changes: Changes + Send;
    const VIEW: View;
    /// While the log is busy, batches begin this far apart: fewer and larger ones write each row, and the checkpoint, less
    /// often. What comes after a quiet time is written at once.
    const BATCH_EVERY: Duration = Duration::from_millis(20);
    /// Changed rows that a rebuild keeps in memory before it writes them: some megabytes. A view with fewer rows is written
    /// once, however long the log is.
    const ROWS_IN_MEMORY_MAX: usize = 20_000;
    /// Each table of the view in schema `views`, with the columns that name a row.
    const TABLES: &'static [Named];

    /// Writes the changes, inside the caller's SQL transaction.
    fn write(
        connection: &mut PgConnection,
        generation: Generation,
        changes: Self::Changes,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;
}

pub(super) struct Named {
    pub(super) table: &'static str,
    pub(super) key: &'static str,
    /// The next generation's rows are told apart when one is first looked for, or at the end: an index that is made of all rows
    /// is cheaper than one that grows by each.
    pub(super) keyed_late: bool,
}

/// Which set of rows: those that queries read, or those that a rebuild folds beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generation {
    Live,
    Next,
}

impl Generation {
    /// A statement on the live tables, turned to this generation's: the same tables in another schema.
    pub(super) fn sql(self, live: &'static str) -> SqlStr {
        match self {
            Generation::Live => live.into_sql_str(),
            Generation::Next => AssertSqlSafe(live.replace("views.", "views_next.")).into_sql_str(),
        }
    }
}

/// Why changes were not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// The world: nothing was written, try again.
    #[error("{0}")]
    Database(sqlx::Error),
    /// The rows do not take these changes, however often they are tried.
    #[error("{0}")]
    DoesNotFit(String),
}

impl From<sqlx::Error> for WriteError {
    /// Integrity violations (class 23) and values out of range (class 22) are the rows' own no.
    fn from(error: sqlx::Error) -> WriteError {
        let code = error
            .as_database_error()
            .and_then(|refusal| refusal.code())
            .map(|code| code.into_owned());
        match code {
            Some(code) if code.starts_with("23") || code.starts_with("22") => WriteError::DoesNotFit(error.to_string()),
            Some(_) | None => WriteError::Database(error),
        }
    }
}

/// Tells the rows of the next generation apart from here on, unless that is so already.
pub(super) async fn make_key(
    connection: &mut PgConnection,
    Named { table, key, .. }: &Named,
) -> Result<(), WriteError> {
    let is_there = format!(
        "select exists (select from pg_index where indrelid = 'views_next.{table}'::regclass and indisprimary)"
    );
    if !sqlx::query_scalar(AssertSqlSafe(is_there))
        .fetch_one(&mut *connection)
        .await?
    {
        let make = format!("alter table views_next.{table} add primary key ({key})");
        sqlx::query(AssertSqlSafe(make)).execute(connection).await?;
    }
    Ok(())
}

/// Every change must have met its row.
fn all_met(met: u64, changes: usize, what: &str) -> Result<(), WriteError> {
    if usize::try_from(met) == Ok(changes) {
        Ok(())
    } else {
        Err(WriteError::DoesNotFit(format!(
            "{changes} {what} should change, {met} did"
        )))
    }
}
