//! Keys whose text was found in public: what is a key of ours works no more.
//!
//! Promise: an answer never has a text. A text that is no key of ours is told the same, whatever is wrong with it.

use axum::extract::State;
use futures_util::future::join_all;
use keyledger_events::{AccountId, KeyDigest, KeyId, KeySecret};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Answered, Failure, refused};
use super::extract::{Allowed, IdempotencyKey, Json, Manage, Scope};
use super::place::Place;
use super::{App, problems};
use crate::clock;
use crate::ledger::{DeleteLeaked, Refusal, SubmitError};
use crate::requests::Came;

/// Found texts at once.
const TEXTS_MAX: usize = 100;

/// What was found. Not `Debug`: it holds keys' texts.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LeaksBody {
    /// Texts that may be keys: 1 to 100.
    #[schema(min_items = 1, max_items = 100, example = json!(["sk_live_4fZ0Qm8r1Tt6bYwKpX3sUe7NcVhJd2LgAo9RiB5ZqE4yW1C0nMa8"]))]
    keys: Vec<String>,
}

/// What became of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// It is a key's, which works no more from now on.
    Deleted,
    /// It is a key's that was deleted before.
    AlreadyDeleted,
    /// It is no key of ours.
    Unknown,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LeakItem {
    outcome: Outcome,
    #[schema(value_type = Option<String>, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: Option<AccountId>,
    #[schema(value_type = Option<String>, example = "key_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    key: Option<KeyId>,
}

/// What became of the texts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LeaksAnswer {
    /// One for each text, in their order.
    items: Vec<LeakItem>,
}

const UNKNOWN: LeakItem = LeakItem {
    outcome: Outcome::Unknown,
    account: None,
    key: None,
};

/// Deletes the keys among texts that were found in public, with the reason `leaked`, at once and everywhere.
///
/// 200 what became of each text, which is not repeated; the same again when this key came with this request before. 400 an
/// `Idempotency-Key` that cannot be taken. 422 no text, more than 100, or the key came with another request. 503 some may be
/// deleted and some not; send it again, which is safe.
#[utoipa::path(
    post, path = "/v1/leaks", tag = "keys", request_body = LeaksBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses((status = 200, description = "What became of each text.", body = LeaksAnswer))
)]
pub(super) async fn report_leaks(
    State(app): State<App>,
    caller: Allowed<Manage>,
    key: IdempotencyKey,
    Json(body): Json<LeaksBody>,
) -> Result<Answered<LeaksAnswer>, Failure> {
    if body.keys.is_empty() || body.keys.len() > TEXTS_MAX {
        return Err(problems::invalid_body("keys", "keys: must have 1 to 100 texts").into());
    }
    let digest = |text: &String| {
        KeySecret::parse(&app.key_prefix, text)
            .ok()
            .map(|secret| secret.digest())
    };
    let digests: Vec<Option<KeyDigest>> = body.keys.iter().map(digest).collect();
    let scope = Scope {
        token: caller.caller.token,
        account: AccountId::SYSTEM,
        route: "leaks",
    };
    let mut again = false;
    if let Some((scope, fingerprint)) = key.hashes(scope, &digests)? {
        match app
            .requests
            .note(&scope, &fingerprint, AccountId::SYSTEM.to_bytes(), clock::now())
            .await?
        {
            // One that came before is carried out again: what it did not come to then, it does now.
            Came::First => {}
            Came::Again { .. } => again = true,
            Came::Otherwise => return Err(problems::idempotency_mismatch().into()),
        }
    }
    // All at once, and decided in their order: a text that is there twice is deleted once.
    let deleting = digests.into_iter().map(|digest| delete(&app, &caller, &key, digest));
    let mut place = None;
    let mut items = Vec::new();
    for deleted in join_all(deleting).await {
        let (item, at) = deleted?;
        place = place.max(at);
        items.push(item);
    }
    let answer = LeaksAnswer { items };
    let answered = match place {
        Some(position) => {
            let shard = app.ledger.shard();
            Answered::found(Place { shard, position }, answer)
        }
        None => Answered::plain(answer),
    };
    Ok(answered.replayed(again))
}

/// What became of one text, and where the log says so.
async fn delete(
    app: &App,
    caller: &Allowed<Manage>,
    key: &IdempotencyKey,
    digest: Option<KeyDigest>,
) -> Result<(LeakItem, Option<keyledger_events::Position>), Failure> {
    let Some(digest) = digest else {
        return Ok((UNKNOWN, None));
    };
    // Each text is a command of its own, also where two are keys of one account.
    let by = caller.keyed(&key.of_part(digest), AccountId::SYSTEM, "leaks", &digest)?;
    match app.ledger.submit(DeleteLeaked { digest }, by).await {
        Ok(answer) => {
            let outcome = if answer.replayed && !answer.reply.by_this {
                Outcome::AlreadyDeleted
            } else {
                Outcome::Deleted
            };
            let item = LeakItem {
                outcome,
                account: Some(answer.reply.key.account),
                key: Some(answer.reply.key.key.id),
            };
            Ok((item, Some(answer.position)))
        }
        Err(SubmitError::Refused {
            refusal: Refusal::KeyInvalid,
            ..
        }) => Ok((UNKNOWN, None)),
        Err(error) => Err(refused(error)),
    }
}
