//! A successor for a key. Its text is let out once, as every new key's is.

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CACHE_CONTROL;
use keyledger_events::{AccountId, KeyId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::answer::{Answered, Failure, refused};
use super::extract::{Allowed, IdempotencyKey, InPath, Json, Manage, Scope};
use super::fresh_texts::FreshTexts;
use super::keys::NewKeyBody;
use crate::clock;
use crate::ledger::RotateKey;
use crate::problem::Problem;

/// A key to replace.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateKeyBody {
    /// How long the old key goes on working: 0 s, which is not at all, to 30 days.
    #[schema(minimum = 0, maximum = 2_592_000, example = 86_400)]
    overlap_seconds: u32,
}

/// What names a repeated request.
#[derive(Serialize)]
struct Named {
    key: KeyId,
    #[serde(flatten)]
    body: RotateKeyBody,
}

/// Makes a successor for a key, with its name, environment and limits and without an end, and lets the old key work for a
/// while. The only answer that has the successor's text.
///
/// 201 made; again with `"secret": null` and `Idempotent-Replayed: true` when this key came with this request before.
/// 400 an `Idempotency-Key` that cannot be taken. 404 no such account or key. 409 the key is deleted, has expired or was
/// rotated before, or the account has too many keys. 422 an overlap that is none, or the idempotency key came with
/// another request. 503 nothing was written, or its outcome is unknown: list the keys before you rotate again.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/keys/{key}/rotate", tag = "keys", request_body = RotateKeyBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses(
        (status = 201, description = "Made: the successor. `secret` is seen this once.", body = NewKeyBody),
        (status = 409, response = Problem),
    )
)]
pub(super) async fn rotate_key(
    State(app): State<App>,
    caller: Allowed<Manage>,
    InPath((account, key)): InPath<(AccountId, KeyId)>,
    idempotency: IdempotencyKey,
    Json(body): Json<RotateKeyBody>,
) -> Result<impl IntoResponse, Failure> {
    let scope = Scope {
        token: caller.caller.token,
        account,
        route: "rotate",
    };
    let by = caller.by_command(idempotency.command_id(scope, &Named { key, body })?);
    let texts = FreshTexts::new(&app.key_prefix);
    let (live, test) = texts.offered();
    let successor = clock::fresh_key_id();
    let command = RotateKey {
        account,
        key,
        successor,
        live,
        test,
        overlap_seconds: body.overlap_seconds,
    };
    let answer = app.ledger.submit(command, by).await.map_err(refused)?;
    // A repetition is told about the first one's successor, whose text is gone.
    let made = &answer.reply.key;
    let secret = (made.id == successor).then(|| texts.of(made.environment));
    let again = secret.is_none();
    let answered = Answered::created(answer, |facts| NewKeyBody::made(facts, secret)).replayed(again);
    Ok(([(CACHE_CONTROL, "no-store")], answered))
}
