//! The account as it was at a moment that is chosen: balance, keys, and use up to then.
//!
//! In: a moment, a place on the slider, or a position in the log. Out: one page, from the nearest mark of the history.
//!
//! Promise: what is shown is what the pages showed at that moment, since it is folded from the same events in the same way;
//! the whole hours of the charts come from the view, the rest of the last one from the events.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use keyledger_events::{AccountId, KeyId, Position, Timestamp};
use keyledger_projections::KeyRow;
use serde::Deserialize;

use super::then_use::use_until;
use super::used;
use crate::clock;
use crate::pages::Pages;
use crate::pages::amount::amount;
use crate::pages::arriving::Arriving;
use crate::pages::chart::{Days, Ranks};
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Around, Frame, Root};
use crate::pages::moment::{Moment, thousands};
use crate::pages::name::Shown;
use crate::replay::{AccountState, AsOf, ReplayError, state_at};

/// The slider's places: the first is when the account was opened, the last is now.
const PLACES: u32 = 1_000;
/// The newest of then. Of more there is the API.
const KEYS_SHOWN: usize = 50;

/// What the address may say. One of them counts, in this order; now, where there is none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::pages) struct Look {
    position: Option<Position>,
    /// A place on the slider.
    part: Option<u32>,
    /// UTC: `2026-11-24T14:03` and more digits.
    at: String,
}

/// A key as it was.
struct KeyThen {
    id: KeyId,
    name: Shown,
    preview: String,
    created: Moment,
    used: Option<Moment>,
    uses: String,
    /// `Active`, or since when not.
    state: &'static str,
    ended: Option<Moment>,
}

/// An amount with its name.
struct Sum {
    id: &'static str,
    name: &'static str,
    amount: String,
}

#[derive(Template)]
#[template(path = "then.html")]
struct ThenPage<'a> {
    frame: Frame<'a>,
    places: u32,
    place: u32,
    /// For the field.
    at: String,
    opened: String,
    latest: String,
    moment: Moment,
    wrong: bool,
    sums: Vec<Sum>,
    last: Position,
    older: Option<Position>,
    newer: Option<Position>,
    keys: Vec<KeyThen>,
    more_keys: Option<String>,
    days: Days,
    endpoints: Ranks,
    /// The last hour has too much in it to be folded for a page.
    whole_hours_only: bool,
}

fn away(error: ReplayError) -> Fault {
    match error {
        ReplayError::Log(error) => error.into(),
        ReplayError::Event { .. } | ReplayError::Fold(_) | ReplayError::Unwritten(_) => {
            tracing::error!(%error, "an account cannot be replayed");
            Fault::Internal
        }
    }
}

/// `2026-11-24T14:03`, as browsers write it, and with seconds.
fn moment_of(text: &str) -> Option<Timestamp> {
    let text = text.trim().trim_end_matches('Z');
    let seconds = if text.len() == 16 { ":00" } else { "" };
    format!("{text}{seconds}Z").parse().ok()
}

impl Look {
    /// When to look, or `None` where the moment is none.
    fn asked(&self, opened: Timestamp, now: Timestamp) -> Option<AsOf> {
        if let Some(position) = self.position {
            return Some(AsOf::Position(position));
        }
        if let Some(part) = self.part {
            let all = now.micros().saturating_sub(opened.micros());
            let share = i128::from(all) * i128::from(part.min(PLACES)) / i128::from(PLACES);
            let at = opened.micros().saturating_add(i64::try_from(share).unwrap_or(0));
            return Timestamp::from_micros(at).map(AsOf::Moment);
        }
        if self.at.is_empty() {
            return Some(AsOf::Moment(now));
        }
        moment_of(&self.at).map(AsOf::Moment)
    }
}

/// Balance, keys and use as they were.
///
/// 200 the page. 401 no session. 404 an address of no such page, or before the account was there. 422 a moment that is none.
pub(in crate::pages) async fn then(
    State(pages): State<Pages>,
    arriving: Arriving,
    root: Root,
    look: Result<Query<Look>, QueryRejection>,
) -> Result<Response, Fault> {
    let now = clock::now();
    let (viewer, (around, found)) = arriving
        .reads(async |account| {
            let Query(look) = look.map_err(|_| Fault::NotFound)?;
            let around = Around::of(&pages, account).await?;
            let opened = around.opened_at().ok_or(Fault::Behind)?;
            let found = Found::of(&pages, account, &look, opened, now).await?;
            Ok((around, found))
        })
        .await?;
    let opened = around.opened_at().ok_or(Fault::Behind)?;
    let frame = Frame::inside(&pages, root.clone(), "activity", "As it was", &viewer, around)?;
    let Found {
        state,
        at,
        wrong,
        older,
        newer,
        used,
    } = found;
    let all = (now.micros() - opened.micros()).max(1);
    let since = (at.micros() - opened.micros()).clamp(0, all);
    let place = u32::try_from(i128::from(since) * i128::from(PLACES) / i128::from(all)).unwrap_or(PLACES);
    let whole = state.keys().count();
    let range = used::range(at).map_err(|_| Fault::Internal)?;
    let shown = ThenPage {
        frame,
        places: PLACES,
        place,
        at: field(at),
        opened: field(opened),
        latest: field(now),
        moment: Moment::new(at, now),
        wrong,
        sums: sums(&state),
        last: state.position,
        older,
        newer,
        keys: state
            .keys()
            .rev()
            .take(KEYS_SHOWN)
            .map(|key| key_then(key, at, now))
            .collect(),
        more_keys: (whole > KEYS_SHOWN).then(|| thousands((whole - KEYS_SHOWN).try_into().unwrap_or(u64::MAX))),
        days: Days::new("Credits by day", used::stack(range, &used.points)),
        endpoints: Ranks::new("Endpoint", root.to_string(), used::endpoints(&used.points)),
        whole_hours_only: used.whole_hours_only,
    };
    let status = if wrong {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    page(status, &shown)
}

/// What a `datetime-local` field takes, to the second.
fn field(at: Timestamp) -> String {
    at.to_string().chars().take(19).collect()
}

/// All that is read for the page.
struct Found {
    state: AccountState,
    at: Timestamp,
    wrong: bool,
    older: Option<Position>,
    newer: Option<Position>,
    used: super::then_use::Used,
}

impl Found {
    async fn of(
        pages: &Pages,
        account: AccountId,
        look: &Look,
        opened: Timestamp,
        now: Timestamp,
    ) -> Result<Found, Fault> {
        let asked = look.asked(opened, now);
        let as_of = asked.unwrap_or(AsOf::Moment(now));
        let state = state_at(&pages.log, account, as_of).await.map_err(away)?;
        let state = state.ok_or(Fault::NotFound)?;
        let at = match as_of {
            AsOf::Moment(moment) => moment.min(now),
            AsOf::Position(_) => state.at,
        };
        let (placed, used) = tokio::try_join!(
            async { Ok(pages.log.event_of(account, state.position).await?) },
            use_until(pages, account, at, state.seq),
        )?;
        Ok(Found {
            older: placed.as_ref().and_then(|placed| placed.older),
            newer: placed.as_ref().and_then(|placed| placed.newer),
            state,
            at,
            wrong: asked.is_none(),
            used,
        })
    }
}

fn sums(state: &AccountState) -> Vec<Sum> {
    let Some(balance) = state.balance() else {
        return Vec::new();
    };
    [
        ("available", "Available", balance.available, true),
        ("held", "Held", balance.reserved, true),
        ("granted", "Granted until then", balance.granted, true),
        ("charged", "Charged until then", balance.charged, true),
        ("refunded", "Refunded until then", balance.refunded, false),
        ("expired", "Expired until then", balance.expired, false),
        ("corrected", "Corrected until then", balance.corrected, false),
        ("bound", "For some endpoints only", balance.bound, false),
        ("later", "For later", balance.later, false),
    ]
    .into_iter()
    .filter(|(_, _, credits, always)| *always || !credits.is_zero())
    .map(|(id, name, credits, _)| Sum {
        id,
        name,
        amount: amount(credits),
    })
    .collect()
}

fn key_then(key: &KeyRow, at: Timestamp, now: Timestamp) -> KeyThen {
    let moment = |at: Timestamp| Moment::new(at, now);
    let stopped = key.rotated.map(|(_, stops)| stops).filter(|stops| *stops <= at);
    let expired = key.expires_at.filter(|end| *end <= at);
    let (state, ended) = match (key.deleted, stopped.or(expired)) {
        (Some((when, _)), _) => ("Deleted", Some(when)),
        (None, Some(when)) => ("Expired", Some(when)),
        (None, None) => ("Active", None),
    };
    KeyThen {
        id: key.key,
        name: Shown::new(key.name.as_str()),
        preview: key.preview.clone(),
        created: moment(key.created_at),
        used: key.last_used_at.map(moment),
        uses: thousands(key.uses.unsigned_abs()),
        state,
        ended: ended.map(moment),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_place_on_the_slider_is_a_part_of_the_accounts_life() {
        let (opened, now) = (at("2026-11-01T00:00:00Z"), at("2026-11-11T00:00:00Z"));
        let asked = |part| {
            let look = Look {
                part: Some(part),
                ..Look::default()
            };
            look.asked(opened, now)
        };
        assert_eq!(asked(0), Some(AsOf::Moment(opened)));
        assert_eq!(asked(500), Some(AsOf::Moment(at("2026-11-06T00:00:00Z"))));
        assert_eq!(
            (asked(1_000), asked(9_999)),
            (Some(AsOf::Moment(now)), Some(AsOf::Moment(now)))
        );
    }

    #[test]
    fn a_moment_is_read_as_browsers_write_it() {
        let expected = Some(at("2026-11-24T14:03:00Z"));
        for text in [
            "2026-11-24T14:03",
            "2026-11-24T14:03:00",
            "2026-11-24T14:03:00Z",
            " 2026-11-24T14:03",
        ] {
            assert_eq!(moment_of(text), expected, "{text}");
        }
        for text in ["", "yesterday", "2026-11-24", "2026-13-01T00:00"] {
            assert_eq!(moment_of(text), None, "{text}");
        }
    }
}
