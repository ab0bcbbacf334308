//! The prices in force.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use keyledger_events::Credits;

use super::Operator;
use crate::pages::Pages;
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Frame, Root};
use crate::pages::moment::thousands;
use crate::prices::{PriceRule, Quantity, WhenMore};

struct Row {
    endpoint: String,
    price: Credits,
    unit: String,
    counted: String,
    held: String,
    /// What is unlike the usual.
    notes: Vec<String>,
    version: u64,
}

#[derive(Template)]
#[template(path = "operator_prices.html")]
struct PricesPage<'a> {
    frame: Frame<'a>,
    rows: Vec<Row>,
}

fn row(rule: &PriceRule) -> Row {
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
    notes.push(format!("forward-auth settles {}", rule.settle.as_str()));
    Row {
        endpoint: rule.endpoint.to_string(),
        price: rule.price,
        unit: rule.unit.clone(),
        counted: match &rule.quantity {
            Quantity::Fixed => "1 a request".to_owned(),
            Quantity::Header(name) => format!("header {name}"),
            Quantity::Json(pointer) => format!("JSON {}", pointer.as_str()),
        },
        held: thousands(rule.quantity_max),
        notes,
        version: rule.version,
    }
}

/// The price book, in the order in which it is searched. 200. 401 no operator.
pub(super) async fn show(State(pages): State<Pages>, operator: Operator, root: Root) -> Result<Response, Fault> {
    let shown = PricesPage {
        frame: operator.frame(&pages, root, "prices", "Prices"),
        rows: pages.prices.rules().map(row).collect(),
    };
    page(StatusCode::OK, &shown)
}
