//! The end of a key, after a question that names it.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;
use keyledger_events::DeleteReason;

use super::asked_about;
use super::row::Row;
use crate::http::Place;
use crate::ledger::DeleteKey;
use crate::pages::Pages;
use crate::pages::arriving::Arriving;
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Frame, Root};
use crate::pages::posted::Change;

#[derive(Template)]
#[template(path = "delete_key.html")]
struct DeletePage<'a> {
    frame: Frame<'a>,
    key: Row,
}

/// Asks whether it is meant. 200. 401 no session. 403 a session that may only look. 404 no such key of this account. 410 it is deleted already.
pub(in crate::pages) async fn ask_to_delete(
    State(pages): State<Pages>,
    arriving: Arriving,
    root: Root,
    Path(key): Path<String>,
) -> Result<Response, Fault> {
    let (viewer, around, key) = asked_about(&pages, arriving, &key).await?;
    let frame = Frame::inside(&pages, root, "keys", "Delete a key", &viewer, around)?;
    page(StatusCode::OK, &DeletePage { frame, key })
}

/// Deletes, at once. 303 to the list, which has it no more. 404 no such key of this account.
pub(in crate::pages) async fn delete(
    State(pages): State<Pages>,
    Path(key): Path<String>,
    Change(posted): Change,
) -> Result<Response, Fault> {
    let command = DeleteKey {
        account: posted.viewer.session.account,
        key: key.parse().map_err(|_| Fault::NotFound)?,
        reason: match posted.fields.compromised {
            Some(_) => DeleteReason::Compromised,
            None => DeleteReason::Requested,
        },
    };
    let answer = pages.ledger.submit(command, posted.viewer.by()).await?;
    let after = Place {
        shard: answer.shard,
        position: answer.position,
    };
    Ok(Redirect::to(&format!("../../keys?after={after}&done=deleted")).into_response())
}
