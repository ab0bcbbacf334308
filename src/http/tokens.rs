//! Access tokens: making, listing and revoking them. The text of a new one is let out here and on the command line, once.

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CACHE_CONTROL;
use keyledger_events::{AccountId, KeyName, Shard, Timestamp, TokenId};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answered, Failure, List, refused};
use super::extract::{Allowed, IdempotencyKey, InPath, InQuery, Json, Manage, PathId, Read, Scope};
use super::look::read_cursor;
use super::place::Place;
use super::words::Limit;
use super::{App, cursor, problems};
use crate::clock;
use crate::ledger::{Answer, SubmitError};
use crate::problem::{Problem, UNKNOWN_TOKEN};
use crate::requests::Came;
use crate::tokens::{CreateError, RevokeError, Role, Token, TokenSecret};

/// A token to make.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateTokenBody {
    role: RoleWord,
    /// Whom or what it is for. Need not be unique.
    #[schema(value_type = String, min_length = 1, max_length = 80, example = "Billing, nightly run")]
    name: KeyName,
}

/// What a token is for: `operator` all; `metering` reserve, charge, release; `billing` grant, refund and publish prices, and
/// read all; `auditor` read all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Role)]
pub(super) enum RoleWord {
    Operator,
    Metering,
    Billing,
    Auditor,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Role {
        match word {
            RoleWord::Operator => Role::Operator,
            RoleWord::Metering => Role::Metering,
            RoleWord::Billing => Role::Billing,
            RoleWord::Auditor => Role::Auditor,
        }
    }
}

/// Which tokens to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ShownTokens {
    #[default]
    Active,
    All,
}

/// Of the list of tokens.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenPage {
    /// Only tokens that work now, unless `all` is said.
    #[param(value_type = Option<ShownTokens>, inline)]
    state: Option<ShownTokens>,
    /// Items at once: 1 to 200, 50 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, example = 50)]
    limit: Option<Limit>,
    /// Go on from here: the `next_cursor` of the page before.
    cursor: Option<String>,
}

/// An access token. Never its text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenBody {
    #[schema(value_type = String, example = "tok_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: TokenId,
    #[schema(value_type = RoleWord)]
    role: String,
    #[schema(example = "Billing, nightly run")]
    name: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Who made it: a token, or `system` from the command line. `null`: it was made before the log told of tokens.
    #[schema(example = "tok_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    created_by: Option<String>,
    /// Where the log says that it was made; `null` as above.
    #[schema(value_type = Option<String>, example = "0:812")]
    position: Option<Place>,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    #[schema(example = "system")]
    revoked_by: Option<String>,
    /// Where the log says that it was revoked; `null` also for seconds after a process died at that moment, and for a token
    /// that was revoked before the log told of tokens.
    #[schema(value_type = Option<String>, example = "0:813")]
    revoked_position: Option<Place>,
}

impl TokenBody {
    fn new(token: Token, shard: Shard) -> TokenBody {
        let place = |position| Place { shard, position };
        TokenBody {
            id: token.id,
            role: token.role,
            name: token.name,
            created_at: token.created_at,
            created_by: token.created_by,
            position: token.position.map(place),
            revoked_at: token.revoked_at,
            revoked_by: token.revoked_by,
            revoked_position: token.revoked_position.map(place),
        }
    }
}

/// A new token, with its text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewTokenBody {
    token: TokenBody,
    /// The token's text, this once. `null` when the request is a repetition: the text is gone.
    #[serde(serialize_with = "let_the_text_out")]
    #[schema(value_type = Option<String>, example = "klt_4fZ0Qm8r1Tt6bYwKpX3sUe7NcVhJd2LgAo9RiB5ZqE4yW1C0nMa8")]
    secret: Option<TokenSecret>,
}

fn let_the_text_out<S: Serializer>(secret: &Option<TokenSecret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_some(secret.expose_text_to_its_maker()),
        None => serializer.serialize_none(),
    }
}

impl PathId for TokenId {
    const NAME: &'static str = "token";

    fn unknown() -> Problem {
        Problem::new(UNKNOWN_TOKEN, "there is no access token with this id")
    }
}

/// Makes an access token. The only answer that has its text.
///
/// The log tells of it before it works. 201 made; again with `"secret": null` and `Idempotent-Replayed: true` when this key
/// came with this request before. 400 an `Idempotency-Key` that cannot be taken. 422 a member is not acceptable, or the key
/// came with another request. 503 there is no token that works, or its outcome is unknown: send it again with the same key.
#[utoipa::path(
    post, path = "/v1/tokens", tag = "service", request_body = CreateTokenBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses((status = 201, description = "Made. `secret` is seen this once.", body = NewTokenBody))
)]
pub(super) async fn create_token(
    State(app): State<App>,
    caller: Allowed<Manage>,
    key: IdempotencyKey,
    Json(body): Json<CreateTokenBody>,
) -> Result<impl IntoResponse, Failure> {
    let by = caller.keyed(&key, AccountId::SYSTEM, "tokens", &body)?;
    let created = app.tokens.create(&app.ledger, body.role.into(), body.name, by).await;
    let created = created.map_err(|error| match error {
        CreateError::NotInLog(error) => refused(error),
        CreateError::NotStored(_) => {
            tracing::warn!(%error, "a token was not made");
            Problem::from(SubmitError::OutcomeUnknown).into()
        }
    })?;
    let replayed = created.secret.is_none();
    let answer = Answer {
        shard: created.shard,
        position: created.position,
        replayed,
        reply: (created.token, created.secret),
    };
    let shard = created.shard;
    let answered = Answered::created(answer, |(token, secret)| NewTokenBody {
        token: TokenBody::new(token, shard),
        secret,
    });
    Ok(([(CACHE_CONTROL, "no-store")], answered))
}

/// Lists access tokens, the newest first.
///
/// 200 a page. 400 a cursor that is none. 422 a parameter is not acceptable. 503 the tokens cannot be read.
#[utoipa::path(get, path = "/v1/tokens", tag = "service", params(TokenPage), responses(
    (status = 200, description = "A page.", body = List<TokenBody>),
))]
pub(super) async fn list_tokens(
    State(app): State<App>,
    _: Allowed<Read>,
    InQuery(page): InQuery<TokenPage>,
) -> Result<Answered<List<TokenBody>>, Failure> {
    let all = page.state.unwrap_or_default() == ShownTokens::All;
    let scope = format!("tokens {all}");
    let below = read_cursor(page.cursor.as_deref(), &scope)?;
    let limit = page.limit.unwrap_or(Limit::DEFAULT).get();
    let listed = app.tokens.list(all, limit, below).await.map_err(|error| {
        tracing::warn!(%error, "the access tokens cannot be read");
        problems::unavailable()
    })?;
    let shard = app.ledger.shard();
    let items = listed.tokens.into_iter();
    Ok(Answered::plain(List {
        items: items.map(|token| TokenBody::new(token, shard)).collect(),
        next_cursor: listed.next.and_then(|next| cursor::write(&scope, &next)),
    }))
}

/// Revokes an access token: it is refused at once by this process, within 5 s by every other, and stays so.
///
/// 200 revoked, also when it was before. 400 an `Idempotency-Key` that cannot be taken. 404 no such token. 422 the key came
/// with another request. 503 the token is stopped and the log says so a little later, or nothing has changed; send it again.
#[utoipa::path(
    delete, path = "/v1/tokens/{token}", tag = "service",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses((status = 200, description = "Revoked.", body = TokenBody))
)]
pub(super) async fn revoke_token(
    State(app): State<App>,
    caller: Allowed<Manage>,
    InPath(token): InPath<TokenId>,
    key: IdempotencyKey,
) -> Result<Answered<TokenBody>, Failure> {
    let scope = Scope {
        token: caller.caller.token,
        account: AccountId::SYSTEM,
        route: "revoke-token",
    };
    // Looked up before anything is done: the token stops before the ledger is asked.
    let mut again = None;
    if let Some((scope, fingerprint)) = key.hashes(scope, &token)? {
        let came = app.requests.note(&scope, &fingerprint, token.to_bytes(), clock::now());
        again = match came.await? {
            Came::First => Some(false),
            Came::Again { .. } => Some(true),
            Came::Otherwise => return Err(problems::idempotency_mismatch().into()),
        };
    }
    let revoked = app
        .tokens
        .revoke(&app.ledger, token, caller.by())
        .await
        .map_err(|error| {
            tracing::warn!(%error, "a token was not revoked, or not wholly");
            match error {
                RevokeError::Unknown => TokenId::unknown(),
                RevokeError::NotStored(_) => problems::unavailable(),
                RevokeError::NotInLog(error) => Problem {
                    detail: "the token is stopped, and the log says so a little later".to_owned(),
                    ..error.into()
                },
            }
        })?;
    let place = revoked.token.revoked_position.map(|position| Place {
        shard: revoked.shard,
        position,
    });
    let body = TokenBody::new(revoked.token, revoked.shard);
    let answered = match place {
        Some(place) => Answered::found(place, body),
        None => Answered::plain(body),
    };
    Ok(answered.replayed(again.unwrap_or(revoked.replayed)))
}
