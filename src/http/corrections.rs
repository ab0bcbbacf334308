//! Corrections of an account's credits.

use axum::extract::State;
use keyledger_events::{AccountId, Credits, Reason, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::answer::{Answered, Failure, refused};
use super::extract::{Allowed, Grant, IdempotencyKey, InPath, Json};
use super::words::Difference;
use crate::clock;
use crate::ledger::{CorrectCredits, Corrected, CorrectionFacts};
use crate::problem::Problem;

/// What to add or to take away, and why.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CorrectionBody {
    /// Above zero is given, as a grant without an end; below zero is taken away, in the order in which grants burn.
    #[schema(value_type = String, example = "-3.5")]
    amount: Difference,
    /// Shown to the customer.
    #[schema(value_type = String, min_length = 1, max_length = 200, example = "Granted twice")]
    reason: Reason,
}

/// A correction.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CorrectedBody {
    /// Of the grant, where credits were given; else of what was taken away.
    #[schema(example = "corr_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: String,
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    #[schema(value_type = String, example = "-3.5")]
    amount: Credits,
    #[schema(value_type = String, example = "Granted twice")]
    reason: Reason,
    #[schema(value_type = String, format = DateTime)]
    corrected_at: Timestamp,
    /// What the account can hold now.
    #[schema(value_type = String, example = "96.5")]
    available: Credits,
}

impl From<CorrectionFacts> for CorrectedBody {
    fn from(facts: CorrectionFacts) -> CorrectedBody {
        CorrectedBody {
            id: match facts.id {
                Corrected::Added(grant) => grant.to_string(),
                Corrected::Taken(correction) => correction.to_string(),
            },
            account: facts.account,
            amount: facts.amount,
            reason: facts.reason,
            corrected_at: facts.corrected_at,
            available: facts.available,
        }
    }
}

/// Corrects an account's credits: gives some, or takes some away, never more than can be held now.
///
/// 201 corrected; again with `Idempotent-Replayed: true` when this key came with this request before. 400 an
/// `Idempotency-Key` that cannot be taken. 404 no such account. 409 the account is closed. 422 a member is not acceptable,
/// more is to be taken than can be held now, or the key came with another request. 503 nothing was written, or its outcome
/// is unknown: send it again with the same key.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/corrections", tag = "credits", request_body = CorrectionBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses((status = 201, description = "Corrected.", body = CorrectedBody), (status = 409, response = Problem))
)]
pub(super) async fn correct_credits(
    State(app): State<App>,
    caller: Allowed<Grant>,
    InPath(account): InPath<AccountId>,
    key: IdempotencyKey,
    Json(body): Json<CorrectionBody>,
) -> Result<Answered<CorrectedBody>, Failure> {
    let by = caller.keyed(&key, account, "corrections", &body)?;
    let command = CorrectCredits {
        account,
        correction: clock::fresh_correction_id(),
        grant: clock::fresh_grant_id(),
        amount: body.amount.get(),
        reason: body.reason,
    };
    let answer = app.ledger.submit(command, by).await.map_err(refused)?;
    Ok(Answered::created(answer, CorrectedBody::from))
}
