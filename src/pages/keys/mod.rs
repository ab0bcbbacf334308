//! API access: the account's keys, and what a person may do with them.

mod create;
mod delete;
mod list;
mod month;
mod rename;
mod row;

pub(super) use create::{ask_name, create};
pub(super) use delete::{ask_to_delete, delete};
pub(super) use list::list;
pub(super) use rename::{ask_new_name, rename};

use keyledger_events::KeyId;

use super::Pages;
use super::fault::Fault;
use super::viewer::Viewer;
use crate::clock;
use crate::views::KeyState;
use row::Row;

/// The key that a viewer is about to change: theirs, and still working. 403 a session that may only look. 404 not theirs,
/// or none. 410 deleted or expired.
async fn key_to_change(pages: &Pages, viewer: &Viewer, text: &str) -> Result<Row, Fault> {
    if viewer.session.read_only {
        return Err(Fault::ReadOnly);
    }
    let id: KeyId = text.parse().map_err(|_| Fault::NotFound)?;
    let key = pages.views.key(viewer.session.account, id).await?.value;
    let (key, now) = (key.ok_or(Fault::NotFound)?, clock::now());
    match key.state(now) {
        KeyState::Active => Ok(Row::new(key, now)),
        KeyState::Expired | KeyState::Deleted => Err(Fault::KeyGone),
    }
}
