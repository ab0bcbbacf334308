//! The list of the keys that work.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use keyledger_events::KeyId;
use serde::Deserialize;

use super::month::{Month, first_day};
use super::row::Row;
use crate::clock;
use crate::http::Place;
use crate::pages::Pages;
use crate::pages::arriving::Arriving;
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Around, Frame, Root};
use crate::pages::name::Shown;
use crate::views::{Key, KeyPage, KeySearch, KeyState, ViewName};

/// As many as weigh little and are read at once.
const KEYS_A_PAGE: u32 = 25;
/// Of dead keys that were tried; each is a thing to look into.
const TRIED_SHOWN: u32 = 5;
const TRIED_SECONDS: u32 = 7 * 86_400;

/// What the address of the list may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::pages) struct Look {
    /// Show only what the views know at this place or later.
    after: Option<Place>,
    /// Go on below this key.
    below: Option<KeyId>,
    /// What was done just now.
    done: Option<Done>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Done {
    Renamed,
    Deleted,
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage<'a> {
    frame: Frame<'a>,
    rows: Vec<Row>,
    older: Option<KeyId>,
    first: bool,
    done: Option<&'static str>,
    /// Of the form in the dialog.
    request: String,
    /// Keys that work no more and were tried of late.
    tried: Vec<Tried>,
}

struct Tried {
    id: KeyId,
    name: Shown,
    preview: String,
}

/// The keys that work, the newest first. 200. 401 no session. 404 an address of no list. 503 the view is behind.
pub(in crate::pages) async fn list(
    State(pages): State<Pages>,
    arriving: Arriving,
    root: Root,
    look: Result<Query<Look>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Fault> {
    let now = clock::now();
    let first_day = first_day(now);
    let (viewer, (look, around, keys, used, tried)) = arriving
        .reads(async |account| {
            let Query(look) = look.map_err(|_| Fault::NotFound)?;
            tokio::try_join!(
                pages.wait_for(ViewName::KeyList, look.after),
                // What stands around every page.
                pages.wait_for(ViewName::Balance, look.after),
            )?;
            let working = KeySearch {
                state: Some(KeyState::Active),
                name: None,
            };
            let asked = KeyPage {
                search: &working,
                now,
                limit: KEYS_A_PAGE,
                after: look.below,
            };
            let (around, keys, used, tried) = tokio::join!(
                Around::of(&pages, account),
                pages.views.keys_found(account, &working, now, KEYS_A_PAGE, look.below),
                pages.views.keys_use(account, asked, first_day),
                pages
                    .views
                    .dead_keys_tried(account, now, now.minus_seconds(TRIED_SECONDS), TRIED_SHOWN),
            );
            Ok((look, around?, keys?.value, used?, tried?))
        })
        .await?;
    let frame = Frame::inside(&pages, root, "keys", "API access", &viewer, around)?;
    let keys = keys.ok_or(Fault::Behind)?;
    let row = |key: Key| {
        let used = used.iter().find(|used| used.key == key.id);
        Row::new(key, now).with(Month::new(used, first_day))
    };
    let shown = KeysPage {
        frame,
        rows: keys.items.into_iter().map(row).collect(),
        older: keys.next,
        first: look.below.is_none(),
        done: look.done.map(|done| match done {
            Done::Renamed => "The key has its new name.",
            Done::Deleted => "The key is deleted. It stopped working at once.",
        }),
        request: clock::fresh_command_id().as_str().to_owned(),
        tried: tried
            .into_iter()
            .map(|key| Tried {
                id: key.id,
                name: Shown::new(&key.name),
                preview: key.preview,
            })
            .collect(),
    };
    page(StatusCode::OK, &shown)
}
