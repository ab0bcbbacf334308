//! One event, as it stands in the log.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use keyledger_events::{AccountId, Actor, Position, Recorded, Timestamp};

use super::line::{By, Line, Networks, decoded, reservation};
use super::names::Names;
use super::pretty::pretty;
use super::sentence::Word;
use crate::audit::proof::{Proof, prove};
use crate::audit::tree::TreeError;
use crate::clock;
use crate::log::Placed;
use crate::pages::Pages;
use crate::pages::arriving::Arriving;
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Around, Frame, Root};
use crate::pages::moment::{Moment, thousands};

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
    /// `None`: no checkpoint covers it yet.
    sealed: Option<Sealed>,
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

/// Why it can be believed that the event was always so.
struct Sealed {
    leaf: String,
    path: Vec<String>,
    /// The signed note.
    note: String,
    size: String,
    when: Moment,
}

impl Sealed {
    fn new(proof: &Proof, now: Timestamp) -> Sealed {
        Sealed {
            leaf: STANDARD.encode(proof.leaf),
            path: proof.path.iter().map(|hash| STANDARD.encode(hash)).collect(),
            note: proof.checkpoint.whole_note(),
            size: thousands(proof.checkpoint.size),
            when: Moment::new(proof.checkpoint.made_at, now),
        }
    }
}

/// The event under the newest checkpoint, where that covers it. A tree that cannot be read is no reason to show nothing.
async fn proven(pages: &Pages, position: Position) -> Result<Option<Proof>, Fault> {
    let found = async {
        let Some(latest) = pages.tree.store().latest().await? else {
            return Ok(None);
        };
        prove(&pages.tree, position, latest).await
    };
    found.await.map_err(|error: TreeError| {
        tracing::warn!(%error, "an event could not be proven");
        Fault::Unavailable
    })
}

/// One spelling only, so that an event has one address.
fn place(text: &str) -> Result<Position, Fault> {
    let position = text.parse::<u64>().map_err(|_| Fault::NotFound)?;
    if position.to_string() != text || i64::try_from(position).is_err() {
        return Err(Fault::NotFound);
    }
    Ok(Position(position))
}

/// An event of the account's own. 404 another account's, or none.
async fn own(pages: &Pages, account: AccountId, text: &str) -> Result<Placed, Fault> {
    let position = place(text)?;
    let found = pages.log.event_of(account, position).await?;
    found.ok_or(Fault::NotFound)
}

/// An event in words, with its place, and its document laid out and byte for byte. 200. 401 no session. 404 no such event
/// of this account.
pub(in crate::pages) async fn show(
    State(pages): State<Pages>,
    arriving: Arriving,
    root: Root,
    Path(text): Path<String>,
) -> Result<Response, Fault> {
    let (viewer, (around, placed, proof, data_keys)) = arriving
        .reads(async |account| {
            // What is no event of this account's is never shown, nor its proof.
            let (around, placed, proof, data_keys) = tokio::join!(
                Around::of(&pages, account),
                own(&pages, account, &text),
                async {
                    match place(&text) {
                        Ok(position) => proven(&pages, position).await,
                        Err(_) => Ok(None),
                    }
                },
                pages.log.data_keys(std::slice::from_ref(&account)),
            );
            let placed = placed?;
            Ok((around?, placed, proof?, data_keys?))
        })
        .await?;
    let [recorded] = <[Recorded; 1]>::try_from(decoded(std::slice::from_ref(&placed.event), &data_keys)?)
        .map_err(|_| Fault::Internal)?;
    let networks = Networks::new(&placed.steps, &data_keys)?;
    // Another event may hold the id by chance, in a text that somebody chose.
    let mut steps = decoded(&placed.steps, &data_keys)?;
    let of = reservation(&recorded.event);
    steps.retain(|step| of.is_some() && reservation(&step.event) == of);
    let names = Names::new(&placed.beside, &pages.config.name, &data_keys)?;
    let now = clock::now();
    let line = |recorded: &Recorded| Line::new(recorded, &names, &networks, now);
    let title = format!("Event {}", recorded.seq);
    // The log is UTF-8; what is not would have been refused by the reader above.
    let exact = String::from_utf8_lossy(&placed.event.body).into_owned();
    let shown = EventPage {
        frame: Frame::inside(&pages, root, "activity", &title, &viewer, around)?,
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
        sealed: proof.as_ref().map(|proof| Sealed::new(proof, now)),
        recorded,
    };
    page(StatusCode::OK, &shown)
}

/// The canonical bytes and nothing else, to keep. 200. 401 no session. 404 no such event of this account.
pub(in crate::pages) async fn document(
    State(pages): State<Pages>,
    arriving: Arriving,
    Path(text): Path<String>,
) -> Result<Response, Fault> {
    let (_, placed) = arriving.reads(|account| own(&pages, account, &text)).await?;
    let name = format!("attachment; filename=\"event-{}.json\"", placed.event.position);
    let name = HeaderValue::from_str(&name).map_err(|_| Fault::Internal)?;
    let kind = HeaderValue::from_static("application/cloudevents+json");
    Ok(([(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, name)], placed.event.body).into_response())
}

/// The proof that the event is in the log, to keep: JSON, with the event and a signed checkpoint. 200. 401 no session. 404
/// no such event of this account, or it is not sealed yet.
pub(in crate::pages) async fn proof(
    State(pages): State<Pages>,
    arriving: Arriving,
    Path(text): Path<String>,
) -> Result<Response, Fault> {
    let (_, proof) = arriving
        .reads(async |account| {
            let placed = own(&pages, account, &text).await?;
            proven(&pages, placed.event.position).await
        })
        .await?;
    let proof = proof.ok_or(Fault::NotFound)?;
    let name = format!("attachment; filename=\"event-{}-proof.json\"", proof.position);
    let name = HeaderValue::from_str(&name).map_err(|_| Fault::Internal)?;
    let json = crate::http::inclusion_json(pages.tree.shard(), &proof).ok_or(Fault::Internal)?;
    let kind = HeaderValue::from_static("application/json");
    Ok(([(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, name)], json).into_response())
}
