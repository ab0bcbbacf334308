//! What a caller asks of a statement: the period, and how it is written.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::header::ACCEPT;
use http::request::Parts;
use keyledger_events::Timestamp;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::http::place::Place;
use crate::http::problems;
use crate::problem::Problem;
use crate::statements::{Moment, Month, ParquetFile, Period};

/// How a statement is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum Written {
    Json,
    Csv,
    Parquet,
}

/// Of a statement.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct StatementQuery {
    /// The first moment: a time, or a day, which begins at midnight UTC. The account's beginning, where only `to` is said.
    #[param(value_type = Option<String>, example = "2026-11-01")]
    from: Option<Moment>,
    /// The moment at which to end, which is not in it any more. Now, where only `from` is said.
    #[param(value_type = Option<String>, example = "2026-12-01")]
    to: Option<Moment>,
    /// A month, UTC, instead of both. This month, where nothing is said.
    #[param(value_type = Option<String>, example = "2026-11")]
    month: Option<Month>,
    /// Instead of `Accept`: `json` unless said.
    #[param(value_type = Option<Written>, inline)]
    format: Option<Written>,
    /// `false` leaves the lines out and tells what they add up to. Of JSON alone.
    pub(super) lines: Option<bool>,
    /// Answer only from a log that has reached this place; a `Ledger-Position` that you were given, such as `0:812`.
    #[param(value_type = Option<String>, pattern = "^[0-9]+:[0-9]+$")]
    pub(super) after: Option<Place>,
}

impl StatementQuery {
    pub(super) fn period(&self, now: Timestamp) -> Result<Period, Problem> {
        let (from, to) = match (self.month, self.from, self.to) {
            (Some(month), None, None) => return Ok(month.period()),
            (Some(_), _, _) => {
                return Err(problems::invalid_query("month", "month excludes from and to"));
            }
            (None, None, None) => return Ok(Month::of(now).period()),
            (None, from, to) => (from.map_or(Timestamp::EPOCH, |from| from.0), to.map_or(now, |to| to.0)),
        };
        let wrong = if self.to.is_some() {
            ("to", "must be after from")
        } else {
            ("from", "must be before now, where to is not said")
        };
        Period::new(from, to).ok_or_else(|| problems::invalid_query(wrong.0, wrong.1))
    }

    pub(super) fn written(&self, accepted: Accepted) -> Result<Written, Problem> {
        let written = self.format.or(accepted.0).unwrap_or(Written::Json);
        if self.lines.is_some() && written != Written::Json {
            return Err(problems::invalid_query("lines", "only JSON can be without its lines"));
        }
        Ok(written)
    }
}

/// The first type in `Accept` that a statement can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Accepted(Option<Written>);

impl Accepted {
    fn of<'h>(values: impl Iterator<Item = &'h str>) -> Accepted {
        let named = values.flat_map(|value| value.split(',')).filter_map(|range| {
            let (name, weight) = range.split_once(';').unwrap_or((range, ""));
            let refused = matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
            match name.trim().to_ascii_lowercase().as_str() {
                _ if refused => None,
                "application/json" => Some(Written::Json),
                "text/csv" => Some(Written::Csv),
                ParquetFile::MEDIA_TYPE => Some(Written::Parquet),
                _ => None,
            }
        });
        Accepted(named.take(1).next())
    }
}

impl<S: Sync> FromRequestParts<S> for Accepted {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Accepted, Infallible> {
        let values = parts.headers.get_all(ACCEPT).iter();
        Ok(Accepted::of(values.filter_map(|value| value.to_str().ok())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(from: &str, to: &str, month: &str) -> Result<Period, Problem> {
        let moment = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        let query = StatementQuery {
            from: moment(from),
            to: moment(to),
            month: (!month.is_empty()).then(|| month.parse().unwrap()),
            format: None,
            lines: None,
            after: None,
        };
        query.period("2026-11-24T14:03:07Z".parse().unwrap())
    }

    #[test]
    fn what_is_not_said_of_a_period_is_plain() {
        let period = |from: &str, to: &str| {
            let moment = |text: &str| text.parse::<Moment>().unwrap().0;
            Period::new(moment(from), moment(to))
        };
        assert_eq!(asked("", "", "").ok(), period("2026-11-01", "2026-12-01"));
        assert_eq!(asked("", "", "2026-02").ok(), period("2026-02-01", "2026-03-01"));
        assert_eq!(asked("", "2026-02-01", "").ok(), period("1970-01-01", "2026-02-01"));
        assert_eq!(
            asked("2026-11-24", "", "").ok(),
            period("2026-11-24", "2026-11-24T14:03:07Z")
        );
        for bad in [
            ("2026-11-25", "", ""),
            ("2026-11-01", "2026-11-01", ""),
            ("2026-11-01", "", "2026-11"),
        ] {
            assert!(asked(bad.0, bad.1, bad.2).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_first_type_that_fits_is_taken() {
        for (accept, written) in [
            ("text/csv", Some(Written::Csv)),
            ("text/html, Text/CSV;q=0.9, application/json", Some(Written::Csv)),
            ("text/csv;q=0, application/json", Some(Written::Json)),
            ("application/vnd.apache.parquet", Some(Written::Parquet)),
            ("*/*", None),
        ] {
            assert_eq!(Accepted::of([accept].into_iter()), Accepted(written), "{accept}");
        }
    }
}
