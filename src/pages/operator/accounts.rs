//! The accounts, with what each has: all, or those that begin like what is looked for.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use keyledger_events::{AccountId, Credits};
use serde::Deserialize;

use super::Operator;
use crate::clock;
use crate::pages::Pages;
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Frame, Root};
use crate::pages::moment::Moment;
use crate::pages::name::Shown;

const ACCOUNTS_A_PAGE: u32 = 50;

/// More begins no name, reference or id.
const SOUGHT_CHARS_MAX: usize = 128;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Search {
    search: String,
    /// Go on below this account.
    below: Option<AccountId>,
}

struct Row {
    id: AccountId,
    name: Shown,
    reference: Option<Shown>,
    opened: Moment,
    closed: bool,
    available: Credits,
    held: Credits,
    charged: Credits,
}

#[derive(Template)]
#[template(path = "operator_accounts.html")]
struct AccountsPage<'a> {
    frame: Frame<'a>,
    search: Search,
    rows: Vec<Row>,
    older: Option<AccountId>,
}

impl AccountsPage<'_> {
    /// The search as an address has it.
    fn query(&self) -> String {
        let bytes = self.search.search.bytes();
        bytes.map(|byte| format!("%{byte:02X}")).collect()
    }
}

/// The accounts, the newest first. 200. 401 no operator. 404 an address of no list.
pub(super) async fn list(
    State(pages): State<Pages>,
    operator: Operator,
    root: Root,
    search: Result<Query<Search>, QueryRejection>,
) -> Result<Response, Fault> {
    let Query(mut search) = search.map_err(|_| Fault::NotFound)?;
    let sought = search.search.trim().chars().filter(|c| !c.is_control());
    search.search = sought.take(SOUGHT_CHARS_MAX).collect();
    let found = if search.search.is_empty() {
        pages.views.accounts(ACCOUNTS_A_PAGE, search.below).await?
    } else {
        pages
            .views
            .accounts_found(&search.search, ACCOUNTS_A_PAGE, search.below)
            .await?
    };
    let now = clock::now();
    let rows = found.value.items.into_iter().map(|(account, balance)| Row {
        id: account.id,
        name: Shown::new(&account.name),
        reference: account.external_ref.as_deref().map(Shown::new),
        opened: Moment::new(account.opened_at, now),
        closed: account.closed_at.is_some(),
        available: balance.available,
        held: balance.reserved,
        charged: balance.charged,
    });
    let shown = AccountsPage {
        frame: operator.frame(&pages, root, "accounts", "Accounts"),
        rows: rows.collect(),
        search,
        older: found.value.next,
    };
    page(StatusCode::OK, &shown)
}
