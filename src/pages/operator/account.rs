//! One account: its sums and its grants. What later parts know of an account has its place below them.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use keyledger_events::{AccountId, Credits, GrantId};
use serde::Deserialize;

use super::Operator;
use crate::clock;
use crate::pages::Pages;
use crate::pages::credits::listed;
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Frame, Root};
use crate::pages::moment::Moment;
use crate::pages::name::Shown;
use crate::views::{Balance, Grant};

const GRANTS_A_PAGE: u32 = 50;

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
    expires: Option<Moment>,
    /// When it takes effect, where that is still to come.
    starts: Option<Moment>,
    /// The endpoints that it is for, where it is not for all.
    only_on: Option<String>,
    priority: i32,
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
    grants: Vec<GrantRow>,
    older: Option<GrantId>,
    first: bool,
}

/// An account with its sums and its grants, the newest first. 200. 401 no operator. 404 no such account.
pub(super) async fn show(
    State(pages): State<Pages>,
    operator: Operator,
    root: Root,
    Path(id): Path<String>,
    look: Result<Query<Look>, QueryRejection>,
) -> Result<Response, Fault> {
    let Query(look) = look.map_err(|_| Fault::NotFound)?;
    let id: AccountId = id.parse().map_err(|_| Fault::NotFound)?;
    let (account, balance, grants) = tokio::try_join!(
        pages.views.account(id),
        pages.views.balance(id),
        pages.views.grants(id, GRANTS_A_PAGE, look.below)
    )?;
    let (Some(account), Some(balance), Some(grants)) = (account.value, balance.value, grants.value) else {
        return Err(Fault::NotFound);
    };
    let now = clock::now();
    let row = |grant: Grant| GrantRow {
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
        grants: grants.items.into_iter().map(row).collect(),
        older: grants.next,
        first: look.below.is_none(),
    };
    page(StatusCode::OK, &shown)
}
