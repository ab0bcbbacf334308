//! Who is told of what by webhook, how each receiver stands, and what became of each message.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use keyledger_events::AccountId;
use serde::Deserialize;

use super::Operator;
use crate::clock;
use crate::pages::Pages;
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Frame, Root};
use crate::pages::moment::{Moment, thousands};
use crate::webhooks::{AttemptMade, DeliveriesAway, Delivery, DeliverySearch, DeliveryState, Receiver};

const DELIVERIES_A_PAGE: u32 = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Search {
    receiver: String,
    state: String,
    /// Go on below this delivery.
    below: Option<i64>,
}

struct ReceiverRow {
    name: String,
    url: String,
    kinds: String,
    waiting: String,
    failing: Option<Failing>,
}

struct Failing {
    since: Moment,
    failures: u32,
    retry: Option<Moment>,
}

struct Row {
    queued: Moment,
    receiver: String,
    kind: String,
    account: AccountId,
    message: String,
    state: DeliveryState,
    attempts: u32,
    /// What the last attempt came to.
    last: Option<String>,
    body: String,
}

#[derive(Template)]
#[template(path = "operator_webhooks.html")]
struct WebhooksPage<'a> {
    frame: Frame<'a>,
    receivers: Vec<ReceiverRow>,
    search: Search,
    rows: Vec<Row>,
    older: Option<i64>,
}

impl From<DeliveriesAway> for Fault {
    fn from(error: DeliveriesAway) -> Fault {
        match error {
            DeliveriesAway::Unreachable(error) => {
                tracing::warn!(%error, "the delivery log cannot be asked");
                Fault::Unavailable
            }
            DeliveriesAway::Corrupt(error) => error.into(),
        }
    }
}

fn receiver_row(receiver: Receiver, now: keyledger_events::Timestamp) -> ReceiverRow {
    let failing = receiver.failing_since.map(|since| Failing {
        since: Moment::new(since, now),
        failures: receiver.failures,
        retry: receiver.retry_at.map(|at| Moment::new(at, now)),
    });
    ReceiverRow {
        name: receiver.name,
        url: receiver.url,
        kinds: receiver.kinds.join(", "),
        waiting: thousands(receiver.waiting),
        failing,
    }
}

fn came_to(attempt: &AttemptMade) -> String {
    match (attempt.status, &attempt.error) {
        (Some(status), _) => format!("answered {status} in {} ms", attempt.took_ms),
        (None, Some(error)) => error.clone(),
        (None, None) => String::new(),
    }
}

fn row(delivery: Delivery, now: keyledger_events::Timestamp) -> Row {
    Row {
        queued: Moment::new(delivery.queued_at, now),
        receiver: delivery.receiver,
        kind: delivery.kind,
        account: delivery.account,
        message: delivery.message,
        state: delivery.state,
        attempts: delivery.attempts,
        last: delivery.last.as_ref().map(came_to),
        body: delivery.body,
    }
}

/// Receivers and deliveries, the newest first. 200. 401 no operator. 404 an address of no list. 503 the database cannot be
/// asked.
pub(super) async fn show(
    State(pages): State<Pages>,
    operator: Operator,
    root: Root,
    search: Result<Query<Search>, QueryRejection>,
) -> Result<Response, Fault> {
    let Query(search) = search.map_err(|_| Fault::NotFound)?;
    let state = match search.state.as_str() {
        "" => None,
        text => Some(DeliveryState::parse(text).ok_or(Fault::NotFound)?),
    };
    let asked = DeliverySearch {
        receiver: Some(search.receiver.clone()).filter(|name| !name.is_empty()),
        state,
        before: search.below,
        limit: DELIVERIES_A_PAGE,
    };
    let receivers = pages.deliveries.receivers().await?;
    // What is asked for stands in addresses of the page: a name that a config file may have, and nothing else.
    if asked
        .receiver
        .as_ref()
        .is_some_and(|asked| receivers.iter().all(|one| one.name != *asked))
    {
        return Err(Fault::NotFound);
    }
    let mut found = pages.deliveries.list(&asked).await?;
    let limit = usize::try_from(DELIVERIES_A_PAGE).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    let now = clock::now();
    let shown = WebhooksPage {
        frame: operator.frame(&pages, root, "webhooks", "Webhooks"),
        receivers: receivers.into_iter().map(|one| receiver_row(one, now)).collect(),
        older: found.last().filter(|_| more).map(|last| last.number),
        rows: found.into_iter().map(|one| row(one, now)).collect(),
        search,
    };
    page(StatusCode::OK, &shown)
}
