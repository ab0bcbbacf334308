//! The price book that holds, and the next one.

use axum::extract::State;
use keyledger_events::{Credits, Endpoint, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answered, Failure, refused};
use super::extract::{Allowed, Read};
use super::place::Place;
use super::{App, problems};
use crate::clock;
use crate::ledger::{Answer, By, Command, Price};
use crate::prices::{PriceBook, PriceRule, Quantity, Rate, WhenMore};
use crate::problem::Problem;
use crate::shelf::{Dated, LOOK_UPS_MAX};

/// The book that holds, and the one that takes its place.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PricesBody {
    #[serde(flatten)]
    in_force: PriceBookBody,
    /// Of those that are published and to come, the first. `null` where there is none.
    next: Option<PriceBookBody>,
}

/// A whole book, in the order in which it is searched.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PriceBookBody {
    /// Counted from 1; 0 is the config file, which holds until a book is published.
    #[schema(example = 3)]
    version: u64,
    /// `null` of the config file.
    #[schema(value_type = Option<String>, format = DateTime, example = "2027-01-01T00:00:00Z")]
    valid_from: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    published_at: Option<Timestamp>,
    items: Vec<PriceBody>,
}

impl PriceBookBody {
    pub(super) fn published(version: u64, valid_from: Timestamp, at: Timestamp, book: &PriceBook) -> PriceBookBody {
        PriceBookBody {
            version,
            valid_from: Some(valid_from),
            published_at: Some(at),
            items: book.patterns().map(PriceBody::from).collect(),
        }
    }
}

impl From<Dated> for PriceBookBody {
    fn from(dated: Dated) -> PriceBookBody {
        PriceBookBody {
            version: dated.version,
            valid_from: dated.published.map(|published| published.valid_from),
            published_at: dated.published.map(|published| published.at),
            items: dated.book.patterns().map(PriceBody::from).collect(),
        }
    }
}

/// What one kind of request costs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PriceBody {
    #[schema(value_type = String, example = "ai_visibility")]
    endpoint: Endpoint,
    /// The requests that it is the price of.
    #[serde(rename = "match")]
    #[schema(example = "GET /ai-visibility/{*rest}")]
    pattern: String,
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

impl From<(String, &PriceRule)> for PriceBody {
    fn from((pattern, rule): (String, &PriceRule)) -> PriceBody {
        PriceBody {
            endpoint: rule.endpoint.clone(),
            pattern,
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
fn price_of(book: &PriceBook, endpoint: &Endpoint) -> Result<Price, Problem> {
    let rule = book.by_endpoint(endpoint).ok_or_else(problems::unknown_endpoint)?;
    Ok(Price {
        unit: rule.price,
        version: rule.version,
    })
}

/// Of no book: the ledger takes it for nothing new, and says which book holds.
const OF_NO_BOOK: Price = Price {
    unit: Credits::ZERO,
    version: u64::MAX,
};

/// Sends a command with the price of its endpoint. When the ledger says that another book holds, the price is looked up in
/// that one and the command sent again: nothing was written for the first.
///
/// The ledger is asked even where no price is known here: what was written before keeps its answer, whatever holds now.
/// Where an id is from another time it is sent once more, with what time it is: a command that makes its own id makes it by that.
pub(super) async fn submit_priced<C: Command>(
    app: &App,
    endpoint: &Endpoint,
    command: impl Fn(Price, Option<Timestamp>) -> C,
    by: &By,
) -> Result<Answer<C::Reply>, Failure> {
    let mut price = price_of(&app.prices.book(), endpoint).unwrap_or(OF_NO_BOOK);
    let (mut look_ups, mut told) = (1, None);
    loop {
        let error = match app.ledger.submit(command(price, told), by.clone()).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if told.is_none() && error.time_told().is_some() {
            told = error.time_told();
            continue;
        }
        let Some(book) = app.prices.instead(&error).await.filter(|_| look_ups < LOOK_UPS_MAX) else {
            return Err(refused(error));
        };
        look_ups += 1;
        price = price_of(&book, endpoint)?;
    }
}

/// Shows the price book that holds, and the next one.
///
/// 200 the books. 503 the log cannot be read.
#[utoipa::path(get, path = "/v1/prices", tag = "prices", responses(
    (status = 200, description = "The books.", body = PricesBody),
))]
pub(super) async fn show_prices(State(app): State<App>, _: Allowed<Read>) -> Result<Answered<PricesBody>, Failure> {
    let head = app.log.head().await?;
    app.prices.refresh().await?;
    let now = clock::now();
    let books = PricesBody {
        in_force: app.prices.in_force(now).into(),
        next: app.prices.next(now).map(PriceBookBody::from),
    };
    let place = Place {
        shard: app.log.shard(),
        position: head.position,
    };
    Ok(Answered::found(place, books))
}
