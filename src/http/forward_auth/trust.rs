//! Which proxies are believed.
//!
//! Promise: a request without a right token is refused before anything else of it is read. The token comes in a header
//! of its own, since `Authorization` holds the key of the proxy's client; it is never read from an address.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use keyledger_events::{Actor, CommandId, ReservationId};

use crate::http::{App, problems};
use crate::ledger::By;
use crate::problem::{FORWARD_AUTH_UNTRUSTED, Problem};
use crate::tokens::{Caller, Right, TokenError};

pub(super) const TOKEN: HeaderName = HeaderName::from_static("x-keyledger-forward-auth");

/// The proxy that asks, at the other end of a connection. 403 it may not ask from there, or shows no token that may meter. 503 tokens cannot be read: nobody is believed.
pub(super) async fn trusted(app: &App, peer: Option<IpAddr>, headers: &HeaderMap) -> Result<Caller, Problem> {
    if !app.forward_auth.believes(peer) {
        tracing::debug!(?peer, "a proxy asks from where none may");
        return Err(untrusted());
    }
    let mut values = headers.get_all(&TOKEN).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(untrusted());
    };
    let text = value.to_str().map_err(|_| untrusted())?;
    let caller = app.tokens.check(text).await.map_err(|error| match error {
        TokenError::Invalid => untrusted(),
        TokenError::Unavailable(_) | TokenError::TimedOut { .. } => {
            tracing::warn!(%error, "a proxy could not be checked");
            problems::unavailable()
        }
    })?;
    if caller.role.may(Right::Meter) {
        Ok(caller)
    } else {
        Err(untrusted())
    }
}

fn untrusted() -> Problem {
    let detail = "one X-Keyledger-Forward-Auth header with a token of role metering is needed";
    Problem::new(FORWARD_AUTH_UNTRUSTED, detail)
}

/// Signs a command of the proxy's. Commands of one exchange are named after its reservation, so that a repetition is one.
pub(super) fn by(caller: Caller, reservation: ReservationId, what: &str) -> By {
    let command = CommandId::parse(&format!("forward-auth:{reservation}:{what}"));
    By {
        actor: Actor::Token(caller.token),
        command: command.unwrap_or_else(|| unreachable!("an id has only characters that a command's name may have")),
    }
}
