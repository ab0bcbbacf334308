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

use keyledger_events::{AccountId, KeyId};

use super::Pages;
use super::fault::Fault;
use crate::clock;
use crate::views::{Key, KeyState};

/// One key of the viewer's account that still works. 404 not theirs, or none. 410 deleted or expired.
async fn working_key(pages: &Pages, account: AccountId, text: &str) -> Result<Key, Fault> {
    let id: KeyId = text.parse().map_err(|_| Fault::NotFound)?;
    let key = pages.views.key(account, id).await?.value.ok_or(Fault::NotFound)?;
    match key.state(clock::now()) {
        KeyState::Active => Ok(key),
        KeyState::Expired | KeyState::Deleted => Err(Fault::KeyGone),
    }
}
