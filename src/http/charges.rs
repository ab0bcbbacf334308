//! Charging work that is done already, and the billing lines.

use axum::extract::State;
use keyledger_events::{AccountId, Credits, Endpoint, KeyId, ReservationId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answered, Failure, List, found};
use super::extract::{Allowed, IdempotencyKey, InPath, InQuery, Json, Meter, Read};
use super::look::{list, read_cursor, wait_for_list};
use super::place::Place;
use super::prices::submit_priced;
use super::words::{Limit, Quantity};
use super::{App, named, problems};
use crate::ledger::{By, Charge, ChargeAtOnce};
use crate::problem::Problem;
use crate::views::{self, ChargeSearch, ViewName};

/// Work that is done.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChargeAtOnceBody {
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    #[schema(value_type = String, example = "serp")]
    endpoint: Endpoint,
    /// Units; 1 unless said.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1_000_000_000, example = 1)]
    quantity: Option<Quantity>,
    /// An id of your making, `rsv_` and a fresh ULID: the same request with it again has the same answer.
    #[schema(value_type = Option<String>, example = "rsv_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: Option<ReservationId>,
}

impl ChargeAtOnceBody {
    pub(super) fn id(&self) -> Option<ReservationId> {
        self.id
    }
}

/// A charge, as it was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChargedAtOnceBody {
    /// Its reservation's.
    #[schema(value_type = String, example = "rsv_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: ReservationId,
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    #[schema(example = 1)]
    quantity: u64,
    #[schema(value_type = String, example = "0.5")]
    amount: Credits,
    /// What work of this endpoint can hold now.
    #[schema(value_type = String, example = "99.5")]
    available: Credits,
}

impl From<Charge> for ChargedAtOnceBody {
    fn from(charge: Charge) -> ChargedAtOnceBody {
        ChargedAtOnceBody {
            id: charge.reservation,
            account: charge.account,
            quantity: charge.quantity,
            amount: charge.charged,
            available: charge.available,
        }
    }
}

/// A billing line: what was charged, for what, when. `quantity` × `unit_price` = `amount`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChargeRow {
    /// Its reservation's.
    #[schema(value_type = String, example = "rsv_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: ReservationId,
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    #[schema(value_type = Option<String>)]
    key: Option<KeyId>,
    /// `api` or `dashboard`.
    #[schema(example = "api")]
    channel: String,
    #[schema(example = "serp")]
    endpoint: String,
    #[schema(example = 1)]
    quantity: u64,
    #[schema(value_type = String, example = "0.5")]
    unit_price: Credits,
    /// The price book that the price comes from; 0 is the config file.
    price_version: u64,
    /// `live` or `test`: a test key's work costs nothing.
    #[schema(example = "live")]
    environment: String,
    #[schema(value_type = String, example = "0.5")]
    amount: Credits,
    /// What was held and not charged.
    #[schema(value_type = String, example = "0")]
    returned: Credits,
    /// What was taken back of `amount` since: all refunds of this charge together.
    #[schema(value_type = String, example = "0")]
    refunded: Credits,
    #[schema(value_type = String, format = DateTime)]
    reserved_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    charged_at: Timestamp,
    /// Where the log says so.
    #[schema(value_type = String, example = "0:812")]
    position: Place,
}

impl ChargeRow {
    fn new(charge: views::Charge, position: Place) -> ChargeRow {
        ChargeRow {
            id: charge.id,
            account: charge.account,
            key: charge.key,
            channel: charge.channel,
            endpoint: charge.endpoint,
            quantity: charge.quantity,
            unit_price: charge.unit_price,
            price_version: charge.price_version,
            environment: charge.environment,
            amount: charge.charged,
            returned: charge.returned,
            refunded: charge.refunded,
            reserved_at: charge.reserved_at,
            charged_at: charge.charged_at,
            position,
        }
    }
}

/// Of the billing lines.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ChargePage {
    /// Only what this key used.
    #[param(value_type = Option<String>, example = "key_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    key: Option<KeyId>,
    /// Only what was asked of this endpoint.
    #[param(value_type = Option<String>, example = "serp")]
    endpoint: Option<Endpoint>,
    /// Only what was charged at this moment or later.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-11-01T00:00:00Z")]
    from: Option<Timestamp>,
    /// Only what was charged before this moment.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-12-01T00:00:00Z")]
    to: Option<Timestamp>,
    /// Items at once: 1 to 200, 50 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, example = 50)]
    limit: Option<Limit>,
    /// Go on from here: the `next_cursor` of the page before.
    cursor: Option<String>,
    /// Answer only from a view that has reached this place of the log; a `Ledger-Position` that you were given, such as `0:812`.
    #[param(value_type = Option<String>, pattern = "^[0-9]+:[0-9]+$")]
    after: Option<Place>,
}

/// Reserves and charges in one command: the platform's own use of its customer's credits.
///
/// 201 charged, also when this id was charged the same before. 402 not enough is available: `required` and `available` say how
/// much. 400 an `Idempotency-Key` that cannot be taken. 404 no such account or endpoint. 409 the id was used before with other
/// terms. 422 a member is not acceptable, the id is from another time, or the key came with another request. 429 too many
/// reservations are open. 503 nothing was written, or its outcome is unknown; send it again with the same id or key.
#[utoipa::path(
    post, path = "/v1/charges", tag = "metering", request_body = ChargeAtOnceBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Instead of an `id`: 1 to 255 visible ASCII characters. The same request under it within 15 minutes is the same one; later it is refused")),
    responses(
        (status = 201, description = "Charged.", body = ChargedAtOnceBody),
        (status = 402, response = Problem),
        (status = 404, response = Problem),
        (status = 409, response = Problem),
        (status = 429, response = Problem),
    )
)]
pub(super) async fn charge_at_once(
    State(app): State<App>,
    caller: Allowed<Meter>,
    key: IdempotencyKey,
    Json(mut body): Json<ChargeAtOnceBody>,
) -> Result<Answered<ChargedAtOnceBody>, Failure> {
    if body.id.is_none() && key.is_sent() {
        let asked = (body.account, &body.endpoint, body.quantity.map(Quantity::get));
        body.id = named::by_key(&app, &caller, &key, "charges", &asked).await?;
    }
    charge(&app, &caller.by(), body).await
}

/// Charges one body.
pub(super) async fn charge(app: &App, by: &By, body: ChargeAtOnceBody) -> Result<Answered<ChargedAtOnceBody>, Failure> {
    let command = |price, told| ChargeAtOnce {
        account: body.account,
        key: None,
        reservation: body.id.unwrap_or_else(|| app.ledger.fresh_reservation_id(told)),
        price,
        endpoint: body.endpoint.clone(),
        quantity: body.quantity.unwrap_or(Quantity::ONE).get(),
    };
    let answer = submit_priced(app, &body.endpoint, command, by).await?;
    Ok(Answered::created(answer, ChargedAtOnceBody::from))
}

/// Lists an account's billing lines, the latest first: all, or those of a key, an endpoint, a range of time.
///
/// 200 a page. 400 a cursor or a position that is none. 404 no such account. 422 a parameter is not acceptable. 503 the
/// view is behind `after`.
#[utoipa::path(get, path = "/v1/accounts/{account}/charges", tag = "credits", params(ChargePage), responses(
    (status = 200, description = "A page.", body = List<ChargeRow>),
))]
pub(super) async fn list_charges(
    State(app): State<App>,
    _: Allowed<Read>,
    InPath(account): InPath<AccountId>,
    InQuery(page): InQuery<ChargePage>,
) -> Result<Answered<List<ChargeRow>>, Failure> {
    if let (Some(from), Some(to)) = (page.from, page.to)
        && to <= from
    {
        return Err(problems::invalid_query("to", "must be after from").into());
    }
    let search = ChargeSearch {
        key: page.key,
        endpoint: page.endpoint,
        from: page.from,
        to: page.to,
    };
    let scope = format!("charges {account} {search:?}");
    let shard = app.views.shard();
    let cursor = read_cursor(page.cursor.as_deref(), &scope)?;
    let limit = page.limit.unwrap_or(Limit::DEFAULT).get();
    wait_for_list(&app, ViewName::Charges, page.after).await?;
    let at = app.views.charges_found(account, &search, limit, cursor).await?;
    found(shard, at, Problem::unknown_account, |rows, _| {
        list(rows, &scope, |charge| {
            let position = Place {
                shard,
                position: charge.position,
            };
            ChargeRow::new(charge, position)
        })
    })
}
