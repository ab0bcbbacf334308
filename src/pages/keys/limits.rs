//! The fields that limit a key: the endpoints that it is for, and what it may spend.

use std::collections::BTreeMap;

use keyledger_events::{Credits, Scopes, SpendingLimit, SpendingPeriod};

use crate::pages::Pages;
use crate::pages::posted::Fields;

/// Before an endpoint's name, in the name of its box.
const ONLY: &str = "only_";
/// A key is for at most so many endpoints by name.
const SCOPES_MAX: usize = 64;

/// The fields as they are shown.
#[derive(Debug, Default)]
pub(super) struct LimitFields {
    pub(super) endpoints: Vec<EndpointBox>,
    pub(super) spending: SpendingFields,
    /// Whether something is filled in, so that it is not hidden.
    pub(super) open: bool,
    pub(super) scopes_error: Option<&'static str>,
}

#[derive(Debug)]
pub(super) struct EndpointBox {
    pub(super) name: String,
    pub(super) chosen: bool,
}

#[derive(Debug, Default)]
pub(super) struct SpendingFields {
    pub(super) amount: String,
    pub(super) monthly: bool,
    pub(super) error: Option<&'static str>,
}

/// What cannot be taken of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    Amount,
    Scopes,
    /// No form of ours says so.
    Form,
}

impl SpendingFields {
    pub(super) fn of(limit: Option<SpendingLimit>) -> SpendingFields {
        SpendingFields {
            amount: limit.map(|limit| limit.amount.to_string()).unwrap_or_default(),
            monthly: limit.is_some_and(|limit| limit.per == SpendingPeriod::Month),
            error: None,
        }
    }

    /// As somebody filled them in.
    pub(super) fn sent(fields: &Fields, wrong: Option<Wrong>) -> SpendingFields {
        SpendingFields {
            amount: fields.limit_amount.clone(),
            monthly: fields.limit_per == SpendingPeriod::Month.as_str(),
            error: (wrong == Some(Wrong::Amount))
                .then_some("The limit is more than 0 credits, such as 25 or 0.5; leave it empty for none."),
        }
    }
}

/// What a key may spend by the form; nothing where the field is empty.
pub(super) fn spending(fields: &Fields) -> Result<Option<SpendingLimit>, Wrong> {
    let text = fields.limit_amount.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let per = match fields.limit_per.as_str() {
        "" | "day" => SpendingPeriod::Day,
        "month" => SpendingPeriod::Month,
        _ => return Err(Wrong::Form),
    };
    let amount: Credits = text.parse().map_err(|_| Wrong::Amount)?;
    if amount <= Credits::ZERO {
        return Err(Wrong::Amount);
    }
    Ok(Some(SpendingLimit { amount, per }))
}

/// The endpoints that a key is for by the form; all of them where no box is ticked.
pub(super) fn scopes(more: &BTreeMap<String, String>) -> Result<Option<Scopes>, Wrong> {
    let chosen: Vec<String> = more
        .keys()
        .filter_map(|name| name.strip_prefix(ONLY).map(str::to_owned))
        .collect();
    if chosen.is_empty() {
        return Ok(None);
    }
    if chosen.len() > SCOPES_MAX {
        return Err(Wrong::Scopes);
    }
    Scopes::try_from(chosen).map(Some).map_err(|_| Wrong::Form)
}

impl LimitFields {
    /// With nothing filled in.
    pub(super) fn empty(pages: &Pages) -> LimitFields {
        LimitFields::new(pages, &Fields::default(), None)
    }

    /// As somebody filled them in.
    pub(super) fn new(pages: &Pages, fields: &Fields, wrong: Option<Wrong>) -> LimitFields {
        let chosen = |name: &str| fields.more.contains_key(&format!("{ONLY}{name}"));
        let book = pages.prices.book();
        let mut names: Vec<&str> = book.rules().map(|rule| rule.endpoint.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let endpoints: Vec<EndpointBox> = names
            .into_iter()
            .map(|name| EndpointBox {
                name: name.to_owned(),
                chosen: chosen(name),
            })
            .collect();
        LimitFields {
            open: !fields.limit_amount.is_empty() || endpoints.iter().any(|one| one.chosen),
            endpoints,
            spending: SpendingFields::sent(fields, wrong),
            scopes_error: (wrong == Some(Wrong::Scopes))
                .then_some("A key is for at most 64 endpoints, or for all of them."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(amount: &str, per: &str) -> Fields {
        Fields {
            limit_amount: amount.to_owned(),
            limit_per: per.to_owned(),
            ..Fields::default()
        }
    }

    #[test]
    fn an_empty_field_is_no_limit_and_a_wrong_one_is_said_to_be() {
        let read =
            |amount, per| spending(&fields(amount, per)).map(|limit| limit.map(|limit| limit.amount.to_string()));
        assert_eq!(read("  ", "day"), Ok(None));
        assert_eq!(read(" 2.5 ", "month"), Ok(Some("2.5".to_owned())));
        for wrong in ["0", "-1", "five", "1e3", "0.0000001"] {
            assert_eq!(read(wrong, "day"), Err(Wrong::Amount), "{wrong}");
        }
        assert_eq!(read("1", "year"), Err(Wrong::Form));
    }

    #[test]
    fn boxes_that_are_ticked_are_the_endpoints_of_a_key() {
        let ticked = |names: &[&str]| {
            let more = names
                .iter()
                .map(|name| ((*name).to_owned(), "yes".to_owned()))
                .collect();
            scopes(&more).map(|scopes| scopes.map_or(0, |scopes| scopes.endpoints().len()))
        };
        assert_eq!(ticked(&[]), Ok(0));
        assert_eq!(ticked(&["something", "only_serp", "only_ai"]), Ok(2));
        assert_eq!(ticked(&["only_No Name"]), Err(Wrong::Form));
        let many: Vec<String> = (0..65).map(|n| format!("only_e{n}")).collect();
        assert_eq!(
            ticked(&many.iter().map(String::as_str).collect::<Vec<_>>()),
            Err(Wrong::Scopes)
        );
    }
}
