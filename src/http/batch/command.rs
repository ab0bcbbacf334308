//! One line: which call it stands for, and that call's answer.

use axum::body::Bytes;
use keyledger_events::{AccountId, ReservationId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::answer::Told;
use crate::http::charges::{self, ChargeAtOnceBody};
use crate::http::extract::{from_json, only_member};
use crate::http::reservations::{self, ReserveBody};
use crate::http::settlements::{self, ChargeBody, ReleaseBody};
use crate::http::words::Delivered;
use crate::http::{App, problems};
use crate::ledger::By;
use crate::problem::Problem;

/// What a line asks for.
pub(super) enum Asked {
    Reserve(ReserveBody),
    Charge(AccountId, ReservationId, ChargeBody),
    Release(AccountId, ReservationId, ReleaseBody),
    ChargeAtOnce(ChargeAtOnceBody),
    Wrong(Problem),
}

/// The body of a charge, with what its address says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChargeLine {
    account: AccountId,
    reservation: ReservationId,
    quantity: Option<Delivered>,
}

/// The same of a release.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseLine {
    account: AccountId,
    reservation: ReservationId,
    cause: settlements::AskedCause,
}

impl Asked {
    pub(super) fn read(text: &Bytes) -> Asked {
        read(text).unwrap_or_else(Asked::Wrong)
    }

    /// The reservation that it names.
    pub(super) fn reservation(&self) -> Option<ReservationId> {
        match self {
            Asked::Reserve(body) => body.id(),
            Asked::ChargeAtOnce(body) => body.id(),
            Asked::Charge(_, id, _) | Asked::Release(_, id, _) => Some(*id),
            Asked::Wrong(_) => None,
        }
    }

    pub(super) async fn answer(self, app: &App, by: By) -> Told {
        match self {
            Asked::Reserve(body) => reservations::hold(app, &by, body).await.into(),
            Asked::Charge(account, id, body) => settlements::charge(app, by, account, id, body).await.into(),
            Asked::Release(account, id, body) => settlements::release(app, by, account, id, body).await.into(),
            Asked::ChargeAtOnce(body) => charges::charge(app, &by, body).await.into(),
            Asked::Wrong(problem) => problem.into(),
        }
    }
}

fn members<T: serde::de::DeserializeOwned>(text: &RawValue) -> Result<T, Problem> {
    from_json(text.get().as_bytes()).map_err(problems::in_body)
}

fn read(text: &Bytes) -> Result<Asked, Problem> {
    let (name, body) = only_member(text).map_err(problems::in_body)?;
    match name.as_ref() {
        "reserve" => members(body).map(Asked::Reserve),
        "charge" => members(body).map(|line: ChargeLine| {
            let body = ChargeBody {
                quantity: line.quantity,
            };
            Asked::Charge(line.account, line.reservation, body)
        }),
        "release" => members(body).map(|line: ReleaseLine| {
            let body = ReleaseBody { cause: line.cause };
            Asked::Release(line.account, line.reservation, body)
        }),
        "charge_at_once" => members(body).map(Asked::ChargeAtOnce),
        _ => Err(problems::unknown_command()),
    }
}
