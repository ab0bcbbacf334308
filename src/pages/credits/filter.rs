//! Which charges are looked for, as the address says it, so that a view of them can be sent to somebody else.

use keyledger_events::{Endpoint, KeyId, Timestamp};
use serde::Deserialize;

use crate::http::Place;
use crate::views::ChargeSearch;

/// What the address may say. A field of the form that was left empty says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::pages) struct Look {
    /// Show only what the views know at this place or later.
    pub(super) after: Option<Place>,
    /// Go on below this position.
    pub(super) before: Option<u64>,
    pub(super) key: String,
    pub(super) endpoint: String,
    /// Days, UTC: `2026-11-24`. Both are included.
    pub(super) from: String,
    pub(super) to: String,
}

/// What is wrong with it, in words for the one who filled the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    Key,
    Endpoint,
    From,
    To,
    Order,
}

impl Wrong {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Wrong::Key => "There is no such key.",
            Wrong::Endpoint => "There is no such endpoint.",
            Wrong::From => "The first day is no day: write it as 2026-11-24.",
            Wrong::To => "The last day is no day: write it as 2026-11-24.",
            Wrong::Order => "The last day is before the first.",
        }
    }

    pub(super) const fn is_of_days(self) -> bool {
        match self {
            Wrong::From | Wrong::To | Wrong::Order => true,
            Wrong::Key | Wrong::Endpoint => false,
        }
    }
}

const DAY_SECONDS: u32 = 86_400;

fn day(text: &str, wrong: Wrong) -> Result<Option<Timestamp>, Wrong> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() != 10 {
        return Err(wrong);
    }
    format!("{text}T00:00:00Z").parse().map(Some).map_err(|_| wrong)
}

impl Look {
    /// What the form asks the view for.
    pub(super) fn search(&self) -> Result<ChargeSearch, Wrong> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let key = given(&self.key).map(|text| text.parse::<KeyId>());
        let endpoint = given(&self.endpoint).map(|text| Endpoint::parse(&text));
        let (from, to) = (day(&self.from, Wrong::From)?, day(&self.to, Wrong::To)?);
        if let (Some(from), Some(to)) = (from, to)
            && to < from
        {
            return Err(Wrong::Order);
        }
        Ok(ChargeSearch {
            key: key.transpose().map_err(|_| Wrong::Key)?,
            endpoint: endpoint.transpose().map_err(|_| Wrong::Endpoint)?,
            from,
            to: to.map(|day| day.plus_seconds(DAY_SECONDS)),
        })
    }

    /// Whether anything is looked for but everything.
    pub(super) fn is_narrow(&self) -> bool {
        !(self.key.is_empty() && self.endpoint.is_empty() && self.from.is_empty() && self.to.is_empty())
    }

    /// The filters as they stand in an address, to be put before something: `key=…&`. Only after [`Look::search`] took
    /// them: then nothing in them has to be escaped.
    pub(super) fn query(&self) -> String {
        let fields = [
            ("key", &self.key),
            ("endpoint", &self.endpoint),
            ("from", &self.from),
            ("to", &self.to),
        ];
        let given = fields.iter().filter(|(_, value)| !value.is_empty());
        given.map(|(name, value)| format!("{name}={value}&")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(from: &str, to: &str) -> Look {
        Look {
            from: from.to_owned(),
            to: to.to_owned(),
            ..Look::default()
        }
    }

    #[test]
    fn both_days_are_included() {
        let search = days("2026-11-24", "2026-11-24").search().unwrap();
        assert_eq!(search.from, "2026-11-24T00:00:00Z".parse().ok());
        assert_eq!(search.to, "2026-11-25T00:00:00Z".parse().ok());
        assert_eq!(days("", "").search().unwrap(), ChargeSearch::default());
    }

    #[test]
    fn what_is_no_filter_is_named() {
        assert_eq!(days("2026-11-25", "2026-11-24").search(), Err(Wrong::Order));
        assert_eq!(days("24.11.2026", "").search(), Err(Wrong::From));
        assert_eq!(days("", "2026-02-30").search(), Err(Wrong::To));
        let of = |key: &str, endpoint: &str| Look {
            key: key.to_owned(),
            endpoint: endpoint.to_owned(),
            ..Look::default()
        };
        assert_eq!(of("key_no", "").search(), Err(Wrong::Key));
        assert_eq!(of("", "<script>").search(), Err(Wrong::Endpoint));
    }

    #[test]
    fn a_filter_stands_in_the_address_as_it_was_given() {
        let look = days("2026-11-24", "");
        assert!(look.is_narrow());
        assert_eq!(look.query(), "from=2026-11-24&");
        assert!(!Look::default().is_narrow());
    }
}
