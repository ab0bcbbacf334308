//! Taking charges back.

use std::str::FromStr;

use axum::extract::State;
use keyledger_events::{AccountId, Credits, IdError, Reason, RefundId, ReservationId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Answered, Failure, refused};
use super::extract::{Allowed, Grant, IdempotencyKey, InPath, InQuery, Json, One, PathId, Scope};
use super::look::wait_for;
use super::place::Place;
use super::words::Amount;
use super::{App, problems};
use crate::clock;
use crate::ledger::{Charged, RefundCharge, RefundFacts};
use crate::problem::Problem;
use crate::views::ViewName;

/// What to take back, and why.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefundBody {
    /// More than zero; all that is left of the charge, unless said.
    #[schema(value_type = Option<String>, example = "0.5")]
    amount: Option<Amount>,
    /// Shown to the customer.
    #[schema(value_type = String, min_length = 1, max_length = 200, example = "The data was stale")]
    reason: Reason,
}

/// A refund.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RefundedBody {
    #[schema(value_type = String, example = "refund_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: RefundId,
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    /// The charge's id.
    #[schema(value_type = String, example = "rsv_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    charge: ReservationId,
    #[schema(value_type = String, example = "0.5")]
    amount: Credits,
    #[schema(value_type = String, example = "The data was stale")]
    reason: Reason,
    #[schema(value_type = String, format = DateTime)]
    refunded_at: Timestamp,
    /// What is still charged, and could be refunded now.
    #[schema(value_type = String, example = "0")]
    left: Credits,
    /// What the account can hold now.
    #[schema(value_type = String, example = "100")]
    available: Credits,
}

impl From<RefundFacts> for RefundedBody {
    fn from(facts: RefundFacts) -> RefundedBody {
        RefundedBody {
            id: facts.refund,
            account: facts.account,
            charge: facts.reservation,
            amount: facts.amount,
            reason: facts.reason,
            refunded_at: facts.refunded_at,
            left: facts.left,
            available: facts.available,
        }
    }
}

/// A charge in the path. It has its reservation's id.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChargeId(ReservationId);

impl FromStr for ChargeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<ChargeId, IdError> {
        text.parse().map(ChargeId)
    }
}

impl PathId for ChargeId {
    const NAME: &'static str = "charge";

    fn unknown() -> Problem {
        problems::unknown_charge()
    }
}

/// Takes a charge back, all that is left of it or a part: to the grants that it was spent from, what was spent last first.
/// What returns to a grant whose time is over expires at once.
///
/// 201 refunded; again with `Idempotent-Replayed: true` when this key came with this request before. 400 an
/// `Idempotency-Key` or a position that cannot be taken. 404 no such account or charge. 409 nothing is left of the charge,
/// or it is more than 400 days old. 422 a member is not acceptable, the amount is more than is left of the charge, or the
/// key came with another request. 503 nothing was written, or its outcome is unknown: send it again with the same key.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/charges/{charge}/refund", tag = "credits", request_body = RefundBody,
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h"),
        One
    ),
    responses((status = 201, description = "Refunded.", body = RefundedBody), (status = 409, response = Problem))
)]
pub(super) async fn refund_charge(
    State(app): State<App>,
    caller: Allowed<Grant>,
    InPath((account, charge)): InPath<(AccountId, ChargeId)>,
    InQuery(query): InQuery<One>,
    key: IdempotencyKey,
    Json(body): Json<RefundBody>,
) -> Result<Answered<RefundedBody>, Failure> {
    let ChargeId(charge) = charge;
    let scope = Scope {
        token: caller.caller.token,
        account,
        route: "refunds",
    };
    let by = caller.by_command(key.command_id(scope, &(charge, &body))?);
    let command = RefundCharge {
        charged: find(&app, account, charge, query.after).await?,
        refund: clock::fresh_refund_id(),
        grant: clock::fresh_grant_id(),
        amount: body.amount.map(Amount::get),
        reason: body.reason,
    };
    let answer = app.ledger.submit(command, by).await.map_err(refused)?;
    Ok(Answered::created(answer, RefundedBody::from))
}

/// Has the view say where the charge is, and reads it there in the log. A charge that the view does not know is looked for
/// again when the view knows all that the log has by now: nobody is told of a charge that is not there.
async fn find(app: &App, account: AccountId, charge: ReservationId, after: Option<Place>) -> Result<Charged, Problem> {
    wait_for(app, ViewName::Charges, after).await?;
    let shard = app.views.shard();
    let mut found = app.views.charge(account, charge).await?.value;
    if found.is_none() {
        let position = app.log.head().await?.position;
        wait_for(app, ViewName::Charges, Some(Place { shard, position })).await?;
        found = app.views.charge(account, charge).await?.value;
    }
    let Some(line) = found else {
        let known = app.views.account(account).await?.value.is_some();
        return Err(if known {
            problems::unknown_charge()
        } else {
            Problem::unknown_account()
        });
    };
    let charged = Charged::read(&app.log, account, charge, line.position).await?;
    charged.ok_or_else(|| {
        tracing::error!(%account, position = %line.position, "a charge of the view is not in the log");
        problems::internal()
    })
}
