//! Reservations that nobody named: a request that comes with an `Idempotency-Key` instead of an `id` has the same one when it comes
//! again.

use keyledger_events::{AccountId, ReservationId};
use serde::Serialize;

use super::extract::{Allowed, IdempotencyKey, Meter, Scope};
use super::{App, problems};
use crate::clock;
use crate::problem::Problem;
use crate::requests::Came;

/// The id for what is asked under a key, if there is one: a fresh one the first time.
pub(super) async fn by_key<B: Serialize>(
    app: &App,
    caller: &Allowed<Meter>,
    key: &IdempotencyKey,
    route: &'static str,
    asked: &B,
) -> Result<Option<ReservationId>, Problem> {
    let scope = Scope {
        token: caller.caller.token,
        // Whose reservation it is may only be known to the ledger.
        account: AccountId::SYSTEM,
        route,
    };
    let Some((scope, fingerprint)) = key.hashes(scope, asked)? else {
        return Ok(None);
    };
    let fresh = app.ledger.fresh_reservation_id(None);
    let came = app.requests.note(&scope, &fingerprint, fresh.to_bytes(), clock::now());
    match came.await? {
        Came::First => Ok(Some(fresh)),
        Came::Again { made, .. } => Ok(Some(ReservationId::from_bytes(made))),
        Came::Otherwise => Err(problems::idempotency_mismatch()),
    }
}
