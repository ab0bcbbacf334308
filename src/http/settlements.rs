//! Closing a reservation: charging it, or giving it back.

use axum::extract::State;
use keyledger_events::{AccountId, Credits, ReleaseCause, ReservationId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::answer::{Answered, Failure, refused};
use super::extract::{Allowed, InPath, Json, Meter};
use super::words::Delivered;
use crate::ledger::{By, Charge, ChargeReservation, Release, ReleaseReservation};
use crate::problem::Problem;

/// What was delivered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChargeBody {
    /// Units; all that were held for, unless said. 0 charges nothing.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 1_000_000_000, example = 1)]
    pub(super) quantity: Option<Delivered>,
}

/// A charge. `charged` + `returned` = what was held.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChargedBody {
    /// The reservation's.
    #[schema(value_type = String, example = "rsv_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: ReservationId,
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    #[schema(example = 1)]
    quantity: u64,
    #[schema(value_type = String, example = "0.5")]
    charged: Credits,
    #[schema(value_type = String, example = "0")]
    returned: Credits,
    /// What work of this endpoint can hold now.
    #[schema(value_type = String, example = "99.5")]
    available: Credits,
}

impl From<Charge> for ChargedBody {
    fn from(charge: Charge) -> ChargedBody {
        ChargedBody {
            id: charge.reservation,
            account: charge.account,
            quantity: charge.quantity,
            charged: charge.charged,
            returned: charge.returned,
            available: charge.available,
        }
    }
}

/// Why nothing is charged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseBody {
    pub(super) cause: AskedCause,
}

/// A cause that comes from outside; time and the closing of accounts have their own.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = ReleaseCause)]
pub(super) enum AskedCause {
    Requested,
    /// The work waits in a queue; what fetches its data later is charged.
    Queued,
    Error,
    ClientGone,
}

impl From<AskedCause> for ReleaseCause {
    fn from(cause: AskedCause) -> ReleaseCause {
        match cause {
            AskedCause::Requested => ReleaseCause::Requested,
            AskedCause::Queued => ReleaseCause::Queued,
            AskedCause::Error => ReleaseCause::Error,
            AskedCause::ClientGone => ReleaseCause::ClientGone,
        }
    }
}

/// A release.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReleasedBody {
    #[schema(value_type = String, example = "rsv_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: ReservationId,
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    #[schema(value_type = AskedCause)]
    cause: ReleaseCause,
    #[schema(value_type = String, example = "0.5")]
    returned: Credits,
    /// What work of this endpoint can hold now.
    #[schema(value_type = String, example = "100")]
    available: Credits,
}

impl From<Release> for ReleasedBody {
    fn from(release: Release) -> ReleasedBody {
        ReleasedBody {
            id: release.reservation,
            account: release.account,
            cause: release.cause,
            returned: release.returned,
            available: release.available,
        }
    }
}

/// Charges a reservation and closes it; what is not charged returns.
///
/// 200 charged, also when it was charged the same before. 404 no such account or reservation. 409 it is closed:
/// released, expired, or charged otherwise. 422 a member is not acceptable, or the charge is more than was held: it is
/// still open. 503 nothing was written, or its outcome is unknown; send it again.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/reservations/{reservation}/charge", tag = "metering",
    request_body = ChargeBody,
    responses((status = 200, description = "Charged.", body = ChargedBody), (status = 409, response = Problem))
)]
pub(super) async fn charge_reservation(
    State(app): State<App>,
    caller: Allowed<Meter>,
    InPath((account, reservation)): InPath<(AccountId, ReservationId)>,
    Json(body): Json<ChargeBody>,
) -> Result<Answered<ChargedBody>, Failure> {
    charge(&app, caller.by(), account, reservation, body).await
}

/// Charges one reservation.
pub(super) async fn charge(
    app: &App,
    by: By,
    account: AccountId,
    reservation: ReservationId,
    body: ChargeBody,
) -> Result<Answered<ChargedBody>, Failure> {
    let command = ChargeReservation {
        account,
        reservation,
        quantity: body.quantity.map(Delivered::get),
    };
    let answer = app.ledger.submit(command, by).await.map_err(refused)?;
    Ok(Answered::done(answer, ChargedBody::from))
}

/// Gives a reservation back and closes it: nothing is charged.
///
/// 200 released, also when it was released for the same cause before. 404 no such account or reservation. 409 it is
/// closed: charged, expired, or released for another cause. 422 the cause is none. 503 nothing was written, or its
/// outcome is unknown; send it again.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/reservations/{reservation}/release", tag = "metering",
    request_body = ReleaseBody,
    responses((status = 200, description = "Released.", body = ReleasedBody), (status = 409, response = Problem))
)]
pub(super) async fn release_reservation(
    State(app): State<App>,
    caller: Allowed<Meter>,
    InPath((account, reservation)): InPath<(AccountId, ReservationId)>,
    Json(body): Json<ReleaseBody>,
) -> Result<Answered<ReleasedBody>, Failure> {
    release(&app, caller.by(), account, reservation, body).await
}

/// Gives one reservation back.
pub(super) async fn release(
    app: &App,
    by: By,
    account: AccountId,
    reservation: ReservationId,
    body: ReleaseBody,
) -> Result<Answered<ReleasedBody>, Failure> {
    let command = ReleaseReservation {
        account,
        reservation,
        cause: body.cause.into(),
        client_left: None,
    };
    let answer = app.ledger.submit(command, by).await.map_err(refused)?;
    Ok(Answered::done(answer, ReleasedBody::from))
}
