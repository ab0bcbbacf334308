//! Every problem that this software reports: its code, its status, its title, and what a person should know about it.
//!
//! Promise: a code stands here once, and nothing is reported that does not stand here. `/problems/<code>` shows the
//! explanation, so it is written for whoever met the problem, not for us.

use http::StatusCode;

/// One kind of problem. `code` is stable: programs branch on it.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub code: &'static str,
    pub status: StatusCode,
    pub title: &'static str,
    pub explanation: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $status:ident $code:literal, $title:literal, $explanation:literal;)+) => {
        $(
            #[doc = $title]
            pub const $name: &Kind = &Kind {
                code: $code,
                status: StatusCode::$status,
                title: $title,
                explanation: $explanation,
            };
        )+

        /// All kinds, in the order of this file.
        pub const ALL: &[&Kind] = &[$($name),+];
    };
}

impl Kind {
    /// Finds the kind with this code, for the page that explains it.
    pub fn by_code(code: &str) -> Option<&'static Kind> {
        ALL.iter().copied().find(|kind| kind.code == code)
    }
}

kinds! {
    // Keys
    KEY_MISSING = UNAUTHORIZED "key-missing", "An API key is needed",
        "Send your API key as `Authorization: Bearer <key>` or as `X-API-Key: <key>`. A key in the URL is not read, since URLs end up in logs.";
    KEY_INVALID = UNAUTHORIZED "key-invalid", "The API key is not valid",
        "The text that was sent is not a key of ours: mistyped, cut short, or never issued. Copy the key again, or generate a new one.";
    KEY_DELETED = UNAUTHORIZED "key-deleted", "The API key was deleted",
        "The key was right once and has been deleted, so it works nowhere any more. Generate a new key. A request that was to change a deleted key answers with status 409.";
    KEY_EXPIRED = UNAUTHORIZED "key-expired", "The API key has expired",
        "The key was given an end, and that moment has passed. Generate a new key. A request that was to rotate an expired key answers with status 409.";
    KEY_ROTATED = CONFLICT "key-rotated", "The API key has a successor already",
        "A key is rotated once: `detail` names its successor. Rotate that one, or make another key.";
    KEY_SCOPE = FORBIDDEN "key-scope", "The API key is not for this endpoint",
        "The key is right, and is limited to other endpoints than the one that `detail` names. Nothing was forwarded, held or charged. Use a key that is for this endpoint; what a key is for was said when it was made, and the key list shows it.";
    KEY_SPENDING_LIMIT = PAYMENT_REQUIRED "key-spending-limit", "The API key has spent what it may",
        "The key may spend as many credits a day or month, UTC, as `limit` says; `spent` are charged in it or held for requests under way, and it begins anew at `resets_at`. Nothing was forwarded, held or charged. Wait until then, or have the key's limit raised.";
    KEY_AMBIGUOUS = BAD_REQUEST "key-ambiguous", "More than one API key was sent",
        "The request carries two different keys, or the same header twice. Send one key, in one header, so that it is clear who pays.";
    TOO_MANY_KEYS = CONFLICT "too-many-keys", "The account has too many keys",
        "An account holds a limited number of keys that are not deleted. Delete keys that are no longer used.";

    // Callers
    TOKEN_MISSING = UNAUTHORIZED "token-missing", "An access token is needed",
        "This call is for holders of an access token: `Authorization: Bearer <access token>`.";
    TOKEN_INVALID = UNAUTHORIZED "token-invalid", "The access token is not valid",
        "The access token was never issued, or was revoked.";
    FORBIDDEN = FORBIDDEN "forbidden", "The access token's role does not allow this",
        "The access token is right, and its role may not make this call. Use a token with a role that may.";

    FORWARD_AUTH_UNTRUSTED = FORBIDDEN "forward-auth-untrusted", "The proxy is not known",
        "Only a proxy that the platform runs may ask here: it shows an access token of role `metering` in one `X-Keyledger-Forward-Auth` header. A client that sees this has met a proxy without one.";

    // Credits and reservations
    INSUFFICIENT_CREDITS = PAYMENT_REQUIRED "insufficient-credits", "Not enough credits are available",
        "The request may cost as many credits as `required` says, and as many as `available` says are there for it: credits that are for other endpoints only, or for later, are not among them. Nothing was charged. Add credits, or wait until requests under way have settled.";
    UNKNOWN_RESERVATION = NOT_FOUND "unknown-reservation", "There is no such reservation",
        "The account has no reservation with this id, or it was settled so long ago that it is only in the history.";
    RESERVATION_CLOSED = CONFLICT "reservation-closed", "The reservation is closed",
        "The reservation was charged, released, or its time ran out before. A closed reservation never changes again.";
    RESERVATION_MISMATCH = CONFLICT "reservation-mismatch", "The reservation id was used with other terms",
        "A reservation with this id exists, for another endpoint, quantity, key or time. Repeat the same request, or choose a new id.";
    RESERVATION_ID_NOT_TIMELY = UNPROCESSABLE_ENTITY "reservation-id-not-timely", "The reservation id is from another time",
        "A new reservation's id carries the time at which it was made: at most 15 minutes ago and at most 1 minute ahead. Make a fresh id, and check this machine's clock.";
    CHARGE_EXCEEDS_RESERVATION = UNPROCESSABLE_ENTITY "charge-exceeds-reservation", "The charge is larger than the reservation",
        "A charge spends at most what was held. The reservation is still open: charge less, or release it.";
    UNKNOWN_CHARGE = NOT_FOUND "unknown-charge", "There is no such charge",
        "The account has no charge with this id. A charge has the id of its reservation; what was released was never charged.";
    CHARGE_REFUNDED = CONFLICT "charge-refunded", "Nothing is left of the charge to refund",
        "All of the charge was refunded before, or it charged nothing.";
    REFUND_EXCEEDS_CHARGE = UNPROCESSABLE_ENTITY "refund-exceeds-charge", "The refund is larger than what is left of the charge",
        "All refunds of a charge together are never more than was charged. `detail` says what is left. Refund less, or leave `amount` out to refund all that is left.";
    CORRECTION_EXCEEDS_AVAILABLE = UNPROCESSABLE_ENTITY "correction-exceeds-available", "More is to be taken away than there is",
        "A correction takes away at most what could be held at the moment, the credit limit included; `detail` says how much that is. What is held for requests under way cannot be taken: wait until they have settled, or take less.";
    UNKNOWN_PLAN = NOT_FOUND "unknown-plan", "There is no such plan",
        "The account has no plan with this id.";
    TOO_MANY_PLANS = CONFLICT "too-many-plans", "The account has too many plans",
        "At most 20 plans of an account may go on at the same time. End those that are over.";
    CHARGE_TOO_OLD = CONFLICT "charge-too-old", "The charge is too old to be refunded",
        "A charge can be refunded for 400 days. Credits for what is older are given as a grant.";
    TOO_MANY_OPEN_RESERVATIONS = TOO_MANY_REQUESTS "too-many-open-reservations", "Too many requests are under way",
        "A key and an account may each have a limited number of open reservations. Wait until some have settled, then repeat the request.";

    TOO_MANY_STREAMS = SERVICE_UNAVAILABLE "too-many-streams", "Too many streams are open",
        "A process serves 64 streams of the log at the same time. Close one, ask another process, or read pages with `?from=` instead.";
    RATE_LIMITED = TOO_MANY_REQUESTS "rate-limited", "Too many calls in too short a time",
        "A key, an account, an endpoint, or a client that shows wrong keys may call so often and no more; where a route has limits, `RateLimit-Policy` names them and `RateLimit` says what is left. Nothing was held or charged. Wait for as many seconds as `Retry-After` says.";

    TOO_MANY_BOOKS = CONFLICT "too-many-books", "Too many price books are to come",
        "At most 10 price books that were published may still be waiting for their moment. A book that would hold from an earlier moment takes the place of those that come after it.";
    INVALID_PRICES = UNPROCESSABLE_ENTITY "invalid-prices", "The price book cannot be used",
        "The member named in `field`, such as `prices[3].match`, is not what the config file's `[[prices]]` may say; `prices[3]` is the fourth. Nothing was published.";
    OTHER_PRICES_HOLD = SERVICE_UNAVAILABLE "other-prices-hold", "The prices changed at this moment",
        "Another price book holds since a moment ago, and this server could not look the price up in it in time. Nothing was held or charged. Send the same request again.";

    // Other things
    UNKNOWN_ACCOUNT = NOT_FOUND "unknown-account", "There is no such account",
        "No account has this id.";
    ACCOUNT_EXISTS = CONFLICT "account-exists", "The account is there already",
        "An account with this id has been opened before.";
    ACCOUNT_CLOSED = CONFLICT "account-closed", "The account is closed",
        "The account was closed: its keys were deleted and what was held was given back. It can be looked at, and nothing new is done in it. Open another account.";
    ACCOUNT_OPEN = CONFLICT "account-open", "The account is open",
        "Personal data is erased of an account that is closed, since an open one needs it. Close it first.";
    UNKNOWN_KEY = NOT_FOUND "unknown-key", "There is no such key",
        "The account has no key with this id.";
    UNKNOWN_TOKEN = NOT_FOUND "unknown-token", "There is no such access token",
        "No access token has this id.";
    UNKNOWN_WEBHOOK = NOT_FOUND "unknown-webhook", "There is no such receiver",
        "No config file has named a receiver of webhooks like this.";
    UNKNOWN_DELIVERY = NOT_FOUND "unknown-delivery", "There is no such delivery",
        "The receiver has no message with this id, or it was delivered so long ago that it is no longer kept.";
    UNKNOWN_ENDPOINT = NOT_FOUND "unknown-endpoint", "The endpoint has no price",
        "The price book names no such endpoint.";
    UNKNOWN_PRICES = NOT_FOUND "unknown-prices", "There is no such price book",
        "No price book was published with this version.";
    UNPRICED = NOT_FOUND "unpriced", "This path is not offered",
        "No price is set for this method and path, so it is not offered here. Nothing was forwarded or charged.";
    NOT_FOUND = NOT_FOUND "not-found", "There is nothing here",
        "No page and no resource has this address.";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED "method-not-allowed", "The method is not allowed here",
        "The address exists and does not take this method.";

    // The request itself
    BAD_REQUEST = BAD_REQUEST "bad-request", "The request cannot be read",
        "The request is not well-formed. `detail` says where.";
    BAD_PATH = BAD_REQUEST "bad-path", "The path is ambiguous",
        "The path contains something that servers read in different ways: an empty segment, `.` or `..`, a backslash, `;`, or an encoded slash, dot, backslash or control character. Send the plain path.";
    INVALID_JSON = BAD_REQUEST "invalid-json", "The body is not JSON",
        "The body has to be one JSON document in UTF-8, whole, with nothing after it.";
    BAD_POSITION = BAD_REQUEST "bad-position", "The position is not one of ours",
        "A position is written `<shard>:<position>`, such as `0:812`, and comes from the `Ledger-Position` header of an answer.";
    BAD_IDEMPOTENCY_KEY = BAD_REQUEST "bad-idempotency-key", "The Idempotency-Key cannot be taken",
        "Send one `Idempotency-Key` header of 1 to 255 visible ASCII characters, such as a UUID, or none.";
    BAD_CURSOR = BAD_REQUEST "bad-cursor", "The cursor is not one of ours",
        "A cursor comes from `next_cursor` of the same list, unchanged.";
    INVALID_BODY = UNPROCESSABLE_ENTITY "invalid-body", "The body does not say what is expected",
        "The member named in `field` is missing, unknown, there twice, or of the wrong kind. `detail` says what is expected.";
    INVALID_QUERY = UNPROCESSABLE_ENTITY "invalid-query", "A parameter is not acceptable",
        "The parameter named in `field` is unknown, there twice, or of the wrong kind. `detail` says what is expected.";
    INVALID_AMOUNT = UNPROCESSABLE_ENTITY "invalid-amount", "The amount cannot be taken",
        "Amounts are JSON strings with a plain decimal number of at most six fraction digits, such as `\"0.5\"`: no plus, no exponent, no spaces, at most 9,000,000,000. Only a correction may be below zero, such as `\"-3.5\"`, to take away.";
    INVALID_NAME = UNPROCESSABLE_ENTITY "invalid-name", "The name cannot be taken",
        "A name has 1 to 80 characters after trimming, and no control or invisible formatting characters.";
    OUT_OF_RANGE = UNPROCESSABLE_ENTITY "out-of-range", "A value is out of range",
        "The value of `field` is too small or too large.";
    IN_THE_PAST = UNPROCESSABLE_ENTITY "in-the-past", "A moment lies in the past",
        "The value of `field` has to be a moment that is still to come.";
    IDEMPOTENCY_MISMATCH = UNPROCESSABLE_ENTITY "idempotency-mismatch", "The idempotency key was used with another request",
        "An `Idempotency-Key` names one request. Another request needs another key.";
    UNSUPPORTED_MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE "unsupported-media-type", "The body is of another kind than is read here",
        "Send `Content-Type: application/json`, in UTF-8 and without content encoding.";
    BODY_TOO_LARGE = PAYLOAD_TOO_LARGE "body-too-large", "The body is too large",
        "The request's body is larger than this server takes. Nothing was charged.";
    URI_TOO_LONG = URI_TOO_LONG "uri-too-long", "The address is too long",
        "Path and query together have more characters than this server takes.";
    HEAD_TOO_LARGE = REQUEST_HEADER_FIELDS_TOO_LARGE "head-too-large", "The headers are too many or too large",
        "At most 64 headers are taken, and at most 16 KiB for all of a request before its body. Send fewer or shorter ones; cookies are the usual reason.";
    REQUEST_TIMEOUT = REQUEST_TIMEOUT "request-timeout", "The request took too long to arrive",
        "The rest of the request did not arrive in time.";
    UPGRADE_REFUSED = BAD_REQUEST "upgrade-refused", "Changing the protocol is not offered",
        "Requests with `Upgrade` are refused: a connection that changes its protocol can be neither counted nor charged.";

    // The world
    UPSTREAM_UNREACHABLE = BAD_GATEWAY "upstream-unreachable", "The data API could not be reached",
        "The data API behind this gateway did not answer, or its answer was not well-formed. Nothing was charged; try again.";
    UPSTREAM_TIMEOUT = GATEWAY_TIMEOUT "upstream-timeout", "The data API did not answer in time",
        "The data API behind this gateway took too long. Nothing was charged; try again.";
    UPSTREAM_BUSY = SERVICE_UNAVAILABLE "upstream-busy", "The data API has enough to do",
        "As many requests as the data API behind this gateway takes at once are under way. Nothing was charged; repeat the request after `Retry-After` seconds.";
    VIEW_BEHIND = SERVICE_UNAVAILABLE "view-behind", "The view has not caught up yet",
        "The position named in `after` is not in the view yet. Nothing is lost; repeat the request.";
    BUSY = SERVICE_UNAVAILABLE "busy", "Too many requests are waiting",
        "The ledger has more to do than it takes on at once. Nothing was written; repeat the same request after `Retry-After` seconds.";
    UNAVAILABLE = SERVICE_UNAVAILABLE "unavailable", "The ledger cannot be reached",
        "The ledger's log cannot be reached at the moment. Nothing was written; repeat the same request after `Retry-After` seconds.";
    OUTCOME_UNKNOWN = SERVICE_UNAVAILABLE "outcome-unknown", "The outcome is not known",
        "The answer was lost on the way, so the request may have been carried out. Repeat it with the same id or idempotency key: it happens once at most.";
    INTERNAL = INTERNAL_SERVER_ERROR "internal", "Something is wrong on our side",
        "A fault of ours. It is in our log, and nothing was charged for it.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_is_listed_once_and_fits_a_url() {
        let codes: HashSet<_> = ALL.iter().map(|kind| kind.code).collect();
        assert_eq!(codes.len(), ALL.len());
        for kind in ALL {
            assert!(
                kind.code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{}",
                kind.code
            );
            assert!(kind.status.is_client_error() || kind.status.is_server_error());
            assert!(!kind.title.ends_with('.') && kind.explanation.ends_with('.'));
            assert_eq!(Kind::by_code(kind.code), Some(*kind));
        }
    }
}
