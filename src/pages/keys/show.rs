//! One key: what it is, what it may do, and what was refused to it, also when it works no more.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;
use keyledger_events::{AccountId, DeleteReason, DenyReason, Event, KeyId, KeyUseDenied, Timestamp};
use serde::Deserialize;

use super::limits::{SpendingFields, Wrong, spending};
use super::row::Row;
use crate::clock;
use crate::http::Place;
use crate::ledger::LimitSpending;
use crate::log::HistorySearch;
use crate::pages::Pages;
use crate::pages::activity::{DataKeys, decoded, why_denied};
use crate::pages::arriving::Arriving;
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Around, Frame, Root};
use crate::pages::moment::{Moment, thousands};
use crate::pages::posted::Change;
use crate::views::{Key, KeyState, ViewName};

/// Summaries of a minute each: enough to see what goes on. Activity has all of them.
const REFUSED_SHOWN: u32 = 10;

/// What the address may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::pages) struct Look {
    after: Option<Place>,
    done: Option<String>,
}

/// Uses that were refused within a minute.
struct Refused {
    at: Moment,
    why: &'static str,
    times: String,
}

/// Why a key works no more.
struct Dead {
    since: Moment,
    /// `It was deleted`.
    how: &'static str,
    /// How often it was tried since, as far as is shown.
    tried: Option<String>,
}

#[derive(Template)]
#[template(path = "key.html")]
struct KeyOwnPage<'a> {
    frame: Frame<'a>,
    key: Row,
    expires: Option<Moment>,
    dead: Option<Dead>,
    refused: Vec<Refused>,
    more: bool,
    spending: SpendingFields,
    done: bool,
}

impl KeyOwnPage<'_> {
    fn may_change(&self) -> bool {
        self.frame.may_change() && self.dead.is_none()
    }
}

/// All that the page is made of.
struct Found {
    around: Around,
    key: Key,
    refused: Vec<(Timestamp, KeyUseDenied)>,
    more: bool,
}

async fn find(pages: &Pages, account: AccountId, key: KeyId, after: Option<Place>) -> Result<Found, Fault> {
    pages.wait_for(ViewName::KeyList, after).await?;
    let search = HistorySearch {
        account,
        key: Some(key),
        types: &["keyledger.KeyUseDenied.v1"],
    };
    let (around, found, history) = tokio::join!(
        Around::of(pages, account),
        pages.views.key(account, key),
        pages.log.history(&search, None, REFUSED_SHOWN),
    );
    let history = history?;
    // Refusals say nothing of people.
    let events = decoded(&history.events, &DataKeys::default())?.into_iter();
    let refused = events.filter_map(|recorded| {
        if let Event::KeyUseDenied(denied) = recorded.event {
            Some((recorded.time, denied))
        } else {
            None
        }
    });
    Ok(Found {
        around: around?,
        key: found?.value.ok_or(Fault::NotFound)?,
        refused: refused.collect(),
        more: history.older_than.is_some(),
    })
}

impl Dead {
    /// `None` for a key that works.
    fn of(key: &Key, refused: &[(Timestamp, KeyUseDenied)], now: Timestamp) -> Option<Dead> {
        let stopped = key.rotated.map(|(_, end)| end);
        let (since, how) = match key.state(now) {
            KeyState::Active => return None,
            KeyState::Expired => (key.expires_at?, "Its time was over"),
            KeyState::Deleted => {
                let reason = key.delete_reason.as_deref().unwrap_or_default();
                let how = if reason == DeleteReason::Leaked.as_str() {
                    "It was found in public and deleted"
                } else if reason == DeleteReason::Compromised.as_str() {
                    "It was compromised and deleted"
                } else if reason == DeleteReason::AccountClosed.as_str() {
                    "It was deleted as the account was closed"
                } else if stopped.is_some() {
                    "Another key has taken its place"
                } else {
                    "It was deleted"
                };
                (key.deleted_at.or(stopped)?, how)
            }
        };
        // What was refused for another reason was refused while it worked.
        let dead = |denied: &KeyUseDenied| matches!(denied.reason, DenyReason::Deleted | DenyReason::Expired);
        let tried = refused.iter().filter(|(_, denied)| dead(denied));
        let tried = tried.fold(0_u64, |sum, (_, denied)| sum.saturating_add(denied.count));
        Some(Dead {
            since: Moment::new(since, now),
            how,
            tried: (tried > 0).then(|| times(tried)),
        })
    }
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        more => format!("{} times", thousands(more)),
    }
}

fn shown<'a>(frame: Frame<'a>, found: Found, spending: Option<SpendingFields>) -> KeyOwnPage<'a> {
    let now = clock::now();
    let Found { key, refused, more, .. } = found;
    KeyOwnPage {
        frame,
        expires: key.expires_at.map(|at| Moment::new(at, now)),
        dead: Dead::of(&key, &refused, now),
        spending: spending.unwrap_or_else(|| SpendingFields::of(key.spending_limit)),
        refused: refused
            .iter()
            .map(|(at, denied)| Refused {
                at: Moment::new(*at, now),
                why: why_denied(denied.reason),
                times: times(denied.count),
            })
            .collect(),
        more,
        key: Row::new(key, now),
        done: false,
    }
}

/// Shows a key of the account, whether it works or not. 200. 401 no session. 404 no such key of this account. 503 the view is
/// behind.
pub(in crate::pages) async fn show(
    State(pages): State<Pages>,
    arriving: Arriving,
    root: Root,
    Path(key): Path<String>,
    look: Result<Query<Look>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Fault> {
    let (viewer, (look, mut found)) = arriving
        .reads(async |account| {
            let Query(look) = look.map_err(|_| Fault::NotFound)?;
            let key = key.parse().map_err(|_| Fault::NotFound)?;
            let found = find(&pages, account, key, look.after).await?;
            Ok((look, found))
        })
        .await?;
    let around = std::mem::take(&mut found.around);
    let frame = Frame::inside(&pages, root, "keys", "Key", &viewer, around)?;
    let done = look.done.is_some();
    page(
        StatusCode::OK,
        &KeyOwnPage {
            done,
            ..shown(frame, found, None)
        },
    )
}

/// Sets what a key may spend, or lets it spend all there is. 303 to the key. 404 no such key of this account. 409 it is
/// deleted. 422 the limit is none: the page, and what is wrong with it.
pub(in crate::pages) async fn limit(
    State(pages): State<Pages>,
    root: Root,
    Path(text): Path<String>,
    Change(posted): Change,
) -> Result<Response, Fault> {
    let account = posted.viewer.session.account;
    let key: KeyId = text.parse().map_err(|_| Fault::NotFound)?;
    let limit = match spending(&posted.fields) {
        Ok(limit) => limit,
        Err(wrong @ (Wrong::Amount | Wrong::Scopes)) => {
            let mut found = find(&pages, account, key, None).await?;
            let around = std::mem::take(&mut found.around);
            let frame = Frame::inside(&pages, root, "keys", "Key", &posted.viewer, around)?;
            let fields = SpendingFields::sent(&posted.fields, Some(wrong));
            return page(StatusCode::UNPROCESSABLE_ENTITY, &shown(frame, found, Some(fields)));
        }
        Err(Wrong::Form) => return Err(Fault::BadForm),
    };
    let command = LimitSpending { account, key, limit };
    let answer = pages.ledger.submit(command, posted.viewer.by()).await?;
    let after = Place {
        shard: answer.shard,
        position: answer.position,
    };
    Ok(Redirect::to(&format!("../../keys/{key}?after={after}&done=limited")).into_response())
}
