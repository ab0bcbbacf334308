//! Accounts.

use axum::extract::State;
use keyledger_events::{AccountId, AccountName, Credits, Reason, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::answer::{Answered, Failure, List, found, refused};
use super::as_of::{OneThen, state_then};
use super::extract::{Allowed, IdempotencyKey, InPath, InQuery, Json, Manage, Read};
use super::look::{list, read_cursor, wait_for};
use super::place::Place;
use super::problems;
use super::words::{Least, Limit, Reference, Sought};
use crate::clock;
use crate::ledger::{AccountFacts, ChangeAccount, CloseAccount, OpenAccount};
use crate::problem::Problem;
use crate::views::{self, ViewName};

/// A customer to open an account for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenAccountBody {
    #[schema(value_type = String, min_length = 1, max_length = 80, example = "Acme")]
    name: AccountName,
    /// Your own id of this customer. Need not be unique.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128, example = "crm-4711")]
    external_ref: Option<Reference>,
    /// How far available may go below zero; 0 unless said.
    #[schema(value_type = Option<String>, example = "0")]
    credit_limit: Option<Least>,
}

/// What to change of an account. What is not said stays as it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeAccountBody {
    #[schema(value_type = Option<String>, min_length = 1, max_length = 80, example = "Acme")]
    name: Option<AccountName>,
    /// `null` takes it away.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128, example = "crm-4711")]
    external_ref: Option<Option<Reference>>,
    /// How far available may go below zero. Less than is used already is allowed: nothing new is held then.
    #[schema(value_type = Option<String>, example = "25")]
    credit_limit: Option<Least>,
}

/// Tells a member that is `null` from one that is not there.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// An account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountBody {
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: AccountId,
    #[schema(example = "Acme")]
    name: String,
    #[schema(example = "crm-4711")]
    external_ref: Option<String>,
    #[schema(value_type = String, example = "0")]
    credit_limit: Credits,
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T14:03:07.123456Z")]
    opened_at: Timestamp,
    /// Since when nothing is done in it any more. `null` while it is open.
    #[schema(value_type = Option<String>, format = DateTime)]
    closed_at: Option<Timestamp>,
}

impl From<AccountFacts> for AccountBody {
    fn from(facts: AccountFacts) -> AccountBody {
        AccountBody {
            id: facts.account,
            name: facts.name.into(),
            external_ref: facts.external_ref,
            credit_limit: facts.credit_limit,
            opened_at: facts.opened_at,
            closed_at: facts.closed_at,
        }
    }
}

impl From<views::Account> for AccountBody {
    fn from(account: views::Account) -> AccountBody {
        AccountBody {
            id: account.id,
            name: account.name,
            external_ref: account.external_ref,
            credit_limit: account.credit_limit,
            opened_at: account.opened_at,
            closed_at: account.closed_at,
        }
    }
}

/// Opens an account.
///
/// 201 opened; again with `Idempotent-Replayed: true` when this key came with this request before. 400 an
/// `Idempotency-Key` that cannot be taken. 422 a member is not acceptable, or the key came with another request. 503 nothing
/// was written, or its outcome is unknown: send it again with the same key.
#[utoipa::path(
    post, path = "/v1/accounts", tag = "accounts", request_body = OpenAccountBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses((status = 201, description = "Opened.", body = AccountBody))
)]
pub(super) async fn open_account(
    State(app): State<App>,
    caller: Allowed<Manage>,
    key: IdempotencyKey,
    Json(body): Json<OpenAccountBody>,
) -> Result<Answered<AccountBody>, Failure> {
    let by = caller.keyed(&key, AccountId::SYSTEM, "accounts", &body)?;
    let command = OpenAccount {
        account: clock::fresh_account_id(),
        name: body.name,
        external_ref: body.external_ref.map(String::from),
        credit_limit: body.credit_limit.unwrap_or(Least::ZERO).get(),
    };
    let answer = app.ledger.submit(command, by).await.map_err(refused)?;
    Ok(Answered::created(answer, AccountBody::from))
}

/// Changes an account's name, your own id of it, or its credit limit.
///
/// 200 changed, also when it was so already. 400 an `Idempotency-Key` that cannot be taken. 404 no such account. 409 it is closed.
/// 422 a member is not acceptable, or the key came with another request. 503 nothing was written, or its outcome is unknown; send it again.
#[utoipa::path(
    patch, path = "/v1/accounts/{account}", tag = "accounts", request_body = ChangeAccountBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses((status = 200, description = "Changed.", body = AccountBody), (status = 409, response = Problem))
)]
pub(super) async fn change_account(
    State(app): State<App>,
    caller: Allowed<Manage>,
    InPath(account): InPath<AccountId>,
    key: IdempotencyKey,
    Json(body): Json<ChangeAccountBody>,
) -> Result<Answered<AccountBody>, Failure> {
    let by = caller.keyed(&key, account, "account", &body)?;
    let command = ChangeAccount {
        account,
        name: body.name,
        external_ref: body.external_ref.map(|reference| reference.map(String::from)),
        credit_limit: body.credit_limit.map(Least::get),
    };
    let answer = app.ledger.submit(command, by).await.map_err(refused)?;
    Ok(Answered::done(answer, AccountBody::from))
}

/// Why an account is closed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CloseAccountBody {
    /// Shown to the customer.
    #[schema(value_type = String, min_length = 1, max_length = 200, example = "Contract ended")]
    reason: Reason,
}

/// Closes an account, for ever: its keys are deleted, what is held is given back, and work under way is cut as it is for a
/// deleted key. Nothing new is done in it any more; it can be looked at, and what expires goes on expiring.
///
/// 200 closed, also when it was before. 400 an `Idempotency-Key` that cannot be taken. 404 no such account. 422 a member is
/// not acceptable, or the key came with another request. 503 nothing was written, or its outcome is unknown; send it again.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/close", tag = "accounts", request_body = CloseAccountBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses((status = 200, description = "Closed.", body = AccountBody))
)]
pub(super) async fn close_account(
    State(app): State<App>,
    caller: Allowed<Manage>,
    InPath(account): InPath<AccountId>,
    key: IdempotencyKey,
    Json(body): Json<CloseAccountBody>,
) -> Result<Answered<AccountBody>, Failure> {
    let by = caller.keyed(&key, account, "close", &body)?;
    let reason = body.reason;
    let command = CloseAccount { account, reason };
    let answer = app.ledger.submit(command, by).await.map_err(refused)?;
    Ok(Answered::done(answer, AccountBody::from))
}

/// Of the accounts.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountPage {
    /// Only accounts whose name, whatever its case, `external_ref` or id begins like this: 1 to 80 characters.
    #[param(value_type = Option<String>, min_length = 1, max_length = 80, example = "acme")]
    search: Option<Sought>,
    /// Items at once: 1 to 200, 50 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, example = 50)]
    limit: Option<Limit>,
    /// Go on from here: the `next_cursor` of the page before.
    cursor: Option<String>,
    /// Answer only from a view that has reached this place of the log; a `Ledger-Position` that you were given, such as `0:812`.
    #[param(value_type = Option<String>, pattern = "^[0-9]+:[0-9]+$")]
    after: Option<Place>,
}

/// Lists accounts, the newest first: all, or those that begin like what is looked for.
///
/// 200 a page. 400 a cursor or a position that is none. 422 a parameter is not acceptable. 503 the view is behind `after`.
#[utoipa::path(get, path = "/v1/accounts", tag = "accounts", params(AccountPage), responses(
    (status = 200, description = "A page.", body = List<AccountBody>),
))]
pub(super) async fn list_accounts(
    State(app): State<App>,
    _: Allowed<Read>,
    InQuery(page): InQuery<AccountPage>,
) -> Result<Answered<List<AccountBody>>, Failure> {
    let search = page.search.map(String::from);
    let scope = format!("accounts {search:?}");
    let cursor = read_cursor(page.cursor.as_deref(), &scope)?;
    let limit = page.limit.unwrap_or(Limit::DEFAULT).get();
    wait_for(&app, ViewName::Balance, page.after).await?;
    let shard = app.views.shard();
    let at = match search {
        None => app.views.accounts(limit, cursor).await?,
        Some(text) => app.views.accounts_found(&text, limit, cursor).await?,
    };
    let position = at.position;
    let page = list(at.value, &scope, |(account, _)| AccountBody::from(account));
    Ok(Answered::found(Place { shard, position }, page))
}

/// Shows an account, as it is or as it was.
///
/// 200 the account. 400 a position that is none. 404 no such account, or not yet at `as_of`. 422 an `as_of` that is none. 503 the
/// view is behind `after`.
#[utoipa::path(get, path = "/v1/accounts/{account}", tag = "accounts", params(OneThen), responses(
    (status = 200, description = "The account.", body = AccountBody),
))]
pub(super) async fn show_account(
    State(app): State<App>,
    _: Allowed<Read>,
    InPath(account): InPath<AccountId>,
    InQuery(query): InQuery<OneThen>,
) -> Result<Answered<AccountBody>, Failure> {
    wait_for(&app, ViewName::Balance, query.after).await?;
    if let Some(as_of) = query.as_of {
        let then = state_then(&app, account, as_of).await?;
        let row = then.account().ok_or_else(problems::internal)?;
        return Ok(Answered::found(then.place, row.into()));
    }
    let at = app.views.account(account).await?;
    found(app.views.shard(), at, Problem::unknown_account, |account, _| {
        account.into()
    })
}
