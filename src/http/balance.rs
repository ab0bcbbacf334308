//! An account's credits, in sums.

use axum::extract::State;
use keyledger_events::{AccountId, Credits};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::answer::{Answered, Failure, found};
use super::as_of::{OneThen, state_then};
use super::extract::{Allowed, InPath, InQuery, Read};
use super::look::wait_for;
use super::place::Place;
use super::problems;
use crate::problem::Problem;
use crate::views::{self, ViewName};

/// `granted` = `available` + `bound` + `later` + `reserved` + `charged` − `refunded` + `expired` + `corrected`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BalanceBody {
    /// What any endpoint can use now. Below zero on a credit limit.
    #[schema(value_type = String, example = "99.5")]
    available: Credits,
    /// What is left of grants that burn on some endpoints only.
    #[schema(value_type = String, example = "0")]
    bound: Credits,
    /// What grants hold that take effect later.
    #[schema(value_type = String, example = "0")]
    later: Credits,
    #[schema(value_type = String, example = "0")]
    reserved: Credits,
    #[schema(value_type = String, example = "100")]
    granted: Credits,
    #[schema(value_type = String, example = "0.5")]
    charged: Credits,
    #[schema(value_type = String, example = "0")]
    refunded: Credits,
    #[schema(value_type = String, example = "0")]
    expired: Credits,
    /// What corrections took away.
    #[schema(value_type = String, example = "0")]
    corrected: Credits,
    /// The place in the log at which these sums are true.
    #[schema(value_type = String, example = "0:812")]
    position: Place,
}

impl BalanceBody {
    fn new(balance: views::Balance, position: Place) -> BalanceBody {
        let views::Balance {
            available,
            bound,
            later,
            reserved,
            granted,
            charged,
            refunded,
            expired,
            corrected,
        } = balance;
        BalanceBody {
            available,
            bound,
            later,
            reserved,
            granted,
            charged,
            refunded,
            expired,
            corrected,
            position,
        }
    }
}

/// Shows an account's balance, of now or as it was.
///
/// 200 the sums. 400 a position that is none. 404 no such account, or not yet at `as_of`. 422 an `as_of` that is none. 503 the view
/// is behind `after`.
#[utoipa::path(get, path = "/v1/accounts/{account}/balance", tag = "credits", params(OneThen), responses(
    (status = 200, description = "The sums.", body = BalanceBody),
))]
pub(super) async fn show_balance(
    State(app): State<App>,
    _: Allowed<Read>,
    InPath(account): InPath<AccountId>,
    InQuery(query): InQuery<OneThen>,
) -> Result<Answered<BalanceBody>, Failure> {
    wait_for(&app, ViewName::Balance, query.after).await?;
    if let Some(as_of) = query.as_of {
        let then = state_then(&app, account, as_of).await?;
        let balance = then.balance().ok_or_else(problems::internal)?;
        return Ok(Answered::found(then.place, BalanceBody::new(balance, then.place)));
    }
    let at = app.views.balance(account).await?;
    found(app.views.shard(), at, Problem::unknown_account, BalanceBody::new)
}
