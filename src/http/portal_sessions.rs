//! Invitations to the customer's pages.

use axum::extract::State;
use http::HeaderMap;
use http::header::HOST;
use keyledger_events::{AccountId, KeyName, PortalSessionId, Seq, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Answered, Failure};
use super::extract::{Allowed, IdempotencyKey, InPath, Json, Manage, Scope};
use super::words::WebAddress;
use super::{App, problems};
use crate::clock;
use crate::problem::Problem;
use crate::requests::Came;
use crate::sessions::{Invitation, Invited, SessionsAway, Whose};

/// Whom to let onto an account's pages.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PortalSessionBody {
    /// Who this is, for the account's history.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 80, example = "Ada Lovelace")]
    name: Option<KeyName>,
    /// Where the pages lead back to.
    #[schema(value_type = Option<String>, max_length = 500, example = "https://app.example.com/settings")]
    return_url: Option<WebAddress>,
    /// May look at everything and change nothing. `false` unless said.
    read_only: Option<bool>,
}

/// A link onto an account's pages.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InvitedBody {
    /// Stands in the history beside what is done there.
    #[schema(value_type = String, example = "ses_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: PortalSessionId,
    /// Redirect the person to it at once: it is good for one visit and for five minutes. `null` when the request is a
    /// repetition: the link is gone.
    #[schema(
        example = "https://keys.example.com/portal/open/kll_4fZ0Qm8r1Tt6bYwKpX3sUe7NcVhJd2LgAo9RiB5ZqE4yW1C0nMa8"
    )]
    url: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl From<SessionsAway> for Problem {
    fn from(error: SessionsAway) -> Problem {
        tracing::warn!(%error, "an invitation could not be written");
        problems::unavailable()
    }
}

/// Lets a person onto an account's pages, by a link that is good once.
///
/// 201 a link; send the person there at once. Again with `"url": null` and `Idempotent-Replayed: true` when this key came with
/// this request before. 400 an `Idempotency-Key` that cannot be taken. 404 no such account. 422 a member is not acceptable,
/// or the key came with another request. 503 no link was made that anyone knows; ask again.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/portal-sessions", tag = "accounts", request_body = PortalSessionBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses((status = 201, description = "A link.", body = InvitedBody))
)]
pub(super) async fn invite(
    State(app): State<App>,
    caller: Allowed<Manage>,
    InPath(account): InPath<AccountId>,
    headers: HeaderMap,
    key: IdempotencyKey,
    Json(body): Json<PortalSessionBody>,
) -> Result<Answered<InvitedBody>, Failure> {
    // The log knows an account that the views have not heard of yet.
    if app.log.account_events(account, Seq::START, 1).await?.is_empty() {
        return Err(Problem::unknown_account().into());
    }
    let scope = Scope {
        token: caller.caller.token,
        account,
        route: "portal-sessions",
    };
    let (id, now) = (clock::fresh_portal_session_id(), clock::now());
    let id = named(&app, &key, scope, &body, (id, now)).await?;
    let asked = Invitation {
        whose: Whose::Account(account),
        name: body.name.map(String::from),
        return_url: body.return_url.map(String::from),
        read_only: body.read_only.unwrap_or(false),
        by: caller.caller.token,
    };
    let (url, expires_at) = url_of(&app, &headers, app.sessions.invite(id, asked, now).await?);
    let replayed = url.is_none();
    Ok(Answered::made(InvitedBody { id, url, expires_at }).replayed(replayed))
}

/// The id of the stay that is asked for: the one of the first time, where the same request came before. Nothing says that
/// the first time came as far as making it.
pub(super) async fn named<B: Serialize>(
    app: &App,
    key: &IdempotencyKey,
    scope: Scope,
    asked: &B,
    (id, now): (PortalSessionId, Timestamp),
) -> Result<PortalSessionId, Problem> {
    let Some((scope, fingerprint)) = key.hashes(scope, asked)? else {
        return Ok(id);
    };
    match app.requests.note(&scope, &fingerprint, id.to_bytes(), now).await? {
        Came::First => Ok(id),
        Came::Again { made, .. } => Ok(PortalSessionId::from_bytes(made)),
        Came::Otherwise => Err(problems::idempotency_mismatch()),
    }
}

/// Where a link leads, unless it was told before, and when it expires.
pub(super) fn url_of(app: &App, headers: &HeaderMap, invited: Invited) -> (Option<String>, Timestamp) {
    match invited {
        Invited::Now { link, expires_at } => {
            let base = app.pages_url.clone().unwrap_or_else(|| here(headers));
            let url = format!("{base}/portal/open/{}", link.expose_text_to_its_holder());
            (Some(url), expires_at)
        }
        Invited::Before { expires_at } => (None, expires_at),
    }
}

/// Where the caller has found us.
fn here(headers: &HeaderMap) -> String {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    format!("http://{host}")
}
