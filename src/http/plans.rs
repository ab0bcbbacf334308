//! Credits that come again and again.

use axum::extract::State;
use keyledger_events::{AccountId, Credits, Period, PlanId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::answer::{Answered, Failure, List, found, refused};
use super::extract::{Allowed, Grant, IdempotencyKey, InPath, InQuery, Json, Page, PathId, Read};
use super::look::{list, wait_for};
use super::words::{Amount, Least};
use crate::clock;
use crate::ledger::{EndPlan, PlanFacts, StartPlan};
use crate::problem::Problem;
use crate::views::{self, ViewName};

/// What to give, and how often.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanBody {
    /// Given each period: more than zero.
    #[schema(value_type = String, example = "100")]
    amount: Amount,
    #[schema(value_type = PeriodName)]
    period: Period,
    /// Where the first period begins; now, unless that is still to come. Later ones begin at the same time of their day;
    /// in a month that is too short for the day, on its last.
    #[schema(value_type = Option<String>, format = DateTime, example = "2027-01-01T00:00:00Z")]
    starts_at: Option<Timestamp>,
    /// How much of what is left of a period goes on into the next; the rest expires. Nothing, unless said.
    #[schema(value_type = Option<String>, example = "50")]
    rollover_cap: Option<Least>,
}

/// How long a plan's grants last.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "kebab-case", as = Period)]
#[expect(
    dead_code,
    reason = "describes a word of the vocabulary, which knows nothing of OpenAPI"
)]
enum PeriodName {
    Day,
    Week,
    Month,
}

/// A plan, as it was started.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StartedPlanBody {
    #[schema(value_type = String, example = "plan_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: PlanId,
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    #[schema(value_type = String, example = "100")]
    amount: Credits,
    #[schema(value_type = PeriodName)]
    period: Period,
    #[schema(value_type = String, example = "50")]
    rollover_cap: Credits,
    #[schema(value_type = String, format = DateTime)]
    starts_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// What any endpoint can use now.
    #[schema(value_type = String, example = "100")]
    available: Credits,
}

impl From<PlanFacts> for StartedPlanBody {
    fn from(facts: PlanFacts) -> StartedPlanBody {
        StartedPlanBody {
            id: facts.started.plan,
            account: facts.account,
            amount: facts.started.amount,
            period: facts.started.period,
            rollover_cap: facts.started.rollover_cap,
            starts_at: facts.started.starts_at,
            started_at: facts.started_at,
            available: facts.available,
        }
    }
}

/// A plan, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlanRow {
    #[schema(value_type = String, example = "plan_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: PlanId,
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    #[schema(value_type = String, example = "100")]
    amount: Credits,
    #[schema(value_type = PeriodName)]
    period: String,
    #[schema(value_type = String, example = "50")]
    rollover_cap: Credits,
    #[schema(value_type = String, format = DateTime)]
    starts_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// Periods that were given for.
    #[schema(example = 3)]
    periods: u64,
    /// When the next period begins; `null` when the plan has ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_at: Option<Timestamp>,
}

impl From<views::Plan> for PlanRow {
    fn from(plan: views::Plan) -> PlanRow {
        PlanRow {
            id: plan.id,
            account: plan.account,
            amount: plan.amount,
            period: plan.period,
            rollover_cap: plan.rollover_cap,
            starts_at: plan.starts_at,
            started_at: plan.started_at,
            ended_at: plan.ended_at,
            periods: plan.periods,
            next_at: plan.next_at,
        }
    }
}

/// A plan that has ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EndedPlanBody {
    #[schema(value_type = String, example = "plan_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: PlanId,
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    /// What any endpoint can use now. What was given for the period under way stays until that is over.
    #[schema(value_type = String, example = "100")]
    available: Credits,
}

impl PathId for PlanId {
    const NAME: &'static str = "plan";

    fn unknown() -> Problem {
        Problem::unknown_plan()
    }
}

/// Starts a plan: credits each period, as a grant of source `plan` that ends with its period. One that begins now gives at
/// once.
///
/// 201 started; again with `Idempotent-Replayed: true` when this key came with this request before. 400 an
/// `Idempotency-Key` that cannot be taken. 404 no such account. 409 the account is closed, or has 20 plans that go on. 422 a
/// member is not acceptable, or the key came with another request. 503 nothing was written, or its outcome is unknown:
/// send it again with the same key.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/plans", tag = "credits", request_body = PlanBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses((status = 201, description = "Started.", body = StartedPlanBody), (status = 409, response = Problem))
)]
pub(super) async fn start_plan(
    State(app): State<App>,
    caller: Allowed<Grant>,
    InPath(account): InPath<AccountId>,
    key: IdempotencyKey,
    Json(body): Json<PlanBody>,
) -> Result<Answered<StartedPlanBody>, Failure> {
    let by = caller.keyed(&key, account, "plans", &body)?;
    let command = StartPlan {
        account,
        plan: clock::fresh_plan_id(),
        amount: body.amount.get(),
        period: body.period,
        starts_at: body.starts_at,
        rollover_cap: body.rollover_cap.unwrap_or(Least::ZERO).get(),
    };
    let answer = app.ledger.submit(command, by).await.map_err(refused)?;
    Ok(Answered::created(answer, StartedPlanBody::from))
}

/// Lists an account's plans, the newest first, those that have ended among them.
///
/// 200 a page. 400 a cursor or a position that is none. 404 no such account. 422 a limit out of bounds. 503 the view is
/// behind `after`.
#[utoipa::path(get, path = "/v1/accounts/{account}/plans", tag = "credits", params(Page), responses(
    (status = 200, description = "A page.", body = List<PlanRow>),
))]
pub(super) async fn list_plans(
    State(app): State<App>,
    _: Allowed<Read>,
    InPath(account): InPath<AccountId>,
    InQuery(page): InQuery<Page>,
) -> Result<Answered<List<PlanRow>>, Failure> {
    let scope = format!("plans {account}");
    let cursor = page.cursor(&scope)?;
    wait_for(&app, ViewName::Balance, page.after).await?;
    let at = app.views.plans(account, page.limit(), cursor).await?;
    found(app.views.shard(), at, Problem::unknown_account, |rows, _| {
        list(rows, &scope, PlanRow::from)
    })
}

/// Ends a plan: no period begins any more, and nothing is taken back.
///
/// 200 ended, also when it was before. 400 an `Idempotency-Key` that cannot be taken. 404 no such account or plan. 409 the
/// account is closed. 422 the key came with another request. 503 nothing was written, or its outcome is unknown; send it again.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/plans/{plan}", tag = "credits",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses((status = 200, description = "Ended.", body = EndedPlanBody), (status = 409, response = Problem))
)]
pub(super) async fn end_plan(
    State(app): State<App>,
    caller: Allowed<Grant>,
    InPath((account, plan)): InPath<(AccountId, PlanId)>,
    key: IdempotencyKey,
) -> Result<Answered<EndedPlanBody>, Failure> {
    let by = caller.keyed(&key, account, "end-plan", &plan)?;
    let answer = app
        .ledger
        .submit(EndPlan { account, plan }, by)
        .await
        .map_err(refused)?;
    Ok(Answered::done(answer, |available| EndedPlanBody {
        id: plan,
        account,
        available,
    }))
}
