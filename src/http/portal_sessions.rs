//! Invitations to the customer's pages.

use axum::extract::State;
use http::HeaderMap;
use http::header::HOST;
use keyledger_events::{AccountId, KeyName, PortalSessionId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Answered, Failure, refused};
use super::extract::{Allowed, IdempotencyKey, InPath, Json, Manage};
use super::words::WebAddress;
use super::{App, problems};
use crate::clock;
use crate::ledger::InviteToPages;
use crate::problem::Problem;
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
/// The account's history says who was invited, and by which token. 201 a link; send the person there at once. Again with `"url": null` and `Idempotent-Replayed: true` when this key came with
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
    let by = caller.keyed(&key, account, "portal-sessions", &body)?;
    let read_only = body.read_only.unwrap_or(false);
    let command = InviteToPages {
        account,
        session: clock::fresh_portal_session_id(),
        name: body.name.clone(),
        read_only,
    };
    // Whoever comes by the link is in the log before there is one.
    let answer = app.ledger.submit(command, by).await.map_err(refused)?;
    let id = answer.reply;
    let asked = Invitation {
        whose: Whose::Account(account),
        name: body.name.map(String::from),
        return_url: body.return_url.map(String::from),
        read_only,
        by: caller.caller.token,
    };
    let (url, expires_at) = link(&app, &headers, id, asked).await?;
    let replayed = url.is_none();
    Ok(Answered::created(answer, |id| InvitedBody { id, url, expires_at }).replayed(replayed))
}

/// Makes the link onto a stay, unless it was made before: where it leads, and when it expires. A repetition makes one that
/// the first request did not come to.
pub(super) async fn link(
    app: &App,
    headers: &HeaderMap,
    id: PortalSessionId,
    asked: Invitation,
) -> Result<(Option<String>, Timestamp), SessionsAway> {
    Ok(match app.sessions.invite(id, asked, clock::now()).await? {
        Invited::Now { link, expires_at } => {
            let base = app.pages_url.clone().unwrap_or_else(|| here(headers));
            let url = format!("{base}/portal/open/{}", link.expose_text_to_its_holder());
            (Some(url), expires_at)
        }
        Invited::Before { expires_at } => (None, expires_at),
    })
}

/// Where the caller has found us.
fn here(headers: &HeaderMap) -> String {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    format!("http://{host}")
}
