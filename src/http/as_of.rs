//! What was so at another time: the answers of now, of then.

use std::str::FromStr;

use keyledger_events::{AccountId, KeyId, Position, Timestamp};
use keyledger_projections::KeyRow;
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use super::App;
use super::answer::Failure;
use super::look::in_this_log;
use super::place::Place;
use super::problems;
use crate::clock;
use crate::problem::Problem;
use crate::replay::{self, AccountState, ReplayError};
use crate::views::{self, KeySearch};

/// A moment, or a place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AsOf {
    Moment(Timestamp),
    Place(Place),
}

/// The text is neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a time such as \"2026-11-24T14:03:07Z\" or a position such as \"0:812\"")]
pub(crate) struct AsOfError;

impl FromStr for AsOf {
    type Err = AsOfError;

    fn from_str(text: &str) -> Result<AsOf, AsOfError> {
        let moment = text.parse().map(AsOf::Moment);
        moment.or_else(|_| text.parse().map(AsOf::Place)).map_err(|_| AsOfError)
    }
}

impl<'de> Deserialize<'de> for AsOf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AsOf, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Of a read of one thing, now or then.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneThen {
    /// Answer only from a view that has reached this place of the log; a `Ledger-Position` that you were given, such as `0:812`.
    #[param(value_type = Option<String>, pattern = "^[0-9]+:[0-9]+$")]
    pub(crate) after: Option<Place>,
    /// As it was at this time, or after the event at this position, such as `2026-11-24T14:03:07Z` or `0:812`.
    #[param(value_type = Option<String>)]
    pub(crate) as_of: Option<AsOf>,
}

/// An account as it was, the place at which that is true, and the moment of it.
pub(crate) struct Then {
    pub(crate) state: AccountState,
    pub(crate) place: Place,
    pub(crate) moment: Timestamp,
}

/// 400 the place is in no log of ours. 404 there was no such account. 503 the log cannot be read now.
pub(crate) async fn state_then(app: &App, account: AccountId, as_of: AsOf) -> Result<Then, Failure> {
    let asked = match as_of {
        AsOf::Moment(moment) => replay::AsOf::Moment(moment),
        AsOf::Place(place) => {
            in_this_log(app, place)?;
            replay::AsOf::Position(place.position)
        }
    };
    let state = replay::state_at(&app.log, account, asked)
        .await
        .map_err(|error| match error {
            ReplayError::Log(error) => Problem::from(error),
            ReplayError::Event { .. } | ReplayError::Fold(_) | ReplayError::Unwritten(_) => {
                tracing::error!(%error, %account, "a history cannot be replayed");
                problems::internal()
            }
        })?;
    let state = state
        .filter(|state| state.row().is_some())
        .ok_or_else(Problem::unknown_account)?;
    let place = Place {
        shard: app.log.shard(),
        position: state.position,
    };
    let moment = match as_of {
        AsOf::Moment(moment) => moment,
        // Not of the account's own last event: what ends by time may have ended since.
        AsOf::Place(place) if place.position == Position::START => state.at,
        AsOf::Place(place) if place.position < app.log.head().await?.position => {
            app.log.recorded_at(place.position).await?
        }
        AsOf::Place(_) => clock::now(),
    };
    Ok(Then { state, place, moment })
}

impl Then {
    /// `None` where a sum is beyond all bounds, which no ledger of ours writes.
    pub(crate) fn balance(&self) -> Option<views::Balance> {
        let replay::BalanceThen {
            available,
            bound,
            later,
            reserved,
            granted,
            charged,
            refunded,
            expired,
            corrected,
        } = self.state.balance()?;
        Some(views::Balance {
            available,
            bound,
            later,
            reserved,
            granted,
            charged,
            refunded,
            expired,
            corrected,
        })
    }

    /// The account, as the views show one.
    pub(crate) fn account(&self) -> Option<views::Account> {
        let row = self.state.row()?;
        Some(views::Account {
            id: row.account,
            name: row.name.to_string(),
            external_ref: row.external_ref.clone(),
            credit_limit: keyledger_events::Credits::from_micros(row.credit_limit)?,
            opened_at: row.opened_at,
            closed_at: row.closed_at,
        })
    }

    pub(crate) fn key(&self, key: KeyId) -> Option<views::Key> {
        self.state.key(key).map(seen)
    }

    /// A page of the keys of then that are looked for, the newest first.
    pub(crate) fn keys(&self, search: &KeySearch, limit: u32, after: Option<KeyId>) -> views::Page<views::Key, KeyId> {
        let name = search.name.as_deref().map(str::to_lowercase);
        let wanted = |key: &views::Key| {
            let of_state = search.state.is_none_or(|state| key.state(self.moment) == state);
            of_state
                && name
                    .as_deref()
                    .is_none_or(|part| key.name.to_lowercase().contains(part))
        };
        let rows = self.state.keys().rev();
        let found = rows
            .filter(|row| after.is_none_or(|after| row.key < after))
            .map(seen)
            .filter(wanted);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut items: Vec<views::Key> = found.take(limit.saturating_add(1)).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|key| key.id);
        views::Page { items, next }
    }
}

fn seen(row: &KeyRow) -> views::Key {
    views::Key {
        id: row.key,
        account: row.account,
        name: row.name.to_string(),
        preview: row.preview.clone(),
        environment: row.environment.as_str().to_owned(),
        created_at: row.created_at,
        created_by: row.created_by.to_string(),
        expires_at: row.expires_at,
        deleted_at: row.deleted.map(|(at, _)| at),
        delete_reason: row.deleted.map(|(_, reason)| reason.as_str().to_owned()),
        replaces: row.replaces,
        rotated: row.rotated,
        scopes: row.scopes.clone(),
        rate_limit: row.rate_limit,
        spending_limit: row.spending_limit,
        last_used_at: row.last_used_at,
        uses: u64::try_from(row.uses).unwrap_or(0),
        denied: row
            .denied
            .map(|denied| (denied.day, u64::try_from(denied.count).unwrap_or(0))),
    }
}
