//! A key as a line of the list.

use keyledger_events::{Endpoint, KeyId, Timestamp};

use super::month::Month;
use crate::pages::amount::amount;
use crate::pages::moment::{DAY, Moment, ahead, seconds_between, thousands};
use crate::pages::name::Shown;
use crate::views::Key;

/// The help page's advice: a key that was not used for so long may be one that nobody needs.
const UNUSED_DAYS: i64 = 90;

#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: KeyId,
    pub(super) name: Shown,
    /// As it was given, for a field in which it is changed.
    pub(super) given: String,
    pub(super) preview: String,
    pub(super) environment: String,
    pub(super) created: Moment,
    pub(super) last_used: Option<Moment>,
    pub(super) unused: bool,
    pub(super) month: Month,
    /// What the key is limited to, in words.
    pub(super) limits: Option<String>,
    pub(super) stops: Option<Stops>,
    /// How often it was refused today.
    pub(super) denied: Option<String>,
}

/// The end of a key that was rotated.
#[derive(Debug)]
pub(super) struct Stops {
    pub(super) successor: KeyId,
    pub(super) at: Moment,
    /// `in 3 days`.
    pub(super) ahead: String,
}

/// A list that is longer is cut short: the API tells the whole.
const SCOPES_SHOWN: usize = 3;

fn limits(key: &Key) -> Option<String> {
    let scopes = key.scopes.as_ref().map(|scopes| {
        let shown = scopes.endpoints().iter().take(SCOPES_SHOWN).map(Endpoint::as_str);
        let shown = shown.collect::<Vec<_>>().join(", ");
        match scopes.endpoints().len().saturating_sub(SCOPES_SHOWN) {
            0 => format!("Only for {shown}."),
            more => format!("Only for {shown} and {more} more."),
        }
    });
    let rate = key
        .rate_limit
        .map(|rate| format!("Up to {} calls a second.", thousands(rate.per_second().into())));
    let spending = key
        .spending_limit
        .map(|limit| format!("May spend {} credits a {}.", amount(limit.amount), limit.per.as_str()));
    let said: Vec<String> = scopes.into_iter().chain(rate).chain(spending).collect();
    (!said.is_empty()).then(|| said.join(" "))
}

impl Row {
    pub(super) fn new(key: Key, now: Timestamp) -> Row {
        let since = key.last_used_at.unwrap_or(key.created_at);
        Row {
            limits: limits(&key),
            denied: Some(key.denied_on(now)).filter(|count| *count > 0).map(thousands),
            stops: key.rotated.map(|(successor, at)| Stops {
                successor,
                at: Moment::new(at, now),
                ahead: ahead(seconds_between(now, at)),
            }),
            id: key.id,
            name: Shown::new(&key.name),
            given: key.name,
            preview: key.preview,
            environment: key.environment,
            created: Moment::new(key.created_at, now),
            last_used: key.last_used_at.map(|at| Moment::new(at, now)),
            unused: seconds_between(since, now) >= UNUSED_DAYS * DAY,
            month: Month::default(),
        }
    }

    /// The same with what it was used for.
    pub(super) fn with(self, month: Month) -> Row {
        Row { month, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyledger_events::AccountId;

    fn row(created_days_ago: i64, used_days_ago: Option<i64>) -> Row {
        let now: Timestamp = "2026-11-24T14:03:07Z".parse().unwrap();
        let back = |days: i64| Timestamp::from_micros(now.micros() - days * DAY * 1_000_000).unwrap();
        let key = Key {
            id: KeyId::from_parts(1, 1),
            account: AccountId::from_parts(1, 1),
            name: "n".to_owned(),
            preview: "sk_live_abc...".to_owned(),
            environment: "live".to_owned(),
            created_at: back(created_days_ago),
            created_by: "system".to_owned(),
            expires_at: None,
            deleted_at: None,
            delete_reason: None,
            replaces: None,
            rotated: None,
            scopes: None,
            rate_limit: None,
            spending_limit: None,
            last_used_at: used_days_ago.map(back),
            uses: 0,
            denied: None,
        };
        Row::new(key, now)
    }

    #[test]
    fn a_key_that_nobody_used_for_ninety_days_is_hinted_at() {
        assert!(row(200, Some(90)).unused && row(90, None).unused);
        assert!(!row(200, Some(89)).unused && !row(89, None).unused);
    }
}
