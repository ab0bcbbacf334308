//! Reasons and sources in plain words.

use keyledger_events::{ClientLeft, DeleteReason, DenyReason, GrantSource, ReleaseCause};

pub(super) const fn source(source: GrantSource) -> &'static str {
    match source {
        GrantSource::Purchase => "a purchase",
        GrantSource::Plan => "part of the plan",
        GrantSource::Promotion => "a gift",
        GrantSource::Correction => "a correction",
        GrantSource::Refund => "a refund",
    }
}

pub(super) const fn why_deleted(reason: DeleteReason) -> &'static str {
    match reason {
        DeleteReason::Requested => "",
        DeleteReason::Compromised => ", because it was compromised",
        DeleteReason::Rotated => ", which another key has replaced",
        DeleteReason::Expired => ", whose time was over",
        DeleteReason::Leaked => ", because it was found in public",
        DeleteReason::AccountClosed => ", as the account was closed",
    }
}

pub(in crate::pages) const fn why_denied(reason: DenyReason) -> &'static str {
    match reason {
        DenyReason::Deleted => "it is deleted",
        DenyReason::Expired => "its time is over",
        DenyReason::Scope => "it is for other endpoints",
        DenyReason::NoCredits => "there were not enough credits",
        DenyReason::SpendingLimit => "it has spent what it may",
    }
}

pub(super) const fn why_free(cause: ReleaseCause, client_left: Option<ClientLeft>) -> &'static str {
    match cause {
        ReleaseCause::Requested => "there was nothing to pay for",
        ReleaseCause::Queued => "the data was not ready yet",
        ReleaseCause::Error => "it failed",
        ReleaseCause::ClientGone if matches!(client_left, Some(ClientLeft::NearEnd)) => {
            "the client left just before the end"
        }
        ReleaseCause::ClientGone => "the client left before all of it was there",
        ReleaseCause::Expired => "nobody finished it in time",
        ReleaseCause::AccountClosed => "the account was closed",
    }
}
