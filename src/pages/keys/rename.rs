//! Another name for a key.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;
use keyledger_events::KeyName;

use super::key_to_change;
use super::row::Row;
use crate::http::Place;
use crate::ledger::RenameKey;
use crate::pages::Pages;
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Frame, Root};
use crate::pages::posted::Change;
use crate::pages::viewer::Viewer;

#[derive(Template)]
#[template(path = "rename_key.html")]
struct RenamePage<'a> {
    frame: Frame<'a>,
    key: Row,
    name: String,
    error: Option<String>,
}

/// Asks for the new name. 200. 404 no such key of this account. 410 it is deleted.
pub(in crate::pages) async fn ask_new_name(
    State(pages): State<Pages>,
    viewer: Viewer,
    root: Root,
    Path(key): Path<String>,
) -> Result<Response, Fault> {
    let key = key_to_change(&pages, &viewer, &key).await?;
    let shown = RenamePage {
        frame: Frame::inside(&pages, root, "keys", "Rename a key", &viewer).await?,
        name: key.given.clone(),
        key,
        error: None,
    };
    page(StatusCode::OK, &shown)
}

/// Renames. 303 to the list, which has the new name. 404 no such key of this account. 409 it is deleted. 422 the name
/// cannot be taken.
pub(in crate::pages) async fn rename(
    State(pages): State<Pages>,
    root: Root,
    Path(text): Path<String>,
    Change(posted): Change,
) -> Result<Response, Fault> {
    let account = posted.viewer.session.account;
    let key = text.parse().map_err(|_| Fault::NotFound)?;
    let name = match KeyName::parse(&posted.fields.name) {
        Ok(name) => name,
        Err(error) => {
            let shown = RenamePage {
                frame: Frame::inside(&pages, root, "keys", "Rename a key", &posted.viewer).await?,
                key: key_to_change(&pages, &posted.viewer, &text).await?,
                name: posted.fields.name,
                error: Some(format!("The name {error}.")),
            };
            return page(StatusCode::UNPROCESSABLE_ENTITY, &shown);
        }
    };
    let answer = pages
        .ledger
        .submit(RenameKey { account, key, name }, posted.viewer.by())
        .await?;
    let after = Place {
        shard: answer.shard,
        position: answer.position,
    };
    Ok(Redirect::to(&format!("../../keys?after={after}&done=renamed#{key}")).into_response())
}
