//! What a proxy tells after the answer: charged or given back, by the gateway's own table.

use std::collections::BTreeSet;

use axum::Extension;
use axum::extract::State;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use keyledger_events::{AccountId, Credits, Endpoint, ReleaseCause, ReservationId};
use serde::Serialize;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::asked::{once, unreadable};
use super::told::{ACCOUNT, QUANTITY, RESERVATION};
use super::trust::{by, trusted};
use crate::gateway::{Delivered, release_for, tell_of_more};
use crate::http::App;
use crate::http::answer::{Answered, Failure, refused};
use crate::http::serve::Peer;
use crate::ledger::{Beyond, ChargeDelivered, DeliveryCharge, ReleaseReservation, SubmitError};
use crate::prices::{PriceBook, WhenMore};
use crate::problem::{BAD_REQUEST, Problem};
use crate::shelf::Shelf;
use crate::tokens::Caller;

const UPSTREAM_STATUS: HeaderName = HeaderName::from_static("x-keyledger-upstream-status");
const DELIVERED: HeaderName = HeaderName::from_static("x-keyledger-delivered");
const ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");

/// How a hold was settled.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SettledBody {
    /// The reservation's.
    #[schema(value_type = String, example = "rsv_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: ReservationId,
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    /// `charged`, or why it was given back.
    #[schema(example = "charged")]
    outcome: &'static str,
    #[schema(value_type = String, example = "0.5")]
    charged: Credits,
    #[schema(value_type = String, example = "0")]
    returned: Credits,
    /// What work of this endpoint can hold now.
    #[schema(value_type = String, example = "99.5")]
    available: Credits,
    /// The charge beside the hold's, where more was delivered than was held for and the price says `top-up`.
    #[serde(skip_serializing_if = "Option::is_none")]
    top_up: Option<TopUpBody>,
    /// Units that were delivered and are not charged: by the price's rule, or because too little was available.
    #[schema(example = 0)]
    shortfall: u64,
}

/// A charge of its own for what was delivered beyond a hold.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopUpBody {
    #[schema(value_type = String, example = "rsv_01JDE5Z8W46WBQ8ZTA0MTJ3CYN")]
    id: ReservationId,
    #[schema(example = 3)]
    quantity: u64,
    #[schema(value_type = String, example = "1.5")]
    charged: Credits,
}

/// What the proxy knows of the answer.
struct Told {
    account: AccountId,
    reservation: ReservationId,
    release: Option<ReleaseCause>,
    quantity: u64,
}

/// Settles a hold of forward-auth by what became of the answer, with the gateway's own table.
///
/// 200, 203 and 206 that were delivered whole are charged; 202 is given back as queued, everything else as an error.
/// Headers only, so that nginx's `post_action` can send it. Of more units than were held for, the hold is charged whole;
/// the rest is a `top_up` from what is available where the price says so and the balance allows it, else a `shortfall`.
/// All of it is decided at once, and stays so however often it is told.
///
/// 200 settled, also when it was settled the same before. 400 a header is missing or is none. 403 the proxy is not
/// known. 404 no such account or reservation. 409 it is closed in another way. 503 nothing was written, or its outcome
/// is unknown; send it again.
#[utoipa::path(
    post, path = "/v1/forward-auth-settle", tag = "metering",
    security(("forward_auth" = [])),
    params(
        ("X-Keyledger-Account" = String, Header, description = "From the answer of forward-auth."),
        ("X-Keyledger-Reservation" = String, Header, description = "From the answer of forward-auth."),
        ("X-Keyledger-Upstream-Status" = u16, Header, description = "The status that the data API answered.", example = 200),
        ("X-Keyledger-Quantity" = Option<u64>, Header, description = "Units that were delivered; 1 unless said."),
        ("X-Keyledger-Delivered" = Option<String>, Header, description = "`whole` unless said, `client-gone` or `broken`."),
        ("X-Original-Method" = Option<String>, Header, description = "A `HEAD` is not charged."),
    ),
    responses(
        (status = 200, description = "Settled.", body = SettledBody),
        (status = 404, response = Problem),
        (status = 409, response = Problem),
    )
)]
pub(crate) async fn settle_forwarded(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Answered<SettledBody>, Failure> {
    let caller = trusted(&app, peer.map(|peer| peer.0.0), &headers).await?;
    let told = read(&headers)?;
    let (tell, answer) = oneshot::channel();
    // What was told is carried out, even if the proxy hangs up; the end of the process waits for it.
    app.forward_auth.clone().run(async move {
        let settled = match told.release {
            Some(cause) => release(&app, caller, &told, cause).await,
            None => charge(&app, caller, &told).await,
        };
        let _ = tell.send(settled);
    });
    let settled = answer.await.unwrap_or(Err(SubmitError::OutcomeUnknown));
    settled.map_err(refused)
}

async fn charge(app: &App, caller: Caller, told: &Told) -> Result<Answered<SettledBody>, SubmitError> {
    let command = ChargeDelivered {
        account: told.account,
        reservation: told.reservation,
        quantity: told.quantity,
        beyond: beyond(&app.prices, told.quantity),
        client_left: None,
    };
    let by = by(caller, told.reservation, "charge");
    let answer = app.ledger.submit(command, by).await?;
    if !answer.replayed {
        tell_of_more(&answer.reply);
    }
    Ok(Answered::done(answer, SettledBody::from))
}

/// What becomes of units beyond the hold, which alone knows its endpoint and its price book. Every hold covers one unit at
/// least. Of prices with one endpoint the first counts, as for all work that comes by its endpoint's name.
fn beyond(shelf: &Shelf, quantity: u64) -> Beyond {
    if quantity <= 1 {
        return Beyond::NotCharged;
    }
    let books = shelf.kept();
    Beyond::ToppedUpFor(
        books
            .iter()
            .map(|(version, book)| (*version, topped_up(book)))
            .collect(),
    )
}

fn topped_up(book: &PriceBook) -> Vec<Endpoint> {
    let mut named = BTreeSet::new();
    let firsts = book.rules().filter(|rule| named.insert(rule.endpoint.as_str()));
    let topped_up = firsts.filter(|rule| rule.when_more == WhenMore::TopUp);
    topped_up.map(|rule| rule.endpoint.clone()).collect()
}

impl From<DeliveryCharge> for SettledBody {
    fn from(delivery: DeliveryCharge) -> SettledBody {
        let DeliveryCharge {
            charge,
            top_up,
            shortfall,
        } = delivery;
        let paid_before = charge.paid_before;
        SettledBody {
            id: charge.reservation,
            account: charge.account,
            outcome: if paid_before {
                ReleaseCause::Requested.as_str()
            } else {
                "charged"
            },
            charged: charge.charged,
            returned: charge.returned,
            available: charge.available,
            top_up: top_up.map(|top_up| TopUpBody {
                id: top_up.reservation,
                quantity: top_up.quantity,
                charged: top_up.charged,
            }),
            shortfall,
        }
    }
}

async fn release(
    app: &App,
    caller: Caller,
    told: &Told,
    cause: ReleaseCause,
) -> Result<Answered<SettledBody>, SubmitError> {
    let command = ReleaseReservation {
        account: told.account,
        reservation: told.reservation,
        cause,
        client_left: None,
    };
    let by = by(caller, told.reservation, "release");
    let answer = app.ledger.submit(command, by).await?;
    Ok(Answered::done(answer, |release| SettledBody {
        id: release.reservation,
        account: release.account,
        outcome: release.cause.as_str(),
        charged: Credits::ZERO,
        returned: release.returned,
        available: release.available,
        top_up: None,
        shortfall: 0,
    }))
}

fn read(headers: &HeaderMap) -> Result<Told, Problem> {
    let account = needed(headers, &ACCOUNT)?;
    let reservation = needed(headers, &RESERVATION)?;
    let status: StatusCode = needed(headers, &UPSTREAM_STATUS)?;
    let quantity = optional(headers, &QUANTITY)?.unwrap_or(1);
    let method = optional(headers, &ORIGINAL_METHOD)?.unwrap_or(Method::GET);
    let delivered = match once(headers, &DELIVERED)? {
        None | Some("whole") => Delivered::Whole,
        Some("client-gone") => Delivered::ClientGone,
        Some("broken") => Delivered::Broken,
        Some(_) => return Err(unreadable(&DELIVERED, "is whole, client-gone or broken")),
    };
    Ok(Told {
        account,
        reservation,
        release: release_for(&method, status, delivered),
        quantity,
    })
}

fn optional<T: std::str::FromStr>(headers: &HeaderMap, name: &HeaderName) -> Result<Option<T>, Problem> {
    once(headers, name)?
        .map(|text| text.parse().map_err(|_| unreadable(name, "is not what it should be")))
        .transpose()
}

fn needed<T: std::str::FromStr>(headers: &HeaderMap, name: &HeaderName) -> Result<T, Problem> {
    optional(headers, name)?.ok_or_else(|| Problem::new(BAD_REQUEST, format!("{name} is needed")).field(name.as_str()))
}
