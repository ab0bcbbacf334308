//! One event, as it stands in the log.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use keyledger_events::{Actor, Position, Recorded};

use super::line::{By, Line, Networks, decoded, reservation};
use super::names::Names;
use super::pretty::pretty;
use super::words::Word;
use crate::clock;
use crate::log::{Placed, Step};
use crate::pages::Pages;
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Frame, Root};
use crate::pages::viewer::Viewer;

#[derive(Template)]
#[template(path = "event.html")]
struct EventPage<'a> {
    frame: Frame<'a>,
    recorded: Recorded,
    kind: &'static str,
    line: Line,
    /// The other steps of the same request, and this one among them.
    steps: Vec<Line>,
    pretty: String,
    exact: String,
    older: Option<Position>,
    newer: Option<Position>,
}

impl EventPage<'_> {
    fn is_this(&self, line: &Line) -> bool {
        line.position == self.recorded.position
    }

    /// The actor as the event has it, for people who look closer than at a name.
    fn actor(&self) -> Actor {
        self.recorded.actor
    }
}

/// An event of the viewer's own account. 404 another account's, or none.
async fn own(pages: &Pages, viewer: &Viewer, text: &str) -> Result<Placed, Fault> {
    let position = text.parse::<u64>().map_err(|_| Fault::NotFound)?;
    // One spelling only, so that an event has one address.
    if position.to_string() != text || i64::try_from(position).is_err() {
        return Err(Fault::NotFound);
    }
    let found = pages.log.event_of(viewer.session.account, Position(position)).await?;
    found.ok_or(Fault::NotFound)
}

/// An event in words, with its place, and its document laid out and byte for byte. 200. 401 no session. 404 no such event
/// of this account.
pub(in crate::pages) async fn show(
    State(pages): State<Pages>,
    viewer: Viewer,
    root: Root,
    Path(text): Path<String>,
) -> Result<Response, Fault> {
    let account = viewer.session.account;
    let (frame, placed) = tokio::join!(
        Frame::inside(&pages, root, "activity", "An event", &viewer),
        own(&pages, &viewer, &text),
    );
    let (mut frame, placed) = (frame?, placed?);
    let [recorded] =
        <[Recorded; 1]>::try_from(decoded(std::slice::from_ref(&placed.event))?).map_err(|_| Fault::Internal)?;
    let near = reservation(&recorded.event).map(|reservation| Step {
        reservation,
        seq: recorded.seq,
    });
    let stored = match near {
        Some(near) => pages.log.steps_near(account, near).await?,
        None => Vec::new(),
    };
    let networks = Networks::new(&stored)?;
    // Another event may hold the id by chance, in a text that somebody chose.
    let mut steps = decoded(&stored)?;
    steps.retain(|step| reservation(&step.event) == near.map(|near| near.reservation));
    let all: Vec<Recorded> = steps.iter().chain([&recorded]).cloned().collect();
    let names = Names::of(&pages, account, &all).await?;
    let now = clock::now();
    let line = |recorded: &Recorded| Line::new(recorded, &names, &networks, now);
    frame.title = format!("Event {}", recorded.seq);
    // The log is UTF-8; what is not would have been refused by the reader above.
    let exact = String::from_utf8_lossy(&placed.event.body).into_owned();
    let shown = EventPage {
        frame,
        kind: recorded.event.type_name(),
        line: line(&recorded),
        steps: if steps.len() > 1 {
            steps.iter().map(line).collect()
        } else {
            Vec::new()
        },
        pretty: pretty(&exact),
        exact,
        older: placed.older,
        newer: placed.newer,
        recorded,
    };
    page(StatusCode::OK, &shown)
}

/// The canonical bytes and nothing else, to keep. 200. 401 no session. 404 no such event of this account.
pub(in crate::pages) async fn document(
    State(pages): State<Pages>,
    viewer: Viewer,
    Path(text): Path<String>,
) -> Result<Response, Fault> {
    let placed = own(&pages, &viewer, &text).await?;
    let name = format!("attachment; filename=\"event-{}.json\"", placed.event.position);
    let name = HeaderValue::from_str(&name).map_err(|_| Fault::Internal)?;
    let kind = HeaderValue::from_static("application/cloudevents+json");
    Ok(([(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, name)], placed.event.body).into_response())
}
