//! API access: the account's keys, and what a person may do with them.

mod create;
mod delete;
mod limits;
mod list;
mod month;
mod rename;
mod rotate;
mod row;
mod show;

pub(super) use create::{ask_name, create};
pub(super) use delete::{ask_to_delete, delete};
pub(super) use list::list;
pub(super) use rename::{ask_new_name, rename};
pub(super) use rotate::{ask_to_rotate, rotate};
pub(super) use show::{limit, show};

use keyledger_events::{AccountId, KeyId};

use super::Pages;
use super::arriving::Arriving;
use super::fault::Fault;
use super::frame::Around;
use super::viewer::Viewer;
use crate::clock;
use crate::views::KeyState;
use row::Row;

/// The key that somebody is about to change: the account's, and still working. 404 not the account's, or none. 410 deleted
/// or expired.
async fn key_to_change(pages: &Pages, account: AccountId, text: &str) -> Result<Row, Fault> {
    let id: KeyId = text.parse().map_err(|_| Fault::NotFound)?;
    let key = pages.views.key(account, id).await?.value;
    let (key, now) = (key.ok_or(Fault::NotFound)?, clock::now());
    match key.state(now) {
        KeyState::Active => Ok(Row::new(key, now)),
        KeyState::Expired | KeyState::Deleted => Err(Fault::KeyGone),
    }
}

/// The key that a question is about, with what stands around it, for somebody who may change it. 403 a session that may
/// only look; then as above.
async fn asked_about(pages: &Pages, arriving: Arriving, text: &str) -> Result<(Viewer, Around, Row), Fault> {
    let (viewer, (around, key)) = arriving
        .reads(async |account| {
            let (around, key) = tokio::join!(Around::of(pages, account), key_to_change(pages, account, text));
            Ok((around?, key))
        })
        .await?;
    viewer.may_change()?;
    Ok((viewer, around, key?))
}
