//! How every query goes: wait for the view where asked to, read once, write the page.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::List;
use super::extract::Page;
use super::place::Place;
use super::words::Limit;
use super::{App, cursor, problems};
use crate::problem::Problem;
use crate::views::{self, ViewName};

/// How long a query waits for its view before it says that the view is behind.
const VIEW_WAIT_MAX: Duration = Duration::from_secs(5);

/// Waits until a view is where the caller wants it. 400 the place is in no log of ours. 503 the view is behind.
pub(crate) async fn wait_for(app: &App, view: ViewName, after: Option<Place>) -> Result<(), Problem> {
    let Some(place) = after else { return Ok(()) };
    in_this_log(app, place)?;
    Ok(app.views.wait_for(view, place.position, VIEW_WAIT_MAX).await?)
}

/// As [`wait_for`], for a list of an account: whether the account exists is the balance's to know, so that has to be as far.
pub(crate) async fn wait_for_list(app: &App, view: ViewName, after: Option<Place>) -> Result<(), Problem> {
    wait_for(app, view, after).await?;
    wait_for(app, ViewName::Balance, after).await
}

/// Refuses a place in another shard's log.
pub(crate) fn in_this_log(app: &App, place: Place) -> Result<(), Problem> {
    if place.shard == app.views.shard() {
        Ok(())
    } else {
        Err(problems::bad_position("there is no such shard"))
    }
}

impl Page {
    pub(crate) fn limit(&self) -> u32 {
        self.limit.unwrap_or(Limit::DEFAULT).get()
    }

    /// Where the caller's list goes on. `scope` as in [`cursor::write`].
    pub(crate) fn cursor<C: DeserializeOwned>(&self, scope: &str) -> Result<Option<C>, Problem> {
        read_cursor(self.cursor.as_deref(), scope)
    }
}

pub(crate) fn read_cursor<C: DeserializeOwned>(text: Option<&str>, scope: &str) -> Result<Option<C>, Problem> {
    text.map(|text| cursor::read(scope, text).map_err(|_| problems::bad_cursor()))
        .transpose()
}

/// Writes a page of a view as a list.
pub(crate) fn list<V, C: Serialize, T>(page: views::Page<V, C>, scope: &str, item: impl FnMut(V) -> T) -> List<T> {
    List {
        items: page.items.into_iter().map(item).collect(),
        next_cursor: page.next.and_then(|next| cursor::write(scope, &next)),
    }
}
