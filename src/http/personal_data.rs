//! Erasing what is known of people in an account.

use axum::extract::State;
use keyledger_events::{AccountId, Reason, Seq, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answered, Failure, refused};
use super::extract::{Allowed, IdempotencyKey, InPath, InQuery, Manage};
use super::look::wait_for;
use super::place::Place;
use super::{App, problems};
use crate::clock;
use crate::ledger::ErasePersonalData;
use crate::problem::Problem;
use crate::views::ViewName;

/// Of an erasure.
#[derive(Debug, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Erasure {
    /// Stands in the history for ever: without anything personal. 1 to 200 characters.
    #[param(value_type = Option<String>, min_length = 1, max_length = 200, example = "Asked for by letter")]
    reason: Option<Reason>,
}

/// What is known of people in the account is gone.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErasedBody {
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    #[schema(value_type = Option<String>, format = DateTime)]
    erased_at: Option<Timestamp>,
    /// Where the log says so.
    #[schema(value_type = String, example = "0:812")]
    position: Place,
    /// The account was opened before events were sealed: what events of that time say stays in the log in the clear, as the log
    /// is never changed. It is shown nowhere else any more.
    #[schema(example = false)]
    in_clear: bool,
}

/// Erases what is known of people in a closed account: its data key is destroyed, so that what its events sealed can be read by
/// nobody any more. Every event's bytes stay as they are, and so do all proofs.
///
/// Erased are the names of the account, of its keys and of people who were let onto its pages, `external_ref`, and networks and
/// user agents of clients. Names and events that were opened show `(erased)` then, `external_ref` is `null`, networks are none.
/// 200 erased, also when it was before. 400 an `Idempotency-Key` that cannot be taken. 404 no such account. 409 `account-open`:
/// close it first. 422 the reason cannot be taken, or the key came with another request. 503 it is not known to be erased
/// everywhere; send it again.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/personal-data", tag = "accounts",
    params(
        Erasure,
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")
    ),
    responses((status = 200, description = "Erased.", body = ErasedBody), (status = 409, response = Problem))
)]
pub(super) async fn erase_personal_data(
    State(app): State<App>,
    caller: Allowed<Manage>,
    InPath(account): InPath<AccountId>,
    InQuery(query): InQuery<Erasure>,
    key: IdempotencyKey,
) -> Result<Answered<ErasedBody>, Failure> {
    let by = caller.keyed(&key, account, "personal-data", &query)?;
    let command = |destroyed| ErasePersonalData {
        account,
        reason: query.reason.clone(),
        destroyed,
    };
    app.ledger.submit(command(false), by.clone()).await.map_err(refused)?;
    // In this order: what the log says is gone is gone. Whatever ends in between, the same request goes on with it.
    app.log.destroy_data_key(account, clock::now()).await?;
    forget_copies(&app, account).await?;
    let answer = app.ledger.submit(command(true), by).await.map_err(refused)?;
    let position = Place {
        shard: answer.shard,
        position: answer.reply.position,
    };
    for view in [ViewName::KeyList, ViewName::Balance, ViewName::Usage] {
        wait_for(&app, view, Some(position)).await?;
    }
    // What was made of the views' rows meanwhile.
    forget_copies(&app, account).await?;
    let first = app.log.account_events(account, Seq::START, 1).await?;
    let first = first.first().and_then(|first| first.decode().ok());
    let in_clear = first.ok_or_else(problems::internal)?.sealed.is_none();
    Ok(Answered::done(answer, |facts| ErasedBody {
        account,
        erased_at: facts.erased_at,
        position,
        in_clear,
    }))
}

/// Copies outside of log and views.
async fn forget_copies(app: &App, account: AccountId) -> Result<(), Problem> {
    app.log.forget_shortcuts(account).await?;
    app.sessions.forget_people(account).await?;
    app.deliveries.forget_names(account).await?;
    app.views.forget_left_generations().await?;
    Ok(())
}
