//! The operators' own pages: all accounts, how the installation stands, the prices in force, who was told of what, who was
//! let in; and each account's pages as its customer sees them.
//!
//! Promise: an operator's stay looks at everything and changes nothing. Whatever is not a question is refused before it
//! comes to an account's pages.

mod access;
mod account;
mod accounts;
mod guard;
mod health;
mod prices;
mod standing;
mod through;
mod webhooks;

use axum::Router;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{any, get, post};

pub(super) use guard::{Operator, OperatorInside};
pub use standing::{Lookout, LookoutError, ProjectionStanding, RelayStanding, ShardStanding};
pub(super) use through::Through;

use super::Pages;

/// All of them, with every account's pages behind one address.
pub(super) fn pages(accounts_pages: Router) -> Router<Pages> {
    let behind = any(move |place, request| through::through(accounts_pages.clone(), place, request));
    Router::new()
        .route("/operator", get(home))
        .route("/operator/sign-out", post(guard::sign_out))
        .route("/operator/accounts", get(accounts::list))
        .route("/operator/accounts/{account}", get(account::show))
        .route("/operator/accounts/{account}/pages/{*page}", behind)
        .route("/operator/health", get(health::show))
        .route("/operator/prices", get(prices::show))
        .route("/operator/webhooks", get(webhooks::show))
        .route("/operator/access", get(access::show))
}

async fn home() -> Response {
    Redirect::to("operator/accounts").into_response()
}
