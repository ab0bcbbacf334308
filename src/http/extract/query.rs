//! The parameters of a query: read as strictly as a body, so that a misspelt filter is not silently no filter.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::members;
use crate::http::place::Place;
use crate::http::problems;
use crate::http::words::Limit;
use crate::problem::Problem;

/// The parameters as a `T`. 422 when one is unknown, twice there or out of bounds; 400 when a position is malformed.
#[derive(Debug)]
pub(crate) struct InQuery<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<InQuery<T>, Problem> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| problems::unreadable_query())?
            .0;
        members::from_pairs(pairs).map(InQuery).map_err(problems::in_query)
    }
}

/// Of a read of one thing.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct One {
    /// Answer only from a view that has reached this place of the log; a `Ledger-Position` that you were given, such as `0:812`.
    #[param(value_type = Option<String>, pattern = "^[0-9]+:[0-9]+$")]
    pub(crate) after: Option<Place>,
}

/// Of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    /// Items at once: 1 to 200, 50 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, example = 50)]
    pub(crate) limit: Option<Limit>,
    /// Go on from here: the `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
    /// Answer only from a view that has reached this place of the log; a `Ledger-Position` that you were given, such as `0:812`.
    #[param(value_type = Option<String>, pattern = "^[0-9]+:[0-9]+$")]
    pub(crate) after: Option<Place>,
}
