//! The `Idempotency-Key` header: lets a client send a request again without it happening again.

use axum::extract::FromRequestParts;
use http::HeaderName;
use http::request::Parts;
use keyledger_events::{AccountId, CommandId, KeyDigest, TokenId};
use serde::Serialize;

use crate::clock;
use crate::http::problems;
use crate::ledger::idempotent_command_id;
use crate::problem::Problem;

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const KEY_BYTES_MAX: usize = 255;

/// Hexadecimal digits that are kept of each hash. Together they fit a command id; 160 and 96 bits are far beyond chance.
const SCOPE_DIGITS: usize = 40;
const FINGERPRINT_DIGITS: usize = 24;

/// The key, when there is one. 400 when it is empty, longer than 255, not visible ASCII, or there twice.
#[derive(Debug)]
pub(crate) struct IdempotencyKey(Option<String>);

/// What a key is good for: the same key elsewhere is another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    pub(crate) token: TokenId,
    pub(crate) account: AccountId,
    pub(crate) route: &'static str,
}

impl IdempotencyKey {
    pub(crate) const fn is_sent(&self) -> bool {
        self.0.is_some()
    }

    /// The scope and the fingerprint of a request that is no command, if it came with a key.
    pub(crate) fn hashes<B: Serialize>(&self, scope: Scope, body: &B) -> Result<Option<(String, String)>, Problem> {
        let Some(key) = &self.0 else { return Ok(None) };
        let Scope { token, account, route } = scope;
        // The body as we understood it, so that spaces and the order of members do not make another request of it.
        let body = serde_json::to_string(body).map_err(|_| problems::internal())?;
        let scope = digits(&format!("{token}\n{account}\n{route}\n{key}"), SCOPE_DIGITS);
        // The key is in it, and is kept nowhere: the fingerprint stands in the log for ever, and must not tell whether a name
        // that somebody guesses was in the request.
        let fingerprint = digits(&format!("{key}\n{body}"), FINGERPRINT_DIGITS);
        Ok(Some((scope, fingerprint)))
    }

    /// The key of a part of a request that is several commands.
    pub(crate) fn of_part(&self, part: impl std::fmt::Display) -> IdempotencyKey {
        IdempotencyKey(self.0.as_ref().map(|key| format!("{key}\n{part}")))
    }

    /// Names the command: by the key, where it is used and what is asked; or anew when there is no key.
    pub(crate) fn command_id<B: Serialize>(&self, scope: Scope, body: &B) -> Result<CommandId, Problem> {
        match self.hashes(scope, body)? {
            None => Ok(clock::fresh_command_id()),
            Some((scope, fingerprint)) => idempotent_command_id(&scope, &fingerprint).ok_or_else(problems::internal),
        }
    }
}

fn digits(text: &str, count: usize) -> String {
    let mut hex = KeyDigest::of(text).to_string();
    hex.truncate(count);
    hex
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<IdempotencyKey, Problem> {
        let mut all = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(only) = all.next() else {
            return Ok(IdempotencyKey(None));
        };
        let bytes = only.as_bytes();
        let fits = (1..=KEY_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        match std::str::from_utf8(bytes) {
            Ok(key) if fits && all.next().is_none() => Ok(IdempotencyKey(Some(key.to_owned()))),
            Ok(_) | Err(_) => Err(problems::bad_idempotency_key()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: Scope = Scope {
        token: TokenId::from_parts(1, 1),
        account: AccountId::from_parts(1, 2),
        route: "keys",
    };

    fn id(key: &str, scope: Scope, body: &str) -> CommandId {
        IdempotencyKey(Some(key.to_owned())).command_id(scope, &body).unwrap()
    }

    #[test]
    fn the_same_request_has_the_same_name_and_another_has_not() {
        let first = id("k", SCOPE, "a");
        assert_eq!(first, id("k", SCOPE, "a"));
        let elsewhere = Scope {
            route: "grants",
            ..SCOPE
        };
        for other in [id("k2", SCOPE, "a"), id("k", elsewhere, "a"), id("k", SCOPE, "b")] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn another_body_under_the_same_key_keeps_the_scope() {
        let scope_of = |id: &CommandId| id.as_str().split_once('.').map(|(scope, _)| scope.to_owned());
        assert_eq!(scope_of(&id("k", SCOPE, "a")), scope_of(&id("k", SCOPE, "b")));
    }

    #[test]
    fn without_a_key_every_request_is_a_new_one() {
        let none = IdempotencyKey(None);
        assert_ne!(none.command_id(SCOPE, &1).unwrap(), none.command_id(SCOPE, &1).unwrap());
    }
}
