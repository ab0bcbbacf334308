//! Who was let in and what was published: the system's own history, in plain words.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use keyledger_events::{AccountId, Event, Position};
use serde::Deserialize;

use super::Operator;
use crate::clock;
use crate::log::HistorySearch;
use crate::pages::Pages;
use crate::pages::activity::{Line, Word, of_the_system};
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Frame, Root};

const LINES_A_PAGE: u32 = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Look {
    /// Go on with what is older than the event here.
    before: Option<Position>,
}

#[derive(Template)]
#[template(path = "operator_access.html")]
struct AccessPage<'a> {
    frame: Frame<'a>,
    lines: Vec<Line>,
    older: Option<Position>,
    first: bool,
}

/// Tokens made and revoked, people invited, prices published, the newest first. 200. 401 no operator. 404 no such address.
pub(super) async fn show(
    State(pages): State<Pages>,
    operator: Operator,
    root: Root,
    look: Result<Query<Look>, QueryRejection>,
) -> Result<Response, Fault> {
    let Query(look) = look.map_err(|_| Fault::NotFound)?;
    let search = HistorySearch {
        account: AccountId::SYSTEM,
        key: None,
        types: Event::TYPES,
    };
    let history = pages.log.history(&search, look.before, LINES_A_PAGE).await?;
    let shown = AccessPage {
        frame: operator.frame(&pages, root, "access", "Access"),
        lines: of_the_system(&history.events, clock::now())?,
        older: history.older_than,
        first: look.before.is_none(),
    };
    page(StatusCode::OK, &shown)
}
