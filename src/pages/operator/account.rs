//! One account: its sums, what they are watched for, its plans and its grants. What later parts know of an account has its
//! place below them.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use keyledger_events::{AccountId, Credits, GrantId, PlanId, Timestamp};
use serde::Deserialize;

use super::Operator;
use crate::clock;
use crate::pages::Pages;
use crate::pages::credits::{self, listed};
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Frame, Root};
use crate::pages::moment::Moment;
use crate::pages::name::Shown;
use crate::views::{Balance, Grant, Plan};

const GRANTS_A_PAGE: u32 = 50;
/// An account may have more that have ended; the newest are of interest.
const PLANS_SHOWN: u32 = 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Look {
    /// Go on below this grant.
    below: Option<GrantId>,
}

struct GrantRow {
    id: GrantId,
    source: String,
    reference: Option<Shown>,
    granted: Moment,
    amount: Credits,
    left: Credits,
    held: Credits,
    expired: Credits,
    /// What is none of these.
    spent: Credits,
    expires: Option<Moment>,
    /// When it takes effect, where that is still to come.
    starts: Option<Moment>,
    /// The endpoints that it is for, where it is not for all.
    only_on: Option<String>,
    priority: i32,
}

struct PlanRow {
    id: PlanId,
    /// `100 credits every month`.
    what: String,
    rolls: String,
    started: Moment,
    periods: u64,
    /// When the next period begins. Not there: it has ended.
    next: Option<Moment>,
    ended: Option<Moment>,
}

#[derive(Template)]
#[template(path = "operator_account.html")]
struct AccountPage<'a> {
    frame: Frame<'a>,
    id: AccountId,
    name: Shown,
    reference: Option<Shown>,
    credit_limit: Credits,
    opened: Moment,
    closed: Option<Moment>,
    balance: Balance,
    thresholds: Vec<Credits>,
    plans: Vec<PlanRow>,
    more_plans: bool,
    grants: Vec<GrantRow>,
    older: Option<GrantId>,
    first: bool,
}

impl PlanRow {
    fn new(plan: Plan, now: Timestamp) -> PlanRow {
        let in_words = credits::PlanRow::new(plan.clone(), now);
        PlanRow {
            id: plan.id,
            what: in_words.what,
            rolls: in_words.rolls,
            started: Moment::new(plan.starts_at, now),
            periods: plan.periods,
            next: in_words.next,
            ended: plan.ended_at.map(|at| Moment::new(at, now)),
        }
    }
}

/// What was charged of a grant, taken away, or repaid what was owed.
fn spent(grant: &Grant) -> Credits {
    let left = [grant.remaining, grant.held, grant.expired];
    left.into_iter()
        .try_fold(grant.amount, Credits::minus_within)
        .unwrap_or(Credits::ZERO)
}

/// An account with its sums, its plans and its grants, the newest first. 200. 401 no operator. 404 no such account.
pub(super) async fn show(
    State(pages): State<Pages>,
    operator: Operator,
    root: Root,
    Path(id): Path<String>,
    look: Result<Query<Look>, QueryRejection>,
) -> Result<Response, Fault> {
    let Query(look) = look.map_err(|_| Fault::NotFound)?;
    let id: AccountId = id.parse().map_err(|_| Fault::NotFound)?;
    let (account, balance, thresholds, plans, grants) = tokio::try_join!(
        pages.views.account(id),
        pages.views.balance(id),
        pages.views.thresholds(id),
        pages.views.plans(id, PLANS_SHOWN, None),
        pages.views.grants(id, GRANTS_A_PAGE, look.below)
    )?;
    let (Some(account), Some(balance), Some(plans), Some(grants)) =
        (account.value, balance.value, plans.value, grants.value)
    else {
        return Err(Fault::NotFound);
    };
    let now = clock::now();
    let row = |grant: Grant| GrantRow {
        expired: grant.expired,
        spent: spent(&grant),
        id: grant.id,
        source: grant.source,
        reference: grant.reference.as_deref().map(Shown::new),
        granted: Moment::new(grant.granted_at, now),
        amount: grant.amount,
        left: grant.remaining,
        held: grant.held,
        expires: grant.expires_at.map(|end| Moment::new(end, now)),
        starts: grant
            .starts_at
            .filter(|_| !grant.started)
            .map(|at| Moment::new(at, now)),
        only_on: grant.endpoints.as_ref().map(listed),
        priority: grant.priority,
    };
    let name = Shown::new(&account.name);
    let shown = AccountPage {
        frame: operator.frame(&pages, root, "accounts", &name.to_string()),
        id,
        name,
        reference: account.external_ref.as_deref().map(Shown::new),
        credit_limit: account.credit_limit,
        opened: Moment::new(account.opened_at, now),
        closed: account.closed_at.map(|at| Moment::new(at, now)),
        balance,
        thresholds: thresholds.value.unwrap_or_default(),
        more_plans: plans.next.is_some(),
        plans: plans.items.into_iter().map(|plan| PlanRow::new(plan, now)).collect(),
        grants: grants.items.into_iter().map(row).collect(),
        older: grants.next,
        first: look.below.is_none(),
    };
    page(StatusCode::OK, &shown)
}
