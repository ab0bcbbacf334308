//! Holding credits before paid work is done, and looking at what is held.

use axum::extract::State;
use keyledger_events::{AccountId, Credits, Endpoint, KeyId, KeySecret, ReservationId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Answered, Failure, List, found};
use super::extract::{Allowed, IdempotencyKey, InPath, InQuery, Json, Meter, One, Page, Read};
use super::look::{list, wait_for, wait_for_list};
use super::place::Place;
use super::prices::submit_priced;
use super::words::{Quantity, TtlSeconds};
use super::{App, named, problems};
use crate::ledger::{By, Held, Payer, Refusal, ReserveCredits, Usage};
use crate::problem::Problem;
use crate::views::{self, ViewName};

/// Work to hold credits for. Exactly one of `secret` and `account` says who pays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReserveBody {
    /// The text of the customer's key: checks the key and records its use.
    #[schema(example = "sk_live_4fZ0Qm8r1Tt6bYwKpX3sUe7NcVhJd2LgAo9RiB5ZqE4yW1C0nMa8")]
    secret: Option<String>,
    /// The customer, for work that no key asked for.
    #[schema(value_type = Option<String>, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: Option<AccountId>,
    #[schema(value_type = String, example = "serp")]
    endpoint: Endpoint,
    /// Units; 1 unless said.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1_000_000_000, example = 1)]
    quantity: Option<Quantity>,
    /// An id of your making, `rsv_` and a fresh ULID: the same request with it again has the same answer.
    #[schema(value_type = Option<String>, example = "rsv_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: Option<ReservationId>,
    /// How long the hold may stay open; 900 unless said.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 86_400, example = 900)]
    ttl_seconds: Option<TtlSeconds>,
}

impl ReserveBody {
    pub(super) fn id(&self) -> Option<ReservationId> {
        self.id
    }

    fn payer(&self, app: &App) -> Result<Payer, Problem> {
        match (&self.secret, self.account) {
            (Some(text), None) => KeySecret::parse(&app.key_prefix, text)
                .map(|secret| Payer::Key(secret.digest()))
                // The same answer as for a key that nobody has.
                .map_err(|_| Problem::from(Refusal::KeyInvalid)),
            (None, Some(account)) => Ok(Payer::Account(account)),
            (None, None) => Err(problems::invalid_body("secret", "either secret or account is needed")),
            (Some(_), Some(_)) => Err(problems::invalid_body(
                "account",
                "only one of secret and account is taken",
            )),
        }
    }
}

/// An open hold, as it was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HeldBody {
    #[schema(value_type = String, example = "rsv_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: ReservationId,
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    #[schema(value_type = Option<String>, example = "key_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    key: Option<KeyId>,
    #[schema(value_type = String, example = "serp")]
    endpoint: Endpoint,
    #[schema(example = 1)]
    quantity: u64,
    #[schema(value_type = String, example = "0.5")]
    unit_price: Credits,
    #[schema(value_type = String, example = "0.5")]
    amount: Credits,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// What work of this endpoint can hold now.
    #[schema(value_type = String, example = "99.5")]
    available: Credits,
}

impl From<Held> for HeldBody {
    fn from(held: Held) -> HeldBody {
        HeldBody {
            id: held.reservation,
            account: held.account,
            key: held.key,
            endpoint: held.endpoint,
            quantity: held.quantity,
            unit_price: held.unit_price,
            amount: held.amount,
            expires_at: held.expires_at,
            available: held.available,
        }
    }
}

/// A reservation: open, or charged. Of one that was released only the account's events tell.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReservationBody {
    #[schema(value_type = String, example = "rsv_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: ReservationId,
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    /// `open` or `charged`.
    #[schema(example = "open")]
    state: &'static str,
    #[schema(value_type = Option<String>)]
    key: Option<KeyId>,
    /// `api` or `dashboard`.
    #[schema(example = "api")]
    channel: String,
    #[schema(example = "serp")]
    endpoint: String,
    /// Units that are held for; of a charged one, the units that were delivered.
    quantity: u64,
    #[schema(value_type = String, example = "0.5")]
    unit_price: Credits,
    /// What is or was held.
    #[schema(value_type = Option<String>, example = "0.5")]
    amount: Option<Credits>,
    #[schema(value_type = String, format = DateTime)]
    reserved_at: Timestamp,
    /// Of an open one.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Of a charged one.
    #[schema(value_type = Option<String>)]
    charged: Option<Credits>,
    /// Of a charged one.
    #[schema(value_type = Option<String>, format = DateTime)]
    charged_at: Option<Timestamp>,
}

impl From<views::Reservation> for ReservationBody {
    fn from(open: views::Reservation) -> ReservationBody {
        ReservationBody {
            id: open.id,
            account: open.account,
            state: "open",
            key: open.key,
            channel: open.channel,
            endpoint: open.endpoint,
            quantity: open.quantity,
            unit_price: open.unit_price,
            amount: Some(open.amount),
            reserved_at: open.reserved_at,
            expires_at: Some(open.expires_at),
            charged: None,
            charged_at: None,
        }
    }
}

impl From<views::Charge> for ReservationBody {
    fn from(charge: views::Charge) -> ReservationBody {
        ReservationBody {
            id: charge.id,
            account: charge.account,
            state: "charged",
            key: charge.key,
            channel: charge.channel,
            endpoint: charge.endpoint,
            quantity: charge.quantity,
            unit_price: charge.unit_price,
            amount: charge.charged.plus(charge.returned),
            reserved_at: charge.reserved_at,
            expires_at: None,
            charged: Some(charge.charged),
            charged_at: Some(charge.charged_at),
        }
    }
}

/// Checks a key and holds credits before paid work is done.
///
/// 201 held, also when this id already holds the same. 401 the key is unknown, deleted or expired. 402 not enough is available:
/// `required` and `available` say how much. 403 the key is not for this endpoint. 404 no such account or endpoint. 409 the id was
/// used before with other terms, or is closed. 422 a member is not acceptable, the id is from another time, or the
/// `Idempotency-Key` came with another request (400 where it cannot be taken). 429 too many reservations are open. 503 nothing
/// was written, or its outcome is unknown; send it again with the same id or key.
#[utoipa::path(
    post, path = "/v1/reservations", tag = "metering", request_body = ReserveBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Instead of an `id`: 1 to 255 visible ASCII characters. The same request under it within 15 minutes is the same one; later it is refused")),
    responses(
        (status = 201, description = "Held.", body = HeldBody),
        (status = 402, response = Problem),
        (status = 404, response = Problem),
        (status = 409, response = Problem),
        (status = 429, response = Problem),
    )
)]
pub(super) async fn reserve(
    State(app): State<App>,
    caller: Allowed<Meter>,
    key: IdempotencyKey,
    Json(mut body): Json<ReserveBody>,
) -> Result<Answered<HeldBody>, Failure> {
    if body.id.is_none() && key.is_sent() {
        let (quantity, ttl) = (body.quantity.map(Quantity::get), body.ttl_seconds.map(TtlSeconds::get));
        let asked = (body.payer(&app)?, &body.endpoint, quantity, ttl);
        body.id = named::by_key(&app, &caller, &key, "reservations", &asked).await?;
    }
    hold(&app, &caller.by(), body).await
}

/// Checks and holds for one body.
pub(super) async fn hold(app: &App, by: &By, body: ReserveBody) -> Result<Answered<HeldBody>, Failure> {
    let payer = body.payer(app)?;
    let command = |price, told| ReserveCredits {
        payer,
        reservation: body.id.unwrap_or_else(|| app.ledger.fresh_reservation_id(told)),
        price,
        endpoint: body.endpoint.clone(),
        quantity: body.quantity.unwrap_or(Quantity::ONE).get(),
        ttl_seconds: body.ttl_seconds.unwrap_or(TtlSeconds::DEFAULT).get(),
        usage: Usage::default(),
        once: None,
    };
    let answer = submit_priced(app, &body.endpoint, command, by).await?;
    Ok(Answered::created(answer, HeldBody::from))
}

/// Lists an account's open reservations, the newest first.
///
/// 200 a page. 400 a cursor or a position that is none. 404 no such account. 422 a limit out of bounds. 503 the view is
/// behind `after`.
#[utoipa::path(get, path = "/v1/accounts/{account}/reservations", tag = "metering", params(Page), responses(
    (status = 200, description = "A page.", body = List<ReservationBody>),
))]
pub(super) async fn list_reservations(
    State(app): State<App>,
    _: Allowed<Read>,
    InPath(account): InPath<AccountId>,
    InQuery(page): InQuery<Page>,
) -> Result<Answered<List<ReservationBody>>, Failure> {
    let scope = format!("reservations {account}");
    let cursor = page.cursor(&scope)?;
    wait_for_list(&app, ViewName::Reservations, page.after).await?;
    let at = app.views.reservations(account, page.limit(), cursor).await?;
    found(app.views.shard(), at, Problem::unknown_account, |rows, _| {
        list(rows, &scope, ReservationBody::from)
    })
}

/// Shows a reservation that is open or was charged.
///
/// 200 the reservation. 400 a position that is none. 404 no such reservation, or it was released. 503 the view is
/// behind `after`.
#[utoipa::path(get, path = "/v1/accounts/{account}/reservations/{reservation}", tag = "metering", params(One), responses(
    (status = 200, description = "The reservation.", body = ReservationBody),
))]
pub(super) async fn show_reservation(
    State(app): State<App>,
    _: Allowed<Read>,
    InPath((account, id)): InPath<(AccountId, ReservationId)>,
    InQuery(query): InQuery<One>,
) -> Result<Answered<ReservationBody>, Failure> {
    let shard = app.views.shard();
    wait_for(&app, ViewName::Reservations, query.after).await?;
    let open = app.views.reservation(account, id).await?;
    if open.value.is_some() {
        return found(shard, open, Problem::unknown_reservation, |open, _| open.into());
    }
    // Not open at this position: if it was charged by then, the charges know it once they are as far.
    let by = Place {
        shard,
        position: open.position,
    };
    wait_for(&app, ViewName::Charges, Some(by)).await?;
    let charge = app.views.charge(account, id).await?;
    found(shard, charge, Problem::unknown_reservation, |charge, _| charge.into())
}
