//! What a client is told when something is not done: RFC 9457 problem documents.
//!
//! In: refusals, faults, and what a face found wrong. Out: a status, a stable code, and a sentence.
//!
//! Promise: this room alone decides statuses; a document never repeats what the client sent as a secret; it stays
//! under 1 KiB.
//!
//! Not here: causes. The client sees a code, the log sees the cause.

mod kinds;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use keyledger_events::{Credits, SpendingLimit, Timestamp};
use serde::Serialize;

pub use kinds::*;

use crate::ledger::{Refusal, SubmitError};

/// One problem, ready to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub kind: &'static Kind,
    /// The kind's own, but for the few that depend on who asked.
    pub status: StatusCode,
    pub detail: String,
    /// The member, parameter or header at fault.
    pub field: Option<String>,
    pub credits: Option<Lack>,
    pub retry_after_seconds: Option<u32>,
}

/// What was needed and what was there: the extra members of a 402.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    Available {
        required: Credits,
        available: Credits,
    },
    /// Boxed: it is seldom, and problems travel as errors.
    MaySpend(Box<Spent>),
}

/// What a key may spend and has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    pub required: Credits,
    pub limit: SpendingLimit,
    pub spent: Credits,
    pub resets_at: Timestamp,
}

/// The document of RFC 9457. Members that we add to it: `code`, `field`, `required`, `available`, `limit`, `spent`,
/// `resets_at`.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    type_: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    required: Option<Credits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<Credits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<SpendingLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spent: Option<Credits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at: Option<Timestamp>,
}

/// A field's name is ours; where it is the client's own (an unknown member), no more of it than this comes back.
const FIELD_CHARS_MAX: usize = 64;
const DETAIL_CHARS_MAX: usize = 300;

impl Problem {
    /// Makes a problem of a kind. `detail` is one clause or sentence about this occurrence, without secrets.
    pub fn new(kind: &'static Kind, detail: impl Into<String>) -> Problem {
        Problem {
            kind,
            status: kind.status,
            detail: detail.into().chars().take(DETAIL_CHARS_MAX).collect(),
            field: None,
            credits: None,
            retry_after_seconds: None,
        }
    }

    /// The same for an id that nobody has and for one that nobody can have.
    pub fn unknown_account() -> Problem {
        Problem::new(UNKNOWN_ACCOUNT, "there is no account with this id")
    }

    /// See [`Problem::unknown_account`].
    pub fn unknown_key() -> Problem {
        Problem::new(UNKNOWN_KEY, "the account has no key with this id")
    }

    /// See [`Problem::unknown_account`].
    pub fn unknown_reservation() -> Problem {
        Problem::new(UNKNOWN_RESERVATION, "the account has no reservation with this id")
    }

    /// See [`Problem::unknown_account`].
    pub fn unknown_plan() -> Problem {
        Problem::new(UNKNOWN_PLAN, "the account has no plan with this id")
    }

    /// Names the field at fault.
    pub fn field(mut self, field: impl Into<String>) -> Problem {
        self.field = Some(field.into().chars().take(FIELD_CHARS_MAX).collect());
        self
    }

    /// Says when the same request may be sent again.
    pub fn retry_after_seconds(mut self, seconds: u32) -> Problem {
        self.retry_after_seconds = Some(seconds);
        self
    }

    pub fn code(&self) -> &'static str {
        self.kind.code
    }

    /// Writes the document, without a newline.
    pub fn body(&self) -> String {
        let (required, available, spending) = match &self.credits {
            None => (None, None, None),
            Some(Lack::Available { required, available }) => (Some(*required), Some(*available), None),
            Some(Lack::MaySpend(spent)) => (Some(spent.required), None, Some(spent)),
        };
        let document = Document {
            type_: format!("/problems/{}", self.kind.code),
            title: self.kind.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.kind.code,
            field: self.field.as_deref(),
            required,
            available,
            limit: spending.map(|spent| spent.limit),
            spent: spending.map(|spent| spent.spent),
            resets_at: spending.map(|spent| spent.resets_at),
        };
        // Strings and numbers only: nothing that serde_json could refuse.
        serde_json::to_string(&document).unwrap_or_else(|_| "{}".to_owned())
    }

    /// Writes the whole answer, whatever type its body shall have.
    pub fn into_http<B: From<String>>(self) -> http::Response<B> {
        let mut response = http::Response::new(B::from(self.body()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.into_http()
    }
}

/// A second is longer than any queue of the writer takes when it moves at all.
const RETRY_AFTER_SECONDS: u32 = 1;

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let detail = refusal.to_string();
        match refusal {
            Refusal::UnknownAccount { .. } => Problem::unknown_account(),
            Refusal::AccountExists { .. } => Problem::new(ACCOUNT_EXISTS, detail),
            Refusal::AccountClosed => Problem::new(ACCOUNT_CLOSED, detail),
            Refusal::AccountOpen => Problem::new(ACCOUNT_OPEN, detail),
            Refusal::UnknownKey { .. } => Problem::unknown_key(),
            // The caller manages keys and showed none: what stands in the way is the key's state, not who asks.
            Refusal::KeyGone { .. } => Problem {
                status: StatusCode::CONFLICT,
                ..Problem::new(KEY_DELETED, detail)
            },
            Refusal::KeyOver { .. } => Problem {
                status: StatusCode::CONFLICT,
                ..Problem::new(KEY_EXPIRED, detail)
            },
            Refusal::KeyRotated { .. } => Problem::new(KEY_ROTATED, detail),
            Refusal::TooManyKeys { .. } => Problem::new(TOO_MANY_KEYS, detail),
            Refusal::KeyInvalid => Problem::new(KEY_INVALID, detail),
            Refusal::KeyDeleted => Problem::new(KEY_DELETED, detail),
            Refusal::KeyExpired => Problem::new(KEY_EXPIRED, detail),
            Refusal::KeyScope { .. } => Problem::new(KEY_SCOPE, detail),
            Refusal::KeySpendingLimit {
                limit,
                required,
                spent,
                resets_at,
            } => Problem {
                credits: Some(Lack::MaySpend(Box::new(Spent {
                    required,
                    limit,
                    spent,
                    resets_at,
                }))),
                ..Problem::new(KEY_SPENDING_LIMIT, detail)
            },
            Refusal::InsufficientCredits { required, available } => Problem {
                credits: Some(Lack::Available { required, available }),
                ..Problem::new(INSUFFICIENT_CREDITS, detail)
            },
            Refusal::OutOfRange { field } => Problem::new(OUT_OF_RANGE, detail).field(field),
            Refusal::InThePast { field } => Problem::new(IN_THE_PAST, detail).field(field),
            Refusal::TooManyBooks { .. } => Problem::new(TOO_MANY_BOOKS, detail),
            Refusal::OtherPricesHold { .. } => {
                Problem::new(OTHER_PRICES_HOLD, detail).retry_after_seconds(RETRY_AFTER_SECONDS)
            }
            Refusal::UnknownReservation { .. } => Problem::unknown_reservation(),
            Refusal::ReservationClosed { .. } => Problem::new(RESERVATION_CLOSED, detail),
            Refusal::ReservationMismatch { .. } => Problem::new(RESERVATION_MISMATCH, detail),
            Refusal::ReservationIdNotTimely { .. } => Problem::new(RESERVATION_ID_NOT_TIMELY, detail),
            Refusal::ChargeExceedsReservation { .. } => Problem::new(CHARGE_EXCEEDS_RESERVATION, detail),
            Refusal::NothingToRefund { .. } => Problem::new(CHARGE_REFUNDED, detail),
            Refusal::RefundExceedsCharge { .. } => Problem::new(REFUND_EXCEEDS_CHARGE, detail).field("amount"),
            Refusal::CorrectionExceedsAvailable { .. } => {
                Problem::new(CORRECTION_EXCEEDS_AVAILABLE, detail).field("amount")
            }
            Refusal::UnknownPlan { .. } => Problem::unknown_plan(),
            Refusal::TooManyPlans { .. } => Problem::new(TOO_MANY_PLANS, detail),
            Refusal::ChargeTooOld { .. } => Problem::new(CHARGE_TOO_OLD, detail),
            Refusal::TooManyOpenReservations { .. } => {
                Problem::new(TOO_MANY_OPEN_RESERVATIONS, detail).retry_after_seconds(RETRY_AFTER_SECONDS)
            }
            Refusal::IdempotencyMismatch => Problem::new(IDEMPOTENCY_MISMATCH, detail),
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Problem {
        let detail = error.to_string();
        match error {
            SubmitError::Refused { refusal, .. } => refusal.into(),
            SubmitError::Busy => Problem::new(BUSY, detail).retry_after_seconds(RETRY_AFTER_SECONDS),
            SubmitError::Unavailable => Problem::new(UNAVAILABLE, detail).retry_after_seconds(RETRY_AFTER_SECONDS),
            SubmitError::OutcomeUnknown => {
                Problem::new(OUTCOME_UNKNOWN, detail).retry_after_seconds(RETRY_AFTER_SECONDS)
            }
            SubmitError::Broken => Problem::new(INTERNAL, "the request could not be carried out"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyledger_events::{Position, Shard};

    fn told(problem: Problem) -> (http::response::Parts, serde_json::Value) {
        let (parts, body) = problem.into_http::<String>().into_parts();
        (parts, serde_json::from_str(&body).unwrap())
    }

    #[test]
    fn lacking_credits_says_how_many() {
        let refusal = Refusal::InsufficientCredits {
            required: "0.5".parse().unwrap(),
            available: "0.1".parse().unwrap(),
        };
        let error = SubmitError::Refused {
            refusal,
            shard: Shard(0),
            position: Position(7),
        };
        let (parts, document) = told(error.into());
        assert_eq!(parts.status, 402);
        assert_eq!(parts.headers[CONTENT_TYPE], "application/problem+json");
        let expected = serde_json::json!({
            "type": "/problems/insufficient-credits",
            "title": "Not enough credits are available",
            "status": 402,
            "detail": "0.5 credits are needed and 0.1 are available",
            "code": "insufficient-credits",
            "required": "0.5",
            "available": "0.1",
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn a_key_that_is_refused_says_how_to_send_one() {
        let (parts, _) = told(Refusal::KeyInvalid.into());
        assert_eq!(parts.status, 401);
        assert_eq!(parts.headers[WWW_AUTHENTICATE], "Bearer");
    }

    #[test]
    fn a_deleted_key_is_401_to_its_holder_and_409_to_its_manager() {
        assert_eq!(Problem::from(Refusal::KeyDeleted).status, 401);
        let key = crate::clock::fresh_key_id();
        let managed = Problem::from(Refusal::KeyGone { key });
        assert_eq!((managed.status.as_u16(), managed.code()), (409, "key-deleted"));
    }

    #[test]
    fn what_may_be_sent_again_says_when() {
        for error in [SubmitError::Busy, SubmitError::Unavailable, SubmitError::OutcomeUnknown] {
            let (parts, _) = told(error.into());
            assert_eq!(parts.status, 503);
            assert_eq!(parts.headers[RETRY_AFTER], "1");
        }
    }

    #[test]
    fn a_document_stays_small_whatever_it_is_told() {
        let problem = Problem::new(INVALID_BODY, "x".repeat(5_000)).field("y".repeat(5_000));
        assert!(problem.body().len() < 1_024);
    }
}
