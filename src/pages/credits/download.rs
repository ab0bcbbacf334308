//! The charges as a file for a spreadsheet: RFC 4180, UTF-8, with a line for each.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use csv::{QuoteStyle, Terminator, WriterBuilder};
use futures_util::stream::{self, StreamExt as _};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use keyledger_events::{AccountId, Position};

use super::filter::Look;
use crate::clock;
use crate::pages::Pages;
use crate::pages::arriving::Arriving;
use crate::pages::fault::Fault;
use crate::spreadsheet::cell;
use crate::views::{ChargeLine, ChargeSearch, Page, ViewName, Views};

/// Lines that are read, and kept in memory, at once. However long the file is, no more are.
const LINES_AT_ONCE: u32 = 1_000;

const COLUMNS: usize = 12;
const HEADER: [&str; COLUMNS] = [
    "charged_at",
    "charge_id",
    "key_id",
    "key_name",
    "key_preview",
    "channel",
    "endpoint",
    "quantity",
    "unit_price",
    "credits",
    "refunded",
    "environment",
];

/// All charges that the address asks for, the latest first.
///
/// 200 the file. What breaks on the way breaks the answer off, so that half a file never looks whole. 401 no session.
/// 404 an address of no such file. 503 the view is behind.
pub(in crate::pages) async fn download(
    State(pages): State<Pages>,
    arriving: Arriving,
    look: Result<Query<Look>, QueryRejection>,
) -> Result<Response, Fault> {
    let (viewer, (look, search, first)) = arriving
        .reads(async |account| {
            let Query(look) = look.map_err(|_| Fault::NotFound)?;
            let search = look.search().map_err(|_| Fault::NotFound)?;
            pages.wait_for(ViewName::Charges, look.after).await?;
            let first = piece(&pages.views, account, &search, None).await?;
            Ok((look, search, first))
        })
        .await?;
    let account = viewer.session.account;
    let begun = Piece {
        bytes: [header()?, first.bytes].concat().into(),
        next: first.next,
    };
    let views = pages.views.clone();
    let rest = stream::try_unfold(begun.next, move |next| {
        let (views, search) = (views.clone(), search.clone());
        async move {
            let Some(below) = next else { return Ok(None) };
            let piece = piece(&views, account, &search, Some(below))
                .await
                .map_err(|_| BrokenOff)?;
            Ok(Some((piece.bytes, piece.next)))
        }
    });
    let body = stream::once(async move { Ok::<Bytes, BrokenOff>(begun.bytes) }).chain(rest);
    let name = file_name(&look);
    let disposition =
        HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")).map_err(|_| Fault::Internal)?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// The views could not be read on. The reason is written down where it was met.
#[derive(Debug, thiserror::Error)]
#[error("the file could not be read to its end")]
struct BrokenOff;

/// Some lines, and where the next ones begin.
struct Piece {
    bytes: Bytes,
    next: Option<Position>,
}

async fn piece(
    views: &Views,
    account: AccountId,
    search: &ChargeSearch,
    below: Option<Position>,
) -> Result<Piece, Fault> {
    let lines = views.charge_lines(account, search, LINES_AT_ONCE, below).await?.value;
    let Page { items, next } = lines.ok_or(Fault::Behind)?;
    Ok(Piece {
        bytes: written(items.iter().map(record))?,
        next,
    })
}

/// `credits-2026-11-01-to-2026-11-24.csv`: the days that it has, as far as they were said.
fn file_name(look: &Look) -> String {
    let today: String = clock::now().to_string().chars().take(10).collect();
    let end = if look.to.is_empty() { today } else { look.to.clone() };
    if look.from.is_empty() {
        format!("credits-to-{end}.csv")
    } else {
        format!("credits-{}-to-{end}.csv", look.from)
    }
}

fn header() -> Result<Bytes, Fault> {
    written([HEADER.map(str::to_owned)])
}

/// Numbers stay numbers: none of ours is below zero. Everything else is a text in quotes.
fn record(line: &ChargeLine) -> [String; COLUMNS] {
    let (charge, label) = (&line.charge, line.label.as_ref());
    [
        charge.charged_at.to_string(),
        charge.id.to_string(),
        charge.key.map(|key| key.to_string()).unwrap_or_default(),
        label.map(|label| cell(&label.name)).unwrap_or_default(),
        label.map(|label| cell(&label.preview)).unwrap_or_default(),
        cell(&charge.channel),
        cell(&charge.endpoint),
        charge.quantity.to_string(),
        charge.unit_price.to_string(),
        charge.charged.to_string(),
        charge.refunded.to_string(),
        cell(&charge.environment),
    ]
}

fn written(records: impl IntoIterator<Item = [String; COLUMNS]>) -> Result<Bytes, Fault> {
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .quote_style(QuoteStyle::NonNumeric)
        .from_writer(Vec::new());
    for record in records {
        writer.write_record(record).map_err(|_| Fault::Internal)?;
    }
    let bytes = writer.into_inner().map_err(|_| Fault::Internal)?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_and_numbers_are_not() {
        let mut record = [""; COLUMNS].map(str::to_owned);
        record[3] = cell("=\"a\",\nb");
        record[7] = "2".to_owned();
        record[9] = "0.5".to_owned();
        let bytes = written([record]).unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(
            text,
            "\"\",\"\",\"\",\"'=\"\"a\"\",[U+000A]b\",\"\",\"\",\"\",2,\"\",0.5,\"\",\"\"\r\n"
        );
    }
}
