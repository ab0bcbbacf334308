//! The list: an account's history in plain words, the newest first, of one key or all, of one kind or most.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use keyledger_events::{AccountId, KeyId, Position};
use serde::{Deserialize, Deserializer};

use super::kind::Kind;
use super::line::{By, Line, Networks, decoded};
use super::names::Names;
use super::sentence::Word;
use crate::clock;
use crate::log::{HistorySearch, LOOKED_AT_MAX};
use crate::pages::Pages;
use crate::pages::arriving::Arriving;
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Around, Frame, Root};
use crate::pages::moment::thousands;
use crate::pages::name::Shown;
use crate::views::{Key, KeySearch, KeyState};

const LINES_A_PAGE: u32 = 50;

/// The newest keys, to choose from. Older ones have a link of their own in the list of keys.
const KEYS_TO_CHOOSE_MAX: u32 = 50;

/// What the address of the list may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::pages) struct Look {
    #[serde(deserialize_with = "filled")]
    key: Option<KeyId>,
    kind: Kind,
    /// Go on with what is older than the event here.
    before: Option<Position>,
}

/// A form sends what is not chosen as an empty text.
fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<KeyId>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = (!text.is_empty()).then(|| text.parse().map_err(serde::de::Error::custom));
    parsed.transpose()
}

/// A key that can be chosen.
struct Choice {
    id: KeyId,
    name: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "activity.html")]
struct ActivityPage<'a> {
    frame: Frame<'a>,
    look: Look,
    keys: Vec<Choice>,
    more_keys: bool,
    lines: Vec<Line>,
    older_than: Option<Position>,
    /// The page is not full because it had looked long enough.
    looked_at: Option<String>,
}

impl ActivityPage<'_> {
    /// The query of this list without its place.
    fn filters(&self) -> String {
        let kind = self.look.kind.as_str();
        match self.look.key {
            Some(key) => format!("key={key}&kind={kind}"),
            None => format!("kind={kind}"),
        }
    }

    fn is_plain(&self) -> bool {
        self.look.key.is_none() && self.look.kind == Kind::Main
    }
}

/// The history, the newest first. 200. 401 no session. 404 an address of no list, or a key that is not this account's.
pub(in crate::pages) async fn list(
    State(pages): State<Pages>,
    arriving: Arriving,
    root: Root,
    look: Result<Query<Look>, QueryRejection>,
) -> Result<Response, Fault> {
    let now = clock::now();
    let (viewer, (look, around, history, newest, chosen, data_keys)) = arriving
        .reads(async |account| {
            let Query(look) = look.map_err(|_| Fault::NotFound)?;
            let types = look.kind.types();
            let search = HistorySearch {
                account,
                key: look.key,
                types: &types,
            };
            let any = KeySearch::default();
            let (around, history, newest, chosen, data_keys) = tokio::join!(
                Around::of(&pages, account),
                pages.log.history(&search, look.before, LINES_A_PAGE),
                pages.views.keys_found(account, &any, now, KEYS_TO_CHOOSE_MAX, None),
                chosen(&pages, account, look.key),
                pages.log.data_keys(std::slice::from_ref(&account)),
            );
            Ok((look, around?, history?, newest?.value, chosen?, data_keys?))
        })
        .await?;
    let frame = Frame::inside(&pages, root, "activity", "Activity", &viewer, around)?;
    let newest = newest.ok_or(Fault::Behind)?;
    let events = decoded(&history.events, &data_keys)?;
    let names = Names::new(&history.beside, &pages.config.name, &data_keys)?;
    let networks = Networks::new(&history.beside.uses, &data_keys)?;
    let lines: Vec<Line> = events
        .iter()
        .map(|event| Line::new(event, &names, &networks, now))
        .collect();
    let full = u32::try_from(lines.len()).is_ok_and(|lines| lines == LINES_A_PAGE);
    let shown = ActivityPage {
        frame,
        keys: choices(newest.items, chosen, look.key),
        more_keys: newest.next.is_some(),
        looked_at: (!full && history.older_than.is_some()).then(|| thousands(LOOKED_AT_MAX.into())),
        older_than: history.older_than,
        lines,
        look,
    };
    page(StatusCode::OK, &shown)
}

/// The key that is chosen already, which may be an old one.
async fn chosen(pages: &Pages, account: AccountId, key: Option<KeyId>) -> Result<Option<Key>, Fault> {
    match key {
        None => Ok(None),
        Some(key) => {
            let found = pages.views.key(account, key).await?;
            found.value.map(Some).ok_or(Fault::NotFound)
        }
    }
}

fn choices(newest: Vec<Key>, chosen: Option<Key>, id: Option<KeyId>) -> Vec<Choice> {
    let old = chosen.filter(|chosen| newest.iter().all(|key| key.id != chosen.id));
    let choice = |key: Key| {
        let gone = if key.state(clock::now()) == KeyState::Deleted {
            " (deleted)"
        } else {
            ""
        };
        Choice {
            id: key.id,
            name: format!("{} · {}{gone}", Shown::new(&key.name), key.preview),
            chosen: Some(key.id) == id,
        }
    };
    newest.into_iter().chain(old).map(choice).collect()
}
