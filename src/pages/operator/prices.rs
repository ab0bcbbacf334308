//! The prices in force, and the next ones.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use keyledger_events::{Credits, Timestamp};

use super::Operator;
use crate::clock;
use crate::pages::Pages;
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Frame, Root};
use crate::pages::moment::{Moment, thousands};
use crate::prices::{PriceRule, Quantity, SettleAt, WhenMore};
use crate::shelf::{Dated, Published};

struct Row {
    endpoint: String,
    /// The requests that it is the price of.
    pattern: String,
    price: Credits,
    unit: String,
    counted: String,
    held: String,
    /// What is unlike the usual.
    notes: Vec<String>,
}

#[derive(Template)]
#[template(path = "operator_prices.html")]
struct PricesPage<'a> {
    frame: Frame<'a>,
    in_force: Book,
    next: Option<Book>,
}

struct Book {
    version: u64,
    /// `None` for the config file.
    since: Option<(Moment, Moment)>,
    rows: Vec<Row>,
}

impl Book {
    fn new(dated: &Dated, now: Timestamp) -> Book {
        let moments = |published: Published| (Moment::new(published.valid_from, now), Moment::new(published.at, now));
        Book {
            version: dated.version,
            since: dated.published.map(moments),
            rows: dated.book.patterns().map(row).collect(),
        }
    }
}

fn row((pattern, rule): (String, &PriceRule)) -> Row {
    let mut notes = Vec::new();
    if rule.when_more == WhenMore::TopUp {
        notes.push("more than was held for is charged too".to_owned());
    }
    if rule.once_per_path {
        notes.push("a key pays once a day for a path".to_owned());
    }
    if let Some(rate) = rule.rate {
        notes.push(format!(
            "{} calls a second a key, {} at once",
            rate.per_second, rate.burst
        ));
    }
    if let Some(upstream) = &rule.upstream {
        notes.push(format!("answered by {upstream}"));
    }
    if rule.settle == SettleAt::AtOnce {
        notes.push("behind another proxy it is charged at once".to_owned());
    }
    Row {
        endpoint: rule.endpoint.to_string(),
        pattern,
        price: rule.price,
        unit: rule.unit.clone(),
        counted: match &rule.quantity {
            Quantity::Fixed => "Each request".to_owned(),
            Quantity::Header(name) => format!("Header {name}"),
            Quantity::Json(pointer) => format!("JSON {}", pointer.as_str()),
        },
        held: thousands(rule.quantity_max),
        notes,
    }
}

/// The price book, in the order in which it is searched, and the next one. 200. 401 no operator.
pub(super) async fn show(State(pages): State<Pages>, operator: Operator, root: Root) -> Result<Response, Fault> {
    let now = clock::now();
    let shown = PricesPage {
        frame: operator.frame(&pages, root, "prices", "Prices"),
        in_force: Book::new(&pages.prices.in_force(now), now),
        next: pages.prices.next(now).map(|next| Book::new(&next, now)),
    };
    page(StatusCode::OK, &shown)
}
