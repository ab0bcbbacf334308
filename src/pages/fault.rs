//! What a person is told when a page cannot be shown: one sentence on what is so, one on what to do. The statuses of
//! pages are chosen here alone; those of the rules come from the problems' own room.

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::archive::ArchiveError;
use crate::ledger::SubmitError;
use crate::log::ReadError;
use crate::problem::Problem;
use crate::sessions::{LinkError, SessionsAway};
use crate::views::{ViewBehind, ViewError};

/// Why there is no page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// No cookie, or a stay that is over.
    SignedOut,
    LinkUsed,
    LinkExpired,
    LinkUnknown,
    /// A browser or a preview wanted to look ahead, which must not use the link up.
    LookedAhead,
    NotFound,
    KeyGone,
    /// A form that no page of ours sent.
    ForeignForm,
    /// A form of another session, or not of any.
    StaleForm,
    /// A body that is no form of ours.
    BadForm,
    ReadOnly,
    /// As many pages keep listening as may.
    TooManyStreams,
    Behind,
    Unavailable,
    OutcomeUnknown,
    Internal,
    Refused(Problem),
}

/// A fault in words.
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) title: String,
    pub(super) text: String,
    /// Whether the person can go on to the key list.
    pub(super) inside: bool,
}

impl Fault {
    pub(super) fn told(&self) -> Told {
        let (status, title, text, inside) = match self {
            Fault::SignedOut => (
                StatusCode::UNAUTHORIZED,
                "Your session has ended",
                "For your security you are signed out after a while. Open this page again from where you came.",
                false,
            ),
            Fault::LinkUsed => (
                StatusCode::GONE,
                "This link was used before",
                "Each link opens these pages once. Open them again from where you came.",
                false,
            ),
            Fault::LinkExpired => (
                StatusCode::GONE,
                "This link has expired",
                "A link works for five minutes. Open these pages again from where you came.",
                false,
            ),
            Fault::LinkUnknown => (
                StatusCode::NOT_FOUND,
                "This link does not work",
                "It may be cut short. Open these pages again from where you came.",
                false,
            ),
            Fault::LookedAhead => (
                StatusCode::SERVICE_UNAVAILABLE,
                "This link is not opened ahead of time",
                "It works once: follow it to use it.",
                false,
            ),
            Fault::NotFound => (
                StatusCode::NOT_FOUND,
                "There is no such page",
                "The address may be mistyped, or what it showed is gone.",
                true,
            ),
            Fault::KeyGone => (
                StatusCode::GONE,
                "This key is deleted",
                "It works nowhere any more, and nothing can be changed about it.",
                true,
            ),
            Fault::ForeignForm => (
                StatusCode::FORBIDDEN,
                "This request came from another site",
                "For your security nothing was changed. Do it from the page itself.",
                true,
            ),
            Fault::StaleForm => (
                StatusCode::FORBIDDEN,
                "This form is out of date",
                "Nothing was changed. It belongs to an earlier session: open the page again and repeat what you did.",
                true,
            ),
            Fault::BadForm => (
                StatusCode::BAD_REQUEST,
                "This form could not be read",
                "Nothing was changed. Open the page again and repeat what you did.",
                true,
            ),
            Fault::ReadOnly => (
                StatusCode::FORBIDDEN,
                "You may look, but not change anything",
                "Nothing was changed. This session was opened for reading only.",
                true,
            ),
            Fault::TooManyStreams => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many pages are open",
                "This page does not change by itself now. Load it again to see what is new.",
                true,
            ),
            Fault::Behind => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The page is catching up",
                "What you did is done, but the list does not show it yet. Load the page again in a moment.",
                true,
            ),
            Fault::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "This does not work at the moment",
                "Nothing was changed. Try again in a moment.",
                true,
            ),
            Fault::OutcomeUnknown => (
                StatusCode::SERVICE_UNAVAILABLE,
                "We do not know whether this was done",
                "The connection broke on the way. Look at the list before you repeat it.",
                true,
            ),
            Fault::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong on our side",
                "It is written down, and somebody will look at it.",
                true,
            ),
            Fault::Refused(problem) => (problem.status, problem.kind.title, problem.kind.explanation, true),
        };
        Told {
            status,
            title: title.to_owned(),
            text: text.to_owned(),
            inside,
        }
    }
}

/// Carries the fault to [`super::dress`], which knows how our pages look.
impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = self.told().status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<ViewError> for Fault {
    fn from(error: ViewError) -> Fault {
        tracing::warn!(%error, "a page's view could not be read");
        match error {
            ViewError::Unreachable(_) => Fault::Unavailable,
            ViewError::Corrupt { .. } => Fault::Internal,
        }
    }
}

impl From<ViewBehind> for Fault {
    fn from(error: ViewBehind) -> Fault {
        match error {
            ViewBehind::Behind { .. } => Fault::Behind,
            ViewBehind::View(error) => error.into(),
        }
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Fault {
        tracing::warn!(%error, "a page's history could not be read");
        match error {
            ReadError::Unreachable(_) | ReadError::TimedOut { .. } | ReadError::Archive(ArchiveError::Away { .. }) => {
                Fault::Unavailable
            }
            ReadError::NoHead { .. } | ReadError::Corrupt { .. } | ReadError::Archive(ArchiveError::Corrupt { .. }) => {
                Fault::Internal
            }
        }
    }
}

impl From<SessionsAway> for Fault {
    fn from(error: SessionsAway) -> Fault {
        tracing::warn!(%error, "a person could not be recognized");
        Fault::Unavailable
    }
}

impl From<LinkError> for Fault {
    fn from(error: LinkError) -> Fault {
        match error {
            LinkError::Unknown => Fault::LinkUnknown,
            LinkError::Used { .. } => Fault::LinkUsed,
            LinkError::Expired => Fault::LinkExpired,
            LinkError::Away(error) => error.into(),
        }
    }
}

impl From<SubmitError> for Fault {
    fn from(error: SubmitError) -> Fault {
        match error {
            SubmitError::Refused { refusal, .. } => Fault::Refused(refusal.into()),
            SubmitError::Busy | SubmitError::Unavailable => Fault::Unavailable,
            SubmitError::OutcomeUnknown => Fault::OutcomeUnknown,
            SubmitError::Broken => Fault::Internal,
        }
    }
}
