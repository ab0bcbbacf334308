//! Answers: a body, a status, and the place in the log at which it is true.

use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use keyledger_events::Shard;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::place::{LEDGER_POSITION, Place};
use super::problems;
use crate::ledger::{Answer, SubmitError};
use crate::problem::Problem;
use crate::views::At;

/// Says that a request was carried out before, and this is what it did then.
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A good answer.
#[derive(Debug)]
pub(crate) struct Answered<T> {
    status: StatusCode,
    place: Option<Place>,
    replayed: bool,
    body: T,
}

impl<T> Answered<T> {
    /// Something was made.
    pub(crate) fn created<R>(answer: Answer<R>, body: impl FnOnce(R) -> T) -> Answered<T> {
        Answered {
            status: StatusCode::CREATED,
            ..Answered::done(answer, body)
        }
    }

    /// Something was changed, or was so already.
    pub(crate) fn done<R>(answer: Answer<R>, body: impl FnOnce(R) -> T) -> Answered<T> {
        Answered {
            status: StatusCode::OK,
            place: Some(Place {
                shard: answer.shard,
                position: answer.position,
            }),
            replayed: answer.replayed,
            body: body(answer.reply),
        }
    }

    /// Something was looked up.
    pub(crate) fn found(place: Place, body: T) -> Answered<T> {
        Answered {
            status: StatusCode::OK,
            place: Some(place),
            replayed: false,
            body,
        }
    }

    /// Something was looked up that does not come from the log.
    pub(crate) fn plain(body: T) -> Answered<T> {
        Answered {
            status: StatusCode::OK,
            place: None,
            replayed: false,
            body,
        }
    }

    /// The same answer with its body in another form.
    pub(crate) fn map<U>(self, form: impl FnOnce(T) -> U) -> Answered<U> {
        Answered {
            status: self.status,
            place: self.place,
            replayed: self.replayed,
            body: form(self.body),
        }
    }

    /// Corrects what the ledger calls a repetition where the face knows better.
    pub(crate) fn replayed(mut self, replayed: bool) -> Answered<T> {
        self.replayed = replayed;
        self
    }
}

/// An answer among others: a line of a batch.
#[derive(Debug)]
pub(crate) struct Told {
    status: StatusCode,
    place: Option<Place>,
    replayed: bool,
    retry_after: Option<u32>,
    body: String,
}

/// As it is written.
#[derive(Serialize)]
struct Line<'a> {
    line: usize,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Place>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    body: &'a RawValue,
}

impl Told {
    /// Writes it as the answer to this line, with its end.
    pub(crate) fn line(&self, number: usize) -> Bytes {
        let body: Result<&RawValue, _> = serde_json::from_str(&self.body);
        let written = body.and_then(|body| {
            serde_json::to_vec(&Line {
                line: number,
                status: self.status.as_u16(),
                position: self.place,
                replayed: self.replayed,
                retry_after: self.retry_after,
                body,
            })
        });
        let mut line = written.unwrap_or_else(|error| {
            tracing::error!(%error, "an answer could not be written as JSON");
            format!("{{\"line\":{number},\"status\":500}}").into_bytes()
        });
        line.push(b'\n');
        line.into()
    }
}

impl From<Problem> for Told {
    fn from(problem: Problem) -> Told {
        Failure::from(problem).into()
    }
}

impl From<Failure> for Told {
    fn from(Failure { problem, place }: Failure) -> Told {
        Told {
            status: problem.status,
            place,
            replayed: false,
            retry_after: problem.retry_after_seconds,
            body: problem.body(),
        }
    }
}

impl<T: Serialize> From<Result<Answered<T>, Failure>> for Told {
    fn from(answer: Result<Answered<T>, Failure>) -> Told {
        let answered = match answer {
            Ok(answered) => answered,
            Err(failure) => return failure.into(),
        };
        match serde_json::to_string(&answered.body) {
            Ok(body) => Told {
                status: answered.status,
                place: answered.place,
                replayed: answered.replayed,
                retry_after: None,
                body,
            },
            Err(error) => {
                tracing::error!(%error, "an answer could not be written as JSON");
                problems::internal().into()
            }
        }
    }
}

impl<T: Serialize> IntoResponse for Answered<T> {
    fn into_response(self) -> Response {
        let Ok(bytes) = serde_json::to_vec(&self.body) else {
            tracing::error!("an answer could not be written as JSON");
            return problems::internal().into_response();
        };
        let mut response = (self.status, bytes).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(place) = self.place {
            headers.insert(LEDGER_POSITION, position_value(place));
        }
        if self.replayed {
            headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

pub(crate) fn position_value(place: Place) -> HeaderValue {
    // Digits and a colon: always a header's value.
    HeaderValue::from_str(&place.to_string()).unwrap_or(HeaderValue::from_static("0:0"))
}

/// No answer but a problem, and the place at which the refusal is true, where it is one.
#[derive(Debug)]
pub(crate) struct Failure {
    problem: Problem,
    place: Option<Place>,
}

impl<E: Into<Problem>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure {
            problem: error.into(),
            place: None,
        }
    }
}

/// Puts the place on a refusal. For `map_err`: the conversion to a bare [`Problem`] would lose it.
pub(crate) fn refused(error: SubmitError) -> Failure {
    let place = match &error {
        SubmitError::Refused { shard, position, .. } => Some(Place {
            shard: *shard,
            position: *position,
        }),
        SubmitError::Busy | SubmitError::Unavailable | SubmitError::OutcomeUnknown | SubmitError::Broken => None,
    };
    Failure {
        problem: error.into(),
        place,
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.problem.into_response();
        if let Some(place) = self.place {
            response.headers_mut().insert(LEDGER_POSITION, position_value(place));
        }
        response
    }
}

/// What was found in a view, with its place; 404 with `unknown` when it was not there.
pub(crate) fn found<V, T>(
    shard: Shard,
    at: At<Option<V>>,
    unknown: fn() -> Problem,
    body: impl FnOnce(V, Place) -> T,
) -> Result<Answered<T>, Failure> {
    let place = Place {
        shard,
        position: at.position,
    };
    match at.value {
        Some(value) => Ok(Answered::found(place, body(value, place))),
        None => Err(Failure {
            problem: unknown(),
            place: Some(place),
        }),
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    pub(crate) items: Vec<T>,
    /// Send this as `?cursor=` for the next page; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}
