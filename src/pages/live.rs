//! What changes while somebody looks, told to their page as it comes: the balance, and when keys were last used.
//!
//! Promise: it ends with the session, and asking is no visit; so many streams a session and a process and no more; when the
//! process stops, they end at once. Each message is the newest state whole, so one that was missed is not missed.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};
use keyledger_events::{KeyId, PortalSessionId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Pages;
use super::amount::amount;
use super::fault::Fault;
use super::moment::thousands;
use super::viewer::{Look, Viewer};
use crate::views::{LIVE_KEYS_MAX, Live};

/// How often the views are asked.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A line that says nothing, so that whoever is between keeps the connection.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// After it the page asks again: a browser that is gone without a word does not hold its place for ever.
const STREAM_MAX: Duration = Duration::from_secs(15 * 60);
/// Open pages of one person.
const STREAMS_A_SESSION_MAX: usize = 6;
/// Each asks the database every two seconds.
const STREAMS_MAX: usize = 400;

/// Who has a stream now.
#[derive(Debug, Clone, Default)]
pub(super) struct Seats(Arc<Mutex<HashMap<PortalSessionId, usize>>>);

/// A place that is free again when this is dropped.
#[derive(Debug)]
struct Seat {
    seats: Seats,
    session: PortalSessionId,
}

impl Seats {
    fn take(&self, session: PortalSessionId) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= STREAMS_MAX {
            return None;
        }
        let own = taken.entry(session).or_default();
        if *own >= STREAMS_A_SESSION_MAX {
            return None;
        }
        *own += 1;
        Some(Seat {
            seats: self.clone(),
            session,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.session) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.session);
            }
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Shown {
    /// The keys that the page shows, with commas between.
    keys: String,
}

/// What a message says.
#[derive(Debug, Serialize)]
struct Told {
    available: String,
    held: String,
    keys: Vec<ToldKey>,
}

#[derive(Debug, Serialize)]
struct ToldKey {
    id: KeyId,
    last_used: Option<String>,
    uses: String,
}

impl From<&Live> for Told {
    fn from(live: &Live) -> Told {
        let key = |key: &crate::views::LiveKey| ToldKey {
            id: key.id,
            last_used: key.last_used_at.map(|at| at.to_string()),
            uses: thousands(key.uses),
        };
        Told {
            available: amount(live.available),
            held: amount(live.reserved),
            keys: live.keys.iter().map(key).collect(),
        }
    }
}

/// One page's stream.
struct Watch {
    pages: Pages,
    viewer: Viewer,
    keys: Vec<KeyId>,
    told: Option<Live>,
    ends_at: Instant,
    /// The last message was sent.
    over: bool,
    _seat: Seat,
}

/// Streams what changes, as `text/event-stream`. 200. 401 no session. 403 another site's page asks. 429 too many streams.
pub(super) async fn live(State(pages): State<Pages>, request: Request) -> Result<Response, Fault> {
    let (parts, _) = request.into_parts();
    if !asked_from_here(&parts.headers) {
        return Err(Fault::ForeignForm);
    }
    let Query(shown) = Query::<Shown>::try_from_uri(&parts.uri).map_err(|_| Fault::NotFound)?;
    let keys = shown.keys.split(',').filter(|id| !id.is_empty()).take(LIVE_KEYS_MAX);
    let keys = keys
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|_| Fault::NotFound)?;
    let viewer = Viewer::recognize(&parts, &pages, Look::Glance).await?;
    let seat = pages.seats().take(viewer.session.id).ok_or(Fault::TooManyStreams)?;
    let watch = Watch {
        pages: pages.clone(),
        viewer,
        keys,
        told: None,
        ends_at: Instant::now() + STREAM_MAX,
        over: false,
        _seat: seat,
    };
    let stop = pages.stop.clone();
    let messages = stream::unfold(watch, Watch::next);
    let messages = futures_util::StreamExt::take_until(messages, stop.cancelled_owned());
    let mut response = Sse::new(messages)
        .keep_alive(KeepAlive::new().interval(HEARTBEAT_EVERY))
        .into_response();
    // Proxies that gather answers before they pass them on are asked not to.
    let buffering = HeaderName::from_static("x-accel-buffering");
    let headers = response.headers_mut();
    headers.insert(buffering, HeaderValue::from_static("no"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Whether the browser says that a page of ours asks. Not every browser says anything when a page asks its own host.
fn asked_from_here(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-site")
        .is_none_or(|site| site.as_bytes() == b"same-origin")
}

impl Watch {
    /// Waits for the next message: the first at once, later ones when something is different.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Watch)> {
        if self.over {
            return None;
        }
        loop {
            if self.told.is_some() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            if Instant::now() >= self.ends_at {
                return None;
            }
            match self.viewer.lasts(&self.pages).await {
                Ok(true) => {}
                Ok(false) => {
                    self.over = true;
                    return Some((Ok(Event::default().event("end").data("")), self));
                }
                // Nobody is told anything while it is not known who they are; the page asks again later.
                Err(_) => return None,
            }
            let account = self.viewer.session.account;
            let at = self.pages.views.live(account, &self.keys).await.ok()?;
            let live = at.value?;
            if self.told.as_ref() == Some(&live) {
                continue;
            }
            let event = Event::default()
                .id(at.position.to_string())
                .json_data(Told::from(&live))
                .ok()?;
            self.told = Some(live);
            return Some((Ok(event), self));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_so_many_streams_and_gets_another_when_one_ends() {
        let seats = Seats::default();
        let (ada, bob) = (PortalSessionId::from_parts(1, 1), PortalSessionId::from_parts(1, 2));
        let mut mine: Vec<Seat> = (0..STREAMS_A_SESSION_MAX).filter_map(|_| seats.take(ada)).collect();
        assert_eq!(mine.len(), STREAMS_A_SESSION_MAX);
        assert!(seats.take(ada).is_none() && seats.take(bob).is_some());
        mine.pop();
        assert!(seats.take(ada).is_some());
        mine.clear();
        assert!(seats.0.lock().unwrap().is_empty(), "who has gone leaves nothing behind");
    }

    #[test]
    fn a_process_has_so_many_streams() {
        let seats = Seats::default();
        let session = |n: usize| PortalSessionId::from_parts(1, n.try_into().unwrap());
        let all: Vec<Seat> = (0..STREAMS_MAX + 10).filter_map(|n| seats.take(session(n))).collect();
        assert_eq!(all.len(), STREAMS_MAX);
    }
}
