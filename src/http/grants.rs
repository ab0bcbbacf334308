//! Credits given to an account.

use axum::extract::State;
use keyledger_events::{AccountId, Credits, GrantId, GrantSource, Reason, Scopes, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::answer::{Answered, Failure, List, found, refused};
use super::extract::{Allowed, Grant, IdempotencyKey, InPath, InQuery, Json, Page, Read};
use super::look::{list, wait_for};
use super::words::{Amount, Reference};
use crate::clock;
use crate::ledger::{GrantCredits, GrantFacts};
use crate::problem::Problem;
use crate::views::{self, ViewName};

/// Credits to give.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantBody {
    /// More than zero.
    #[schema(value_type = String, example = "100")]
    amount: Amount,
    /// Lower numbers burn first; 0 unless said.
    #[schema(value_type = Option<i32>, example = 0)]
    priority: Option<i32>,
    /// From this moment on what is left is gone. Never, unless said.
    #[schema(value_type = Option<String>, format = DateTime, example = "2027-12-31T00:00:00Z")]
    expires_at: Option<Timestamp>,
    source: AskedSource,
    /// Your own name of what this is for, such as an invoice.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128, example = "invoice-2026-117")]
    reference: Option<Reference>,
    /// From this moment on it can be used; at once, unless it is still to come. `expires_at` has to be later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2027-01-01T00:00:00Z")]
    starts_at: Option<Timestamp>,
    /// The endpoints that it burns on, as the price book names them: 1 to 64, each once. There it burns before other
    /// grants. All of them, unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 64, example = json!(["serp"]))]
    endpoints: Option<Scopes>,
    /// Why, shown to the customer: 1 to 200 characters.
    // These three are absent from what names a repeated request, as it was before there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200, example = "An outage of 2 h")]
    reason: Option<Reason>,
}

/// Where a grant comes from that is given from outside; refunds make their own.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = AskedGrantSource)]
enum AskedSource {
    Purchase,
    Plan,
    Promotion,
    Correction,
}

impl From<AskedSource> for GrantSource {
    fn from(source: AskedSource) -> GrantSource {
        match source {
            AskedSource::Purchase => GrantSource::Purchase,
            AskedSource::Plan => GrantSource::Plan,
            AskedSource::Promotion => GrantSource::Promotion,
            AskedSource::Correction => GrantSource::Correction,
        }
    }
}

/// Where a grant comes from.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "kebab-case", as = GrantSource)]
#[expect(
    dead_code,
    reason = "describes a word of the vocabulary, which knows nothing of OpenAPI"
)]
enum SourceName {
    Purchase,
    Plan,
    Promotion,
    Correction,
    /// What had been charged on the credit limit, was repaid since, and then refunded.
    Refund,
}

/// A grant, as it was given.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GivenBody {
    #[schema(value_type = String, example = "grant_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: GrantId,
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    #[schema(value_type = String, example = "100")]
    amount: Credits,
    priority: i32,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = SourceName)]
    source: GrantSource,
    reference: Option<String>,
    /// When it takes effect, where that is later than when it was given.
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Timestamp>,
    /// The endpoints that it burns on; `null` means all of them.
    #[schema(value_type = Option<Vec<String>>)]
    endpoints: Option<Scopes>,
    #[schema(value_type = String, format = DateTime)]
    granted_at: Timestamp,
    /// What any endpoint can use now, all grants together.
    #[schema(value_type = String, example = "100")]
    available: Credits,
}

/// A grant, and what became of it: `amount` = `remaining` + `held` + `expired` + what was spent, taken away, repaid, or rolled over into
/// a plan's next period.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GrantRow {
    #[schema(value_type = String, example = "grant_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: GrantId,
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    #[schema(value_type = String, example = "100")]
    amount: Credits,
    priority: i32,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = SourceName)]
    source: String,
    reference: Option<String>,
    /// When it takes effect, where that is later than when it was given.
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Timestamp>,
    /// The endpoints that it burns on; `null` means all of them.
    #[schema(value_type = Option<Vec<String>>)]
    endpoints: Option<Scopes>,
    #[schema(value_type = String, format = DateTime)]
    granted_at: Timestamp,
    #[schema(value_type = String, example = "99.5")]
    remaining: Credits,
    #[schema(value_type = String, example = "0")]
    held: Credits,
    #[schema(value_type = String, example = "0")]
    expired: Credits,
}

impl GivenBody {
    fn new(account: AccountId, facts: GrantFacts) -> GivenBody {
        GivenBody {
            id: facts.grant,
            account,
            amount: facts.amount,
            priority: facts.priority,
            expires_at: facts.expires_at,
            source: facts.source,
            reference: facts.reference,
            starts_at: facts.starts_at,
            endpoints: facts.endpoints,
            granted_at: facts.granted_at,
            available: facts.available,
        }
    }
}

impl From<views::Grant> for GrantRow {
    fn from(grant: views::Grant) -> GrantRow {
        GrantRow {
            id: grant.id,
            account: grant.account,
            amount: grant.amount,
            priority: grant.priority,
            expires_at: grant.expires_at,
            source: grant.source,
            reference: grant.reference,
            starts_at: grant.starts_at,
            endpoints: grant.endpoints,
            granted_at: grant.granted_at,
            remaining: grant.remaining,
            held: grant.held,
            expired: grant.expired,
        }
    }
}

/// Gives an account credits, at once or for later.
///
/// 201 given; again with `Idempotent-Replayed: true` when this key came with this request before. 400 an
/// `Idempotency-Key` that cannot be taken. 404 no such account. 409 it is closed. 422 an amount or another member is not acceptable, the
/// end lies in the past, or the key came with another request. 503 nothing was written, or its outcome is unknown: send
/// it again with the same key.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/grants", tag = "credits", request_body = GrantBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses((status = 201, description = "Given.", body = GivenBody), (status = 409, response = Problem))
)]
pub(super) async fn grant_credits(
    State(app): State<App>,
    caller: Allowed<Grant>,
    InPath(account): InPath<AccountId>,
    key: IdempotencyKey,
    Json(body): Json<GrantBody>,
) -> Result<Answered<GivenBody>, Failure> {
    let by = caller.keyed(&key, account, "grants", &body)?;
    let command = GrantCredits {
        account,
        grant: clock::fresh_grant_id(),
        amount: body.amount.get(),
        priority: body.priority.unwrap_or_default(),
        expires_at: body.expires_at,
        source: body.source.into(),
        reference: body.reference.map(String::from),
        starts_at: body.starts_at,
        endpoints: body.endpoints,
        reason: body.reason,
    };
    let answer = app.ledger.submit(command, by).await.map_err(refused)?;
    Ok(Answered::created(answer, |facts| GivenBody::new(account, facts)))
}

/// Lists an account's grants, the newest first.
///
/// 200 a page. 400 a cursor or a position that is none. 404 no such account. 422 a limit out of bounds. 503 the view is
/// behind `after`.
#[utoipa::path(get, path = "/v1/accounts/{account}/grants", tag = "credits", params(Page), responses(
    (status = 200, description = "A page.", body = List<GrantRow>),
))]
pub(super) async fn list_grants(
    State(app): State<App>,
    _: Allowed<Read>,
    InPath(account): InPath<AccountId>,
    InQuery(page): InQuery<Page>,
) -> Result<Answered<List<GrantRow>>, Failure> {
    let scope = format!("grants {account}");
    let cursor = page.cursor(&scope)?;
    wait_for(&app, ViewName::Balance, page.after).await?;
    let at = app.views.grants(account, page.limit(), cursor).await?;
    found(app.views.shard(), at, Problem::unknown_account, |rows, _| {
        list(rows, &scope, GrantRow::from)
    })
}
