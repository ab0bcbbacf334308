//! Another name for a key.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;
use keyledger_events::KeyName;

use super::row::Row;
use super::{asked_about, key_to_change};
use crate::http::Place;
use crate::ledger::RenameKey;
use crate::pages::Pages;
use crate::pages::arriving::Arriving;
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Around, Frame, Root};
use crate::pages::posted::Change;

#[derive(Template)]
#[template(path = "rename_key.html")]
struct RenamePage<'a> {
    frame: Frame<'a>,
    key: Row,
    name: String,
    error: Option<String>,
}

/// Asks for the new name. 200. 401 no session. 403 a session that may only look. 404 no such key of this account. 410 it is deleted.
pub(in crate::pages) async fn ask_new_name(
    State(pages): State<Pages>,
    arriving: Arriving,
    root: Root,
    Path(key): Path<String>,
) -> Result<Response, Fault> {
    let (viewer, around, key) = asked_about(&pages, arriving, &key).await?;
    let shown = RenamePage {
        frame: Frame::inside(&pages, root, "keys", "Rename a key", &viewer, around)?,
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
            let (around, key) = tokio::try_join!(Around::of(&pages, account), key_to_change(&pages, account, &text))?;
            let shown = RenamePage {
                frame: Frame::inside(&pages, root, "keys", "Rename a key", &posted.viewer, around)?,
                key,
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
