//! Links onto the operators' own pages.

use axum::extract::State;
use http::HeaderMap;
use keyledger_events::{AccountId, KeyName, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::answer::{Answered, Failure, refused};
use super::extract::{Allowed, IdempotencyKey, Json, Manage};
use super::portal_sessions::link;
use crate::clock;
use crate::ledger::InviteOperator;
use crate::sessions::{Invitation, Whose};

/// Who looks.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OperatorSessionBody {
    /// Stands in the head of the pages.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 80, example = "Grace, on call")]
    name: Option<KeyName>,
}

/// A link onto the operators' pages.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OperatorLinkBody {
    /// Good for one visit and for five minutes. `null` when the request is a repetition: the link is gone.
    #[schema(
        example = "https://keys.example.com/portal/open/kll_4fZ0Qm8r1Tt6bYwKpX3sUe7NcVhJd2LgAo9RiB5ZqE4yW1C0nMa8"
    )]
    url: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Lets an operator onto the operators' pages, by a link that is good once.
///
/// All accounts can be looked at from there, and nothing can be changed. The stay ends like a customer's, and at once when
/// the token is revoked that asked for it. The system's history says who was invited, and by which token. 201 a link; again with `"url": null` and `Idempotent-Replayed: true` when this key
/// came with this request before. 400 an `Idempotency-Key` that cannot be taken. 422 a member is not acceptable, or the key
/// came with another request. 503 no link was made that anyone knows; ask again.
#[utoipa::path(
    post, path = "/v1/operator-sessions", tag = "service", request_body = OperatorSessionBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses((status = 201, description = "A link.", body = OperatorLinkBody))
)]
pub(super) async fn invite_operator(
    State(app): State<App>,
    caller: Allowed<Manage>,
    headers: HeaderMap,
    key: IdempotencyKey,
    Json(body): Json<OperatorSessionBody>,
) -> Result<Answered<OperatorLinkBody>, Failure> {
    let by = caller.keyed(&key, AccountId::SYSTEM, "operator-sessions", &body)?;
    let command = InviteOperator {
        session: clock::fresh_portal_session_id(),
        name: body.name.clone(),
    };
    let answer = app.ledger.submit(command, by).await.map_err(refused)?;
    let asked = Invitation {
        whose: Whose::Operator,
        name: body.name.map(String::from),
        return_url: None,
        read_only: true,
        by: caller.caller.token,
    };
    let (url, expires_at) = link(&app, &headers, answer.reply, asked).await?;
    let replayed = url.is_none();
    Ok(Answered::created(answer, |_| OperatorLinkBody { url, expires_at }).replayed(replayed))
}
