//! Keys. The text of a new one is let out here, once, and nowhere else.

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CACHE_CONTROL;
use keyledger_events::{
    AccountId, DeleteReason, Environment, KeyId, KeyName, KeySecret, Scopes, SpendingLimit, Timestamp,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answered, Failure, List, found, refused};
use super::as_of::{AsOf, state_then};
use super::extract::{Allowed, IdempotencyKey, InPath, InQuery, Json, Manage, Read};
use super::key_limits::{self, KeyRateLimit, KeySpendingLimit};
use super::look::{list, read_cursor, wait_for_list};
use super::place::Place;
use super::words::{Limit, Sought};
use super::{App, problems};
use crate::clock;
use crate::ledger::{CreateKey, DeleteKey, KeyFacts, LimitSpending, RenameKey};
use crate::problem::Problem;
use crate::views::{self, KeySearch, ViewName};

/// A key to make.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateKeyBody {
    /// A friendly name. Need not be unique.
    #[schema(value_type = String, min_length = 1, max_length = 80, example = "Looker Studio")]
    name: KeyName,
    /// `live` unless said.
    #[schema(value_type = Option<EnvironmentName>)]
    environment: Option<Environment>,
    /// From this moment on the key is refused. Never, unless said.
    #[schema(value_type = Option<String>, format = DateTime, example = "2027-12-31T00:00:00Z")]
    expires_at: Option<Timestamp>,
    /// The endpoints that the key is for, as the price book names them: 1 to 64, each once. Elsewhere it is refused with
    /// 403 `key-scope`. All of them, unless said. A name need not have a price yet.
    // Absent from what names a repeated request, as it was before there were limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 64, example = json!(["serp", "ai_visibility"]))]
    scopes: Option<Scopes>,
    /// How often the key may call, instead of what the gateway allows every key. The limits of its account and of
    /// endpoints hold beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit: Option<KeyRateLimit>,
    /// What the key may spend in each day or month; beyond it is refused with 402 `key-spending-limit`. All there is,
    /// unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    spending_limit: Option<KeySpendingLimit>,
}

/// What a key is for: real work, or trying out.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase", as = Environment)]
#[expect(
    dead_code,
    reason = "describes a word of the vocabulary, which knows nothing of OpenAPI"
)]
enum EnvironmentName {
    Live,
    Test,
}

/// What to change of a key: one of both.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeKeyBody {
    #[schema(value_type = Option<String>, min_length = 1, max_length = 80, example = "Looker Studio, finance")]
    name: Option<KeyName>,
    /// What the key may spend from now on; what it has spent in the period counts. `null`: all there is.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<KeySpendingLimit>)]
    spending_limit: Option<Option<KeySpendingLimit>>,
}

/// A member that says `null` says something.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<KeySpendingLimit>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Why a key is deleted, where a person says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AskedReason {
    #[default]
    Requested,
    Compromised,
    Leaked,
}

impl From<AskedReason> for DeleteReason {
    fn from(reason: AskedReason) -> DeleteReason {
        match reason {
            AskedReason::Requested => DeleteReason::Requested,
            AskedReason::Compromised => DeleteReason::Compromised,
            AskedReason::Leaked => DeleteReason::Leaked,
        }
    }
}

/// Of a deletion.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Deletion {
    /// `requested` unless said.
    #[param(value_type = Option<AskedReason>, inline)]
    reason: Option<AskedReason>,
}

/// Which keys to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Shown {
    #[default]
    Active,
    All,
}

impl Shown {
    fn state(self) -> Option<views::KeyState> {
        match self {
            Shown::Active => Some(views::KeyState::Active),
            Shown::All => None,
        }
    }
}

/// Of the key list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyPage {
    /// Only keys that work now, unless `all` is said.
    #[param(value_type = Option<Shown>, inline)]
    state: Option<Shown>,
    /// Only keys with this in their name, whatever its case: 1 to 80 characters.
    #[param(value_type = Option<String>, min_length = 1, max_length = 80, example = "looker")]
    name: Option<Sought>,
    /// Items at once: 1 to 200, 50 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, example = 50)]
    limit: Option<Limit>,
    /// Go on from here: the `next_cursor` of the page before.
    cursor: Option<String>,
    /// Answer only from a view that has reached this place of the log; a `Ledger-Position` that you were given, such as `0:812`.
    #[param(value_type = Option<String>, pattern = "^[0-9]+:[0-9]+$")]
    after: Option<Place>,
    /// As they were at this time, or after the event at this position, such as `2026-11-24T14:03:07Z` or `0:812`.
    #[param(value_type = Option<String>)]
    as_of: Option<AsOf>,
}

/// A key. Never its text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyBody {
    #[schema(value_type = String, example = "key_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: KeyId,
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    #[schema(example = "Looker Studio")]
    name: String,
    /// What may be shown of the text for ever.
    #[schema(example = "sk_live_4fZ...")]
    preview: String,
    #[schema(value_type = EnvironmentName)]
    environment: String,
    /// `active`, `expired` or `deleted`.
    #[schema(example = "active")]
    state: &'static str,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    deleted_at: Option<Timestamp>,
    #[schema(example = "requested")]
    delete_reason: Option<String>,
    /// The key that this one succeeds.
    #[schema(value_type = Option<String>)]
    replaces: Option<KeyId>,
    /// The key that succeeds this one, which was rotated.
    #[schema(value_type = Option<String>)]
    successor: Option<KeyId>,
    /// A rotated key works until then, and is deleted with the reason `rotated`.
    #[schema(value_type = Option<String>, format = DateTime)]
    stops_at: Option<Timestamp>,
    /// The endpoints that the key is for, in the order of the alphabet. `null`: all of them.
    #[schema(value_type = Option<Vec<String>>, example = json!(["ai_visibility", "serp"]))]
    scopes: Option<Scopes>,
    /// `null`: as often as the gateway allows every key.
    rate_limit: Option<KeyRateLimit>,
    /// `null`: all there is.
    #[schema(value_type = Option<KeySpendingLimit>)]
    spending_limit: Option<SpendingLimit>,
    /// When the key was last let through to fetch data. Not in the answer to a change, which does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Option<Timestamp>>,
    /// How often it was let through. Not in the answer to a change either.
    #[serde(skip_serializing_if = "Option::is_none")]
    uses: Option<u64>,
    /// How often it was refused today, UTC, as far as it is written down: a minute late. Not in the answer to a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    denied_today: Option<u64>,
}

impl KeyBody {
    fn changed(facts: KeyFacts) -> KeyBody {
        let KeyFacts { account, key } = facts;
        let now = clock::now();
        let state = if key.deleted.is_some() {
            views::KeyState::Deleted
        } else if key.expires_at.is_some_and(|end| end <= now) {
            views::KeyState::Expired
        } else {
            views::KeyState::Active
        };
        KeyBody {
            id: key.id,
            account,
            name: key.name.into(),
            preview: key.preview,
            environment: key.environment.as_str().to_owned(),
            state: state.as_str(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            deleted_at: key.deleted.map(|(at, _)| at),
            delete_reason: key.deleted.map(|(_, reason)| reason.as_str().to_owned()),
            replaces: key.replaces,
            successor: key.rotated.map(|rotated| rotated.successor),
            stops_at: key.rotated.map(|rotated| rotated.stops_at),
            scopes: key.limits.scopes,
            rate_limit: key.limits.rate.map(KeyRateLimit::from),
            spending_limit: key.limits.spending,
            last_used_at: None,
            uses: None,
            denied_today: None,
        }
    }

    fn seen(key: views::Key, now: Timestamp) -> KeyBody {
        KeyBody {
            state: key.state(now).as_str(),
            denied_today: Some(key.denied_on(now)),
            id: key.id,
            account: key.account,
            name: key.name,
            preview: key.preview,
            environment: key.environment,
            created_at: key.created_at,
            expires_at: key.expires_at,
            deleted_at: key.deleted_at,
            delete_reason: key.delete_reason,
            replaces: key.replaces,
            successor: key.rotated.map(|(successor, _)| successor),
            stops_at: key.rotated.map(|(_, end)| end),
            scopes: key.scopes,
            rate_limit: key.rate_limit.map(KeyRateLimit::from),
            spending_limit: key.spending_limit,
            last_used_at: Some(key.last_used_at),
            uses: Some(key.uses),
        }
    }
}

/// A new key, with its text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewKeyBody {
    key: KeyBody,
    /// The key's text, this once. `null` when the request is a repetition: the text is gone.
    #[serde(serialize_with = "let_the_text_out")]
    #[schema(value_type = Option<String>, example = "sk_live_4fZ0Qm8r1Tt6bYwKpX3sUe7NcVhJd2LgAo9RiB5ZqE4yW1C0nMa8")]
    secret: Option<KeySecret>,
}

impl NewKeyBody {
    /// With its text, unless that is gone.
    pub(super) fn made(facts: KeyFacts, secret: Option<KeySecret>) -> NewKeyBody {
        let ours = secret.is_some();
        NewKeyBody {
            key: KeyBody {
                // A key that was made just now has not been used.
                last_used_at: ours.then_some(None),
                uses: ours.then_some(0),
                ..KeyBody::changed(facts)
            },
            secret,
        }
    }
}

fn let_the_text_out<S: Serializer>(secret: &Option<KeySecret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_some(secret.expose_text_in_the_creating_response()),
        None => serializer.serialize_none(),
    }
}

/// Makes a key. The only answer that has its text.
///
/// 201 made; again with `"secret": null` and `Idempotent-Replayed: true` when this key came with this request before.
/// 400 an `Idempotency-Key` that cannot be taken. 404 no such account. 409 the account has too many keys. 422 a member is
/// not acceptable, the end lies in the past, or the key came with another request. 503 nothing was written, or its
/// outcome is unknown: list the keys before you make another.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/keys", tag = "keys", request_body = CreateKeyBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses(
        (status = 201, description = "Made. `secret` is seen this once.", body = NewKeyBody),
        (status = 409, response = Problem),
    )
)]
pub(super) async fn create_key(
    State(app): State<App>,
    caller: Allowed<Manage>,
    InPath(account): InPath<AccountId>,
    idempotency: IdempotencyKey,
    Json(body): Json<CreateKeyBody>,
) -> Result<impl IntoResponse, Failure> {
    let by = caller.keyed(&idempotency, account, "keys", &body)?;
    let limits = key_limits::asked(body.scopes, body.rate_limit, body.spending_limit)?;
    let environment = body.environment.unwrap_or(Environment::Live);
    let secret = KeySecret::from_random(&app.key_prefix, environment, clock::random_secret_bits());
    let key = clock::fresh_key_id();
    let command = CreateKey {
        account,
        key,
        name: body.name,
        preview: secret.preview(),
        digest: secret.digest(),
        environment,
        expires_at: body.expires_at,
        limits,
    };
    let answer = app.ledger.submit(command, by).await.map_err(refused)?;
    // The text belongs to the key that was made for it. A repetition is told about the first one's key, whose text is gone.
    let ours = answer.reply.key.id == key;
    let secret = ours.then_some(secret);
    let answered = Answered::created(answer, |facts| NewKeyBody::made(facts, secret)).replayed(!ours);
    Ok(([(CACHE_CONTROL, "no-store")], answered))
}

/// Lists an account's keys, the newest first, as they are or as they were.
///
/// 200 a page. 400 a cursor or a position that is none. 404 no such account, or not yet at `as_of`. 422 a parameter is not acceptable. 503 the
/// view is behind `after`.
#[utoipa::path(get, path = "/v1/accounts/{account}/keys", tag = "keys", params(KeyPage), responses(
    (status = 200, description = "A page.", body = List<KeyBody>),
))]
pub(super) async fn list_keys(
    State(app): State<App>,
    _: Allowed<Read>,
    InPath(account): InPath<AccountId>,
    InQuery(page): InQuery<KeyPage>,
) -> Result<Answered<List<KeyBody>>, Failure> {
    let shown = page.state.unwrap_or_default();
    let search = KeySearch {
        state: shown.state(),
        name: page.name.map(String::from),
    };
    let scope = format!(
        "keys {account} {search:?}{}",
        page.as_of.map(|as_of| format!(" {as_of:?}")).unwrap_or_default()
    );
    let cursor = read_cursor(page.cursor.as_deref(), &scope)?;
    let limit = page.limit.unwrap_or(Limit::DEFAULT).get();
    wait_for_list(&app, ViewName::KeyList, page.after).await?;
    if let Some(as_of) = page.as_of {
        let then = state_then(&app, account, as_of).await?;
        let keys = then.keys(&search, limit, cursor);
        let body = list(keys, &scope, |key| KeyBody::seen(key, then.moment));
        return Ok(Answered::found(then.place, body));
    }
    let now = clock::now();
    let at = app.views.keys_found(account, &search, now, limit, cursor).await?;
    found(app.views.shard(), at, Problem::unknown_account, |rows, _| {
        list(rows, &scope, |key| KeyBody::seen(key, now))
    })
}

/// A key as it was. 404 there was no such account or key. Otherwise as [`state_then`].
pub(super) async fn key_then(
    app: &App,
    account: AccountId,
    key: KeyId,
    as_of: AsOf,
) -> Result<Answered<KeyBody>, Failure> {
    let then = state_then(app, account, as_of).await?;
    let found = then.key(key).ok_or_else(Problem::unknown_key)?;
    Ok(Answered::found(then.place, KeyBody::seen(found, then.moment)))
}

/// Renames a key, or sets what it may spend.
///
/// 200 changed, also when it was so before. 400 an `Idempotency-Key` that cannot be taken. 404 no such account or key. 409 the
/// key is deleted. 422 the name or the limit cannot be taken, not exactly one of them is there, or the idempotency key came
/// with another request. 503 nothing was written; send it again.
#[utoipa::path(
    patch, path = "/v1/accounts/{account}/keys/{key}", tag = "keys", request_body = ChangeKeyBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses((status = 200, description = "Changed.", body = KeyBody), (status = 409, response = Problem))
)]
pub(super) async fn change_key(
    State(app): State<App>,
    caller: Allowed<Manage>,
    InPath((account, key)): InPath<(AccountId, KeyId)>,
    idempotency: IdempotencyKey,
    Json(body): Json<ChangeKeyBody>,
) -> Result<Answered<KeyBody>, Failure> {
    let by = caller.keyed(&idempotency, account, "key", &(key, &body))?;
    let answer = match (body.name, body.spending_limit) {
        (Some(name), None) => app.ledger.submit(RenameKey { account, key, name }, by).await,
        (None, Some(limit)) => {
            let limit = limit.map(SpendingLimit::from);
            app.ledger.submit(LimitSpending { account, key, limit }, by).await
        }
        (None, None) => return Err(problems::invalid_body("name", "name or spending_limit is needed").into()),
        (Some(_), Some(_)) => {
            let detail = "only one of name and spending_limit is taken";
            return Err(problems::invalid_body("spending_limit", detail).into());
        }
    };
    let answer = answer.map_err(refused)?;
    Ok(Answered::done(answer, KeyBody::changed))
}

/// Deletes a key, for ever and at once.
///
/// 200 deleted, also when it was before. 400 an `Idempotency-Key` that cannot be taken. 404 no such account or key. 422 a
/// reason that is none, or the idempotency key came with another request. 503 nothing was written, or its outcome is
/// unknown; send it again.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/keys/{key}", tag = "keys",
    params(
        Deletion,
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")
    ),
    responses((status = 200, description = "Deleted.", body = KeyBody))
)]
pub(super) async fn delete_key(
    State(app): State<App>,
    caller: Allowed<Manage>,
    InPath((account, key)): InPath<(AccountId, KeyId)>,
    InQuery(query): InQuery<Deletion>,
    idempotency: IdempotencyKey,
) -> Result<Answered<KeyBody>, Failure> {
    let reason = query.reason.unwrap_or_default();
    let by = caller.keyed(&idempotency, account, "delete-key", &(key, reason))?;
    let command = DeleteKey {
        account,
        key,
        reason: reason.into(),
    };
    let answer = app.ledger.submit(command, by).await.map_err(refused)?;
    Ok(Answered::done(answer, KeyBody::changed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_creation_without_limits_is_named_as_it_was_before_there_were_any() {
        let sent = r#"{"name":"CI","scopes":null,"rate_limit":null,"spending_limit":null}"#;
        let body: CreateKeyBody = serde_json::from_str(sent).unwrap();
        let named = serde_json::to_string(&body).unwrap();
        assert_eq!(named, r#"{"name":"CI","environment":null,"expires_at":null}"#);
    }
}
