//! Balances at which somebody wants to be told.

use axum::extract::State;
use keyledger_events::{AccountId, Credits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::answer::{Answered, Failure, found, refused};
use super::extract::{Allowed, Grant, IdempotencyKey, InPath, InQuery, Json, One, Read};
use super::look::wait_for;
use super::words::Least;
use crate::ledger::SetThresholds;
use crate::problem::Problem;
use crate::views::ViewName;

/// The balances to watch for, in the place of those of before.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ThresholdsBody {
    /// At most 10; none to watch for nothing.
    #[schema(value_type = Vec<String>, max_items = 10, example = json!(["100", "10"]))]
    thresholds: Vec<Least>,
}

/// The balances that an account is watched for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WatchedBody {
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    /// The highest first.
    #[schema(value_type = Vec<String>, example = json!(["100", "10"]))]
    thresholds: Vec<Credits>,
}

/// Says at which balances to tell. When the balance has come down to one of them, the log has a `ThresholdReached`, once:
/// again only after the balance was above it. Holds do not count: only what is charged, expires or is taken away brings a
/// balance down. One that it is at or below already is told of at once.
///
/// 200 set, also when they were so already. 400 an `Idempotency-Key` that cannot be taken. 404 no such account. 409 the account
/// is closed. 422 a member is not acceptable, or the key came with another request. 503 nothing was written, or its outcome
/// is unknown; send it again.
#[utoipa::path(
    put, path = "/v1/accounts/{account}/thresholds", tag = "credits", request_body = ThresholdsBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses((status = 200, description = "Set.", body = WatchedBody), (status = 409, response = Problem))
)]
pub(super) async fn set_thresholds(
    State(app): State<App>,
    caller: Allowed<Grant>,
    InPath(account): InPath<AccountId>,
    key: IdempotencyKey,
    Json(body): Json<ThresholdsBody>,
) -> Result<Answered<WatchedBody>, Failure> {
    let by = caller.keyed(&key, account, "thresholds", &body)?;
    let command = SetThresholds {
        account,
        thresholds: body.thresholds.into_iter().map(Least::get).collect(),
    };
    let answer = app.ledger.submit(command, by).await.map_err(refused)?;
    Ok(Answered::done(answer, |thresholds| WatchedBody { account, thresholds }))
}

/// Shows at which balances to tell.
///
/// 200 the balances. 400 a position that is none. 404 no such account. 503 the view is behind `after`.
#[utoipa::path(get, path = "/v1/accounts/{account}/thresholds", tag = "credits", params(One), responses(
    (status = 200, description = "The balances.", body = WatchedBody),
))]
pub(super) async fn show_thresholds(
    State(app): State<App>,
    _: Allowed<Read>,
    InPath(account): InPath<AccountId>,
    InQuery(query): InQuery<One>,
) -> Result<Answered<WatchedBody>, Failure> {
    wait_for(&app, ViewName::Balance, query.after).await?;
    let at = app.views.thresholds(account).await?;
    found(app.views.shard(), at, Problem::unknown_account, |thresholds, _| {
        WatchedBody { account, thresholds }
    })
}
