//! What this face itself finds wrong, before or beside the rules: one constructor each, so that a sentence stands once.

use super::extract::{Fault, Wrong};
use crate::archive::ArchiveError;
use crate::log::ReadError;
use crate::problem::{
    BAD_CURSOR, BAD_IDEMPOTENCY_KEY, BAD_POSITION, BODY_TOO_LARGE, FORBIDDEN, INTERNAL, INVALID_AMOUNT, INVALID_BODY,
    INVALID_JSON, INVALID_NAME, INVALID_PRICES, INVALID_QUERY, Kind, METHOD_NOT_ALLOWED, NOT_FOUND, Problem,
    REQUEST_TIMEOUT, TOKEN_INVALID, TOKEN_MISSING, UNAVAILABLE, UNKNOWN_CHARGE, UNKNOWN_ENDPOINT, UNKNOWN_PRICES,
    UNSUPPORTED_MEDIA_TYPE, VIEW_BEHIND,
};
use crate::requests::RequestsAway;
use crate::tokens::Role;
use crate::views::{ViewBehind, ViewError};

const RETRY_AFTER_SECONDS: u32 = 1;

/// A member's name says what it holds, all over the API.
fn kind_of_member(field: Option<&str>) -> &'static Kind {
    match field {
        Some("amount" | "credit_limit" | "rollover_cap") => INVALID_AMOUNT,
        Some("name") => INVALID_NAME,
        Some(_) | None => INVALID_BODY,
    }
}

fn kind_of_parameter(field: Option<&str>) -> &'static Kind {
    match field {
        Some("after") => BAD_POSITION,
        Some("cursor") => BAD_CURSOR,
        Some(_) | None => INVALID_QUERY,
    }
}

fn told(kind: &'static Kind, wrong: Wrong) -> Problem {
    match wrong.field {
        Some(field) => Problem::new(kind, format!("{field}: {}", wrong.detail)).field(field),
        None => Problem::new(kind, wrong.detail),
    }
}

pub(super) fn in_body(wrong: Wrong) -> Problem {
    match wrong.fault {
        Fault::Unreadable => invalid_json(),
        Fault::Shape => told(INVALID_BODY, wrong),
        Fault::Value => told(kind_of_member(wrong.field.as_deref()), wrong),
    }
}

pub(super) fn in_query(wrong: Wrong) -> Problem {
    match wrong.fault {
        Fault::Unreadable | Fault::Shape => told(INVALID_QUERY, wrong),
        Fault::Value => told(kind_of_parameter(wrong.field.as_deref()), wrong),
    }
}

pub(super) fn unreadable_query() -> Problem {
    Problem::new(INVALID_QUERY, "the query is not made of name=value pairs in UTF-8")
}

pub(super) fn invalid_json() -> Problem {
    Problem::new(INVALID_JSON, "the body is not one whole JSON document in UTF-8")
}

pub(super) fn invalid_body(field: &'static str, detail: &str) -> Problem {
    Problem::new(INVALID_BODY, detail).field(field)
}

pub(super) fn invalid_query(field: &'static str, detail: &str) -> Problem {
    Problem::new(INVALID_QUERY, detail).field(field)
}

pub(super) fn unsupported_media_type() -> Problem {
    Problem::new(
        UNSUPPORTED_MEDIA_TYPE,
        "the body has to be application/json in UTF-8, not encoded",
    )
}

pub(super) fn not_ndjson() -> Problem {
    Problem::new(
        UNSUPPORTED_MEDIA_TYPE,
        "the body has to be application/x-ndjson in UTF-8, not encoded",
    )
}

pub(super) fn line_too_long() -> Problem {
    Problem::new(BODY_TOO_LARGE, "a line has at most 16 KiB")
}

pub(super) fn batch_too_long() -> Problem {
    Problem::new(
        BODY_TOO_LARGE,
        "a batch has at most 10,000 lines; this one and what follows is not read",
    )
}

pub(super) fn unknown_command() -> Problem {
    Problem::new(
        INVALID_BODY,
        "a line is an object with one member: reserve, charge, release or charge_at_once",
    )
}

pub(super) fn body_too_large() -> Problem {
    Problem::new(BODY_TOO_LARGE, "a body has at most 1 MiB")
}

pub(super) fn body_too_slow() -> Problem {
    Problem::new(REQUEST_TIMEOUT, "the body did not arrive within 15 s")
}

pub(super) fn not_sealed() -> Problem {
    Problem::new(
        NOT_FOUND,
        "no checkpoint covers this yet: it is not sealed, or nothing seals this log",
    )
}

pub(super) fn token_missing() -> Problem {
    Problem::new(TOKEN_MISSING, "an access token is needed")
}

pub(super) fn token_invalid() -> Problem {
    Problem::new(TOKEN_INVALID, "this is not one valid access token")
}

pub(super) fn forbidden(role: Role) -> Problem {
    Problem::new(FORBIDDEN, format!("a token of role {} may not do this", role.as_str()))
}

pub(super) fn not_found() -> Problem {
    Problem::new(NOT_FOUND, "nothing has this address")
}

pub(super) fn method_not_allowed() -> Problem {
    Problem::new(METHOD_NOT_ALLOWED, "this address does not take this method")
}

pub(super) fn unknown_endpoint() -> Problem {
    Problem::new(UNKNOWN_ENDPOINT, "the price book has no endpoint of this name").field("endpoint")
}

pub(super) fn invalid_prices(field: &str, detail: &str) -> Problem {
    Problem::new(INVALID_PRICES, format!("{field}: {detail}")).field(field)
}

pub(super) fn unknown_prices() -> Problem {
    Problem::new(UNKNOWN_PRICES, "no book was published with this version")
}

pub(super) fn unknown_charge() -> Problem {
    Problem::new(UNKNOWN_CHARGE, "the account has no charge with this id")
}

pub(super) fn bad_cursor() -> Problem {
    Problem::new(BAD_CURSOR, "the cursor is not one that this list has given").field("cursor")
}

pub(super) fn bad_position(detail: &str) -> Problem {
    Problem::new(BAD_POSITION, detail).field("after")
}

pub(super) fn bad_idempotency_key() -> Problem {
    Problem::new(
        BAD_IDEMPOTENCY_KEY,
        "one header of 1 to 255 visible ASCII characters is taken",
    )
    .field("Idempotency-Key")
}

pub(super) fn view_behind() -> Problem {
    Problem::new(VIEW_BEHIND, "the view has not reached the position in `after` yet")
        .retry_after_seconds(RETRY_AFTER_SECONDS)
}

pub(super) fn unavailable() -> Problem {
    Problem::new(UNAVAILABLE, "the database cannot be asked now").retry_after_seconds(RETRY_AFTER_SECONDS)
}

/// As the ledger says it of commands.
pub(super) fn idempotency_mismatch() -> Problem {
    crate::ledger::Refusal::IdempotencyMismatch.into()
}

impl From<RequestsAway> for Problem {
    fn from(error: RequestsAway) -> Problem {
        tracing::warn!(%error, "an idempotency key could not be looked up");
        unavailable()
    }
}

/// A fault of ours. Whoever calls this has written the cause to the log.
pub(super) fn internal() -> Problem {
    Problem::new(INTERNAL, "the request could not be carried out")
}

impl From<ViewError> for Problem {
    fn from(error: ViewError) -> Problem {
        match error {
            ViewError::Unreachable(_) => {
                tracing::warn!(%error, "a view could not be read");
                unavailable()
            }
            ViewError::Corrupt { .. } => {
                tracing::error!(%error, "a view could not be read");
                internal()
            }
        }
    }
}

impl From<ViewBehind> for Problem {
    fn from(error: ViewBehind) -> Problem {
        match error {
            ViewBehind::Behind { .. } => view_behind(),
            ViewBehind::View(error) => error.into(),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        match error {
            ReadError::Unreachable(_) | ReadError::TimedOut { .. } | ReadError::Archive(ArchiveError::Away { .. }) => {
                tracing::warn!(%error, "the log could not be read");
                unavailable()
            }
            ReadError::NoHead { .. } | ReadError::Corrupt { .. } | ReadError::Archive(ArchiveError::Corrupt { .. }) => {
                tracing::error!(%error, "the log could not be read");
                internal()
            }
        }
    }
}
