//! The price book, as it is in force.

use axum::extract::State;
use keyledger_events::{Credits, Endpoint};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answered, Failure};
use super::extract::{Allowed, Read};
use super::{App, problems};
use crate::ledger::Price;
use crate::prices::{PriceRule, Quantity, Rate, WhenMore};
use crate::problem::Problem;

/// The whole book, in the order in which it is searched.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PriceBookBody {
    items: Vec<PriceBody>,
}

/// What one kind of request costs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PriceBody {
    #[schema(value_type = String, example = "ai_visibility")]
    endpoint: Endpoint,
    /// Credits a unit.
    #[schema(value_type = String, example = "0.5")]
    price: Credits,
    #[schema(example = "conversation")]
    unit: String,
    quantity: CountBody,
    /// Units that the gateway holds credits for before the work.
    #[schema(example = 50)]
    quantity_max: u64,
    /// How often one key may call it through the gateway, where the endpoint has a limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<RateBody>,
    /// When a proxy that asks with forward-auth is charged: `at-once` or `later`.
    #[schema(example = "later")]
    settle: &'static str,
    /// What becomes of units beyond those: not charged, or charged from what is available.
    when_more: WhenMoreBody,
    /// A key pays once a day for what stands at one path. Absent where each answer is charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    once_per: Option<OncePerBody>,
    /// The version of the book; 0 is the config file.
    version: u64,
}

/// A token bucket.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RateBody {
    /// Calls a second in the long run.
    #[schema(example = 10)]
    per_second: u32,
    /// Calls at once, after a rest.
    #[schema(example = 20)]
    burst: u32,
}

/// What becomes of units that were delivered beyond those that were held for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum WhenMoreBody {
    Shortfall,
    TopUp,
}

/// What is charged once.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum OncePerBody {
    Path,
}

/// How the delivered units of an answer are counted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum CountBody {
    /// This many a request.
    #[schema(example = 1)]
    Fixed(u64),
    /// The number in this header of the answer.
    Header(String),
    /// The number, or the length of the array, at this JSON pointer in the answer.
    Json(String),
}

impl From<&PriceRule> for PriceBody {
    fn from(rule: &PriceRule) -> PriceBody {
        PriceBody {
            endpoint: rule.endpoint.clone(),
            price: rule.price,
            unit: rule.unit.clone(),
            quantity: match &rule.quantity {
                Quantity::Fixed => CountBody::Fixed(1),
                Quantity::Header(name) => CountBody::Header(name.as_str().to_owned()),
                Quantity::Json(pointer) => CountBody::Json(pointer.as_str().to_owned()),
            },
            quantity_max: rule.quantity_max,
            rate: rule
                .rate
                .map(|Rate { per_second, burst }| RateBody { per_second, burst }),
            settle: rule.settle.as_str(),
            when_more: match rule.when_more {
                WhenMore::Shortfall => WhenMoreBody::Shortfall,
                WhenMore::TopUp => WhenMoreBody::TopUp,
            },
            once_per: rule.once_per_path.then_some(OncePerBody::Path),
            version: rule.version,
        }
    }
}

/// The price of an endpoint. 404 when the book has none.
pub(super) fn price_of(app: &App, endpoint: &Endpoint) -> Result<Price, Problem> {
    let rule = app
        .prices
        .by_endpoint(endpoint)
        .ok_or_else(problems::unknown_endpoint)?;
    Ok(Price {
        unit: rule.price,
        version: rule.version,
    })
}

/// Shows the price book.
///
/// 200 the book. It has no place in the log: it comes from the config file.
#[utoipa::path(get, path = "/v1/prices", tag = "prices", responses(
    (status = 200, description = "The book.", body = PriceBookBody),
))]
pub(super) async fn show_prices(State(app): State<App>, _: Allowed<Read>) -> Result<Answered<PriceBookBody>, Failure> {
    let items = app.prices.rules().map(PriceBody::from).collect();
    Ok(Answered::plain(PriceBookBody { items }))
}
