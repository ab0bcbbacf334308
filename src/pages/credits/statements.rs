//! Statements, a month each, as files.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use keyledger_events::Timestamp;
use serde::Deserialize;

use crate::clock;
use crate::pages::Pages;
use crate::pages::arriving::Arriving;
use crate::pages::fault::Fault;
use crate::pages::moment::month_in_words;
use crate::statements::{CsvFile, Format, Marks, Month, ParquetFile, Statement, StatementError, file_name, pieces};

/// Months that the page offers. The addresses of older ones work too.
const MONTHS_MAX: usize = 12;

/// A month of which there is a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MonthRow {
    /// As the address has it: `2026-11`.
    pub(super) month: String,
    /// `November 2026`.
    pub(super) name: String,
    /// It is not over.
    pub(super) so_far: bool,
}

/// The latest months since the account was opened, this one first.
pub(super) fn months(opened_at: Timestamp, now: Timestamp) -> Vec<MonthRow> {
    let first = Month::of(opened_at).period().from();
    std::iter::successors(Some(Month::of(now)), |month| Some(month.before()))
        .take_while(|month| month.period().from() >= first)
        .take(MONTHS_MAX)
        .map(|month| MonthRow {
            month: month.to_string(),
            name: month_in_words(month.period().from()),
            so_far: month.period().to() > now,
        })
        .collect()
}

/// Of a statement's address.
#[derive(Debug, Deserialize)]
pub(in crate::pages) struct Asked {
    month: Month,
}

impl From<StatementError> for Fault {
    fn from(error: StatementError) -> Fault {
        match error {
            StatementError::Log(error) => error.into(),
            StatementError::Event { .. }
            | StatementError::Fold(_)
            | StatementError::OutOfBounds
            | StatementError::Unwritten(_) => {
                tracing::error!(%error, "a statement could not be made");
                Fault::Internal
            }
        }
    }
}

/// The statement of a month as CSV.
///
/// 200 the file. What breaks on the way breaks the answer off, so that half a file never looks whole. 401 no session.
/// 404 an address of no such file.
pub(in crate::pages) async fn statement_csv(
    State(pages): State<Pages>,
    arriving: Arriving,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Fault> {
    file(&pages, arriving, asked, CsvFile, ("csv", "text/csv; charset=utf-8")).await
}

/// The same as an Apache Parquet file.
pub(in crate::pages) async fn statement_parquet(
    State(pages): State<Pages>,
    arriving: Arriving,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Fault> {
    let kind = ("parquet", ParquetFile::MEDIA_TYPE);
    file(&pages, arriving, asked, ParquetFile::default(), kind).await
}

async fn file<F: Format>(
    pages: &Pages,
    arriving: Arriving,
    asked: Result<Query<Asked>, QueryRejection>,
    format: F,
    (ending, kind): (&str, &'static str),
) -> Result<Response, Fault> {
    let (_, (name, file)) = arriving
        .reads(async |account| {
            let Query(asked) = asked.map_err(|_| Fault::NotFound)?;
            let (period, now) = (asked.month.period(), clock::now());
            let statement = Statement::open(pages.log.clone(), account, period, Marks::Kept, now).await?;
            let statement = statement.ok_or(Fault::NotFound)?;
            let name = file_name(&statement, ending);
            Ok((name, pieces(statement, format).await?))
        })
        .await?;
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_DISPOSITION, disposition.map_err(|_| Fault::Internal)?),
    ];
    Ok((headers, Body::from_stream(file)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_go_back_to_the_one_in_which_the_account_was_opened() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let told = |opened, now| -> Vec<(String, bool)> {
            let months = months(at(opened), at(now)).into_iter();
            months.map(|month| (month.name, month.so_far)).collect()
        };
        assert_eq!(
            told("2025-12-31T23:59:59Z", "2026-02-01T00:00:00Z"),
            [
                ("February 2026".to_owned(), true),
                ("January 2026".to_owned(), false),
                ("December 2025".to_owned(), false)
            ]
        );
        assert_eq!(told("2020-01-01T00:00:00Z", "2026-02-01T00:00:00Z").len(), MONTHS_MAX);
    }
}
