//! Who calls, and whether they may. Comes first in every handler, so nothing is read from a stranger.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use keyledger_events::{AccountId, Actor, CommandId};
use serde::Serialize;

use super::idempotency::{IdempotencyKey, Scope};
use crate::clock;
use crate::http::{App, problems};
use crate::ledger::By;
use crate::problem::Problem;
use crate::tokens::{Caller, Right, TokenError};

/// A right as a type, for a handler's signature.
pub(crate) trait Needs: Send {
    const RIGHT: Right;
}

macro_rules! rights {
    ($($name:ident),+ $(,)?) => {
        $(#[derive(Debug, Clone, Copy)]
        pub(crate) enum $name {}

        impl Needs for $name {
            const RIGHT: Right = Right::$name;
        })+
    };
}

rights!(Manage, Meter, Grant, Read);

/// A caller with the right `R`. 401 no token or a bad one. 403 a token without that right. 503 tokens cannot be read.
#[derive(Debug)]
pub(crate) struct Allowed<R> {
    pub(crate) caller: Caller,
    right: PhantomData<R>,
}

impl<R> Allowed<R> {
    /// The token's text, for whoever has to check it again later.
    pub(crate) fn shown<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, Problem> {
        bearer(headers)
    }

    /// Signs a command that has no name of its own.
    pub(crate) fn by(&self) -> By {
        self.by_command(clock::fresh_command_id())
    }

    /// Signs a command under the caller's idempotency key, where it came with one. `asked` is all that the request says.
    pub(crate) fn keyed<B: Serialize>(
        &self,
        key: &IdempotencyKey,
        account: AccountId,
        route: &'static str,
        asked: &B,
    ) -> Result<By, Problem> {
        let token = self.caller.token;
        let scope = Scope { token, account, route };
        Ok(self.by_command(key.command_id(scope, asked)?))
    }

    pub(crate) fn by_command(&self, command: CommandId) -> By {
        By {
            actor: Actor::Token(self.caller.token),
            command,
        }
    }
}

impl<R: Needs> Allowed<R> {
    /// Whether the token of this text still has the right, with the same problems as at first.
    pub(crate) async fn still(&self, app: &App, text: &str) -> Result<(), Problem> {
        check::<R>(app, text).await.map(drop)
    }
}

async fn check<R: Needs>(app: &App, text: &str) -> Result<Caller, Problem> {
    let caller = app.tokens.check(text).await.map_err(|error| match error {
        TokenError::Invalid => problems::token_invalid(),
        TokenError::Unavailable(_) | TokenError::TimedOut { .. } => {
            tracing::warn!(%error, "a caller could not be checked");
            problems::unavailable()
        }
    })?;
    if !caller.role.may(R::RIGHT) {
        return Err(problems::forbidden(caller.role));
    }
    Ok(caller)
}

impl<R: Needs> FromRequestParts<App> for Allowed<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Allowed<R>, Problem> {
        let caller = check::<R>(app, bearer(&parts.headers)?).await?;
        Ok(Allowed {
            caller,
            right: PhantomData,
        })
    }
}

/// The token of the only `Authorization` header. Two of them are a way to be two callers at once.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let only = all.next().ok_or_else(problems::token_missing)?;
    if all.next().is_some() {
        return Err(problems::token_invalid());
    }
    let (scheme, token) = only
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(problems::token_invalid)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim_matches(' '))
    } else {
        Err(problems::token_invalid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn token(values: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        bearer(&headers).ok().map(str::to_owned)
    }

    #[test]
    fn the_scheme_may_be_written_in_any_case() {
        assert_eq!(token(&["Bearer klt_1"]).as_deref(), Some("klt_1"));
        assert_eq!(token(&["bearer  klt_1"]).as_deref(), Some("klt_1"));
    }

    #[test]
    fn what_is_not_one_bearer_token_is_none() {
        for values in [
            &[][..],
            &["Bearer"],
            &["Basic abc"],
            &["Bearer\tklt_1"],
            &["Bearer a", "Bearer b"],
        ] {
            assert_eq!(token(values), None, "{values:?}");
        }
    }
}
