//! Ids in the path. One that is malformed names nothing, exactly like one that nobody has: both are 404 of that kind.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use keyledger_events::{AccountId, KeyId, ReservationId};

use crate::http::problems;
use crate::problem::Problem;

/// An id with its name in path patterns.
pub(crate) trait PathId: FromStr + Send {
    const NAME: &'static str;

    /// The answer when nothing has this id.
    fn unknown() -> Problem;
}

impl PathId for AccountId {
    const NAME: &'static str = "account";

    fn unknown() -> Problem {
        Problem::unknown_account()
    }
}

impl PathId for KeyId {
    const NAME: &'static str = "key";

    fn unknown() -> Problem {
        Problem::unknown_key()
    }
}

impl PathId for ReservationId {
    const NAME: &'static str = "reservation";

    fn unknown() -> Problem {
        Problem::unknown_reservation()
    }
}

/// One id or two of the path.
#[derive(Debug)]
pub(crate) struct InPath<T>(pub(crate) T);

async fn params<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<RawPathParams, Problem> {
    // The only way to fail is a percent-encoding that is no UTF-8: there is no such thing here.
    RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| problems::not_found())
}

fn id<T: PathId>(params: &RawPathParams) -> Result<T, Problem> {
    params
        .iter()
        .find(|(name, _)| *name == T::NAME)
        .and_then(|(_, text)| text.parse().ok())
        .ok_or_else(T::unknown)
}

impl<T: PathId, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<InPath<T>, Problem> {
        id(&params(parts, state).await?).map(InPath)
    }
}

impl<A: PathId, B: PathId, S: Send + Sync> FromRequestParts<S> for InPath<(A, B)> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<InPath<(A, B)>, Problem> {
        let params = params(parts, state).await?;
        Ok(InPath((id(&params)?, id(&params)?)))
    }
}
