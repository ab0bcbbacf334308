//! Statements: an account's credits over a period, every movement with its place in the log.

mod asked;
mod document;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, VARY};
use keyledger_events::AccountId;

use super::answer::{Failure, position_value};
use super::extract::{Allowed, InPath, InQuery, Read};
use super::look::in_this_log;
use super::place::{LEDGER_POSITION, Place};
use super::{App, problems};
use crate::clock;
use crate::problem::Problem;
use crate::statements::{CsvFile, Format, Marks, ParquetFile, Statement, StatementError, file_name, pieces};
use asked::{Accepted, StatementQuery, Written};
use document::{Document, StatementBody};

impl From<StatementError> for Problem {
    fn from(error: StatementError) -> Problem {
        match error {
            StatementError::Log(error) => error.into(),
            StatementError::Event { .. }
            | StatementError::Fold(_)
            | StatementError::OutOfBounds
            | StatementError::Unwritten(_) => {
                tracing::error!(%error, "a statement could not be made");
                problems::internal()
            }
        }
    }
}

/// Shows an account's statement for a period: what it owned before, every grant, charge, refund, expiry and correction in the
/// order of the log, what they add up to by key, endpoint and day, and what it owned after.
///
/// What an account owns is what is available to it, bound to endpoints or given for later, and what is held for it: a hold
/// moves nothing, its charge does. Everything is read from the log, so the statement of a period that is over
/// (`complete`) is the same for ever. The CSV file has a record for each line between one of type `opening` and one of type
/// `closing` or, where the period is not over, `so-far`; without the last one it was cut off. The Parquet file has the same
/// columns as CSV but the shard, with decimals and moments as such.
///
/// 200 the statement, in pieces as it is read. 400 a position that is none. 404 no such account. 422 a parameter is not
/// acceptable. 503 the log has not reached `after`.
#[utoipa::path(get, path = "/v1/accounts/{account}/statement", tag = "credits", params(StatementQuery), responses(
    (status = 200, description = "The statement.", content(
        (StatementBody = "application/json"),
        (String = "text/csv"),
        (String = "application/vnd.apache.parquet"),
    )),
))]
pub(super) async fn show_statement(
    State(app): State<App>,
    _: Allowed<Read>,
    InPath(account): InPath<AccountId>,
    InQuery(query): InQuery<StatementQuery>,
    accepted: Accepted,
) -> Result<Response, Failure> {
    let now = clock::now();
    let (period, written) = (query.period(now)?, query.written(accepted)?);
    if let Some(after) = query.after {
        in_this_log(&app, after)?;
    }
    let statement = Statement::open(app.log.clone(), account, period, Marks::Kept, now).await?;
    let statement = statement.ok_or_else(Problem::unknown_account)?;
    if query.after.is_some_and(|after| after.position > statement.head()) {
        return Err(problems::view_behind().into());
    }
    let place = Place {
        shard: statement.shard(),
        position: statement.head(),
    };
    let mut response = match written {
        Written::Json => body(statement, Document::new(query.lines.unwrap_or(true))).await?,
        Written::Csv => {
            let name = file_name(&statement, "csv");
            let response = body(statement, CsvFile).await?;
            attached(response, "text/csv; charset=utf-8", &name)?
        }
        Written::Parquet => {
            let name = file_name(&statement, "parquet");
            let response = body(statement, ParquetFile::default()).await?;
            attached(response, ParquetFile::MEDIA_TYPE, &name)?
        }
    };
    let headers = response.headers_mut();
    headers.insert(LEDGER_POSITION, position_value(place));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

async fn body<F: Format>(statement: Statement, format: F) -> Result<Response, StatementError> {
    let pieces = pieces(statement, format).await?;
    let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((json, Body::from_stream(pieces)).into_response())
}

/// As a file to keep.
fn attached(mut response: Response, kind: &'static str, name: &str) -> Result<Response, Problem> {
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_DISPOSITION, disposition.map_err(|_| problems::internal())?);
    Ok(response)
}
