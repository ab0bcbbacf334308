//! The log as it grows, as `text/event-stream`: each event as it is stored, with its place as the message's id, so that
//! whoever comes back with `Last-Event-ID` misses nothing and gets nothing twice.
//!
//! Promise: events come in order and without a gap; a reader that is slow is waited for, and costs one page; so many
//! streams a process and no more; a stream ends when its token is revoked, and when the process stops.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderMap, HeaderName, HeaderValue};
use keyledger_events::{Position, Shard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::place::Place;
use super::{App, problems};
use crate::log::{Log, Stored};
use crate::problem::{Problem, TOO_MANY_STREAMS};
use crate::tokens::{Right, TokenError};

/// The end of the log, as far as this process has heard, and places for those who follow it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tail {
    log: Log,
    committed: watch::Receiver<Position>,
    end: watch::Sender<Position>,
    looking: Arc<AtomicBool>,
    seats: Arc<Semaphore>,
    stop: CancellationToken,
}

/// Streams at once. Each has a page in memory.
const STREAMS_MAX: usize = 64;
const EVENTS_A_PAGE: u32 = 200;
/// How late what another process wrote is heard of.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const GATHER: Duration = Duration::from_millis(20);
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// How often it is asked whether the token still counts.
const CHECK_EVERY: Duration = Duration::from_secs(5);
const RETRY_AFTER_SECONDS: u32 = 5;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

impl Tail {
    /// `committed`: what this process appended, heard at once.
    pub fn new(log: Log, committed: watch::Receiver<Position>, stop: CancellationToken) -> Tail {
        Tail {
            log,
            committed,
            end: watch::Sender::new(Position::START),
            looking: Arc::default(),
            seats: Arc::new(Semaphore::new(STREAMS_MAX)),
            stop,
        }
    }

    /// Takes a place. The first one to come has the log looked at, for as long as anybody follows.
    fn follow(&self) -> Result<(OwnedSemaphorePermit, watch::Receiver<Position>), Problem> {
        let seat = Arc::clone(&self.seats).try_acquire_owned().map_err(|_| too_many())?;
        let end = self.end.subscribe();
        if !self.looking.swap(true, Ordering::SeqCst) {
            let tail = self.clone();
            let stop = self.stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(tail.look()).await });
        }
        Ok((seat, end))
    }

    /// Hears of new events until nobody wants to know.
    async fn look(self) {
        let mut committed = self.committed.clone();
        loop {
            if self.end.receiver_count() == 0 {
                self.looking.store(false, Ordering::SeqCst);
                // Whoever came in between found that somebody looks, and counts on it.
                if self.end.receiver_count() == 0 || self.looking.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
            match self.log.head().await {
                Ok(head) => {
                    self.end.send_if_modified(|end| {
                        let grown = head.position > *end;
                        *end = head.position.max(*end);
                        grown
                    });
                }
                Err(error) => tracing::debug!(%error, "the end of the log is not known"),
            }
            // An error: the writer has ended, and so does this process soon.
            if let Ok(Err(_)) = tokio::time::timeout(LOOK_EVERY, committed.changed()).await {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            // So that readers read some events at once, and not each by itself.
            tokio::time::sleep(GATHER).await;
        }
    }
}

fn too_many() -> Problem {
    Problem::new(TOO_MANY_STREAMS, "this process serves as many streams as it may")
        .retry_after_seconds(RETRY_AFTER_SECONDS)
}

/// Whether the caller would rather have a stream: it says so, and names nothing else before it.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let first = accept.and_then(|accept| accept.split(',').next());
    first.is_some_and(|first| {
        let kind = first.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("text/event-stream")
    })
}

/// Where a reader that comes back was. 400 what it says is no place in this log.
pub(super) fn last_event(headers: &HeaderMap, shard: Shard) -> Result<Option<Position>, Problem> {
    let mut all = headers.get_all(LAST_EVENT_ID).iter();
    let Some(value) = all.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    // A reader that has seen nothing yet may say so.
    if text.is_empty() && all.next().is_none() {
        return Ok(None);
    }
    let place: Option<Place> = text.parse().ok().filter(|place: &Place| place.shard == shard);
    match (place, all.next()) {
        (Some(place), None) => Ok(Some(place.position)),
        (None, _) | (_, Some(_)) => {
            Err(problems::bad_position("Last-Event-ID is not one that this stream has given").field("Last-Event-ID"))
        }
    }
}

/// One reader's stream.
struct Reader {
    app: App,
    token: String,
    after: Position,
    page: std::vec::IntoIter<Stored>,
    end: watch::Receiver<Position>,
    check_at: Instant,
    _seat: OwnedSemaphorePermit,
}

/// Answers with the events after a position, and with those that come. `token`: the text that the caller showed.
pub(super) async fn stream(app: &App, token: &str, after: Position) -> Result<Response, Problem> {
    let head = app.log.head().await?;
    if after > head.position {
        return Err(problems::bad_position("the log ends before it").field("Last-Event-ID"));
    }
    let (seat, end) = app.tail.follow()?;
    let reader = Reader {
        app: app.clone(),
        token: token.to_owned(),
        after,
        page: Vec::new().into_iter(),
        end,
        check_at: Instant::now() + CHECK_EVERY,
        _seat: seat,
    };
    let events = stream::unfold(reader, Reader::next);
    let events = events.take_until(app.tail.stop.clone().cancelled_owned());
    let mut response = Sse::new(events)
        .keep_alive(KeepAlive::new().interval(HEARTBEAT_EVERY))
        .into_response();
    let headers = response.headers_mut();
    // Proxies that gather answers before they pass them on are asked not to.
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

impl Reader {
    /// The next event. `None`: the stream is over, and whoever wants more comes again.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Reader)> {
        loop {
            if Instant::now() >= self.check_at {
                self.check().await?;
            }
            if let Some(stored) = self.page.next() {
                self.after = stored.position;
                let event = message(self.app.log.shard(), stored)?;
                return Some((Ok(event), self));
            }
            let page = self.app.log.read(self.after, EVENTS_A_PAGE).await.ok()?;
            if page.is_empty() {
                self.wait().await?;
            } else {
                self.page = page.into_iter();
            }
        }
    }

    /// Waits until the log has more, or it is time to check the token. `None`: nobody looks any more.
    async fn wait(&mut self) -> Option<()> {
        let after = self.after;
        let grown = self.end.wait_for(|end| *end > after);
        match tokio::time::timeout_at(self.check_at, grown).await {
            Ok(Ok(_)) | Err(_) => Some(()),
            Ok(Err(_)) => None,
        }
    }

    /// `None`: the token counts no more. A database that is away ends no stream by itself.
    async fn check(&mut self) -> Option<()> {
        self.check_at = Instant::now() + CHECK_EVERY;
        match self.app.tokens.check(&self.token).await {
            Ok(caller) if caller.role.may(Right::Read) => Some(()),
            Ok(_) | Err(TokenError::Invalid) => None,
            Err(TokenError::Unavailable(_) | TokenError::TimedOut { .. }) => Some(()),
        }
    }
}

/// An event as a message: `id` its place, `event` its name without the version, `data` the stored document.
fn message(shard: Shard, stored: Stored) -> Option<Event> {
    let place = Place {
        shard,
        position: stored.position,
    };
    let text = String::from_utf8(stored.body).ok()?;
    let name = type_name(&text).unwrap_or("message").to_owned();
    Some(Event::default().id(place.to_string()).event(name).data(text))
}

/// `KeyUsed` of `"type":"keyledger.KeyUsed.v1"`.
fn type_name(text: &str) -> Option<&str> {
    #[derive(serde::Deserialize)]
    struct Typed<'a> {
        r#type: &'a str,
    }
    let typed: Typed<'_> = serde_json::from_str(text).ok()?;
    let name = typed.r#type.strip_prefix("keyledger.")?;
    name.rsplit_once(".v").map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_stream_is_for_those_who_ask_for_it_first() {
        for (accept, expected) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8, */*", true),
            ("application/json, text/event-stream", false),
            ("*/*", false),
        ] {
            assert_eq!(is_wanted(&headers(ACCEPT, &[accept])), expected, "{accept}");
        }
        assert!(!is_wanted(&HeaderMap::new()));
    }

    #[test]
    fn a_reader_that_comes_back_says_where_it_was() {
        let last = |values: &[&'static str]| last_event(&headers(LAST_EVENT_ID, values), Shard(0));
        assert_eq!(last(&[]).unwrap(), None);
        assert_eq!(last(&[""]).unwrap(), None);
        assert_eq!(last(&["0:812"]).unwrap(), Some(Position(812)));
        for bad in [&["812"][..], &["1:812"], &["0:-1"], &["0:1", "0:1"], &["0:01"]] {
            let problem = last(bad).unwrap_err();
            assert_eq!(problem.code(), "bad-position", "{bad:?}");
        }
    }

    #[test]
    fn a_message_is_named_as_the_event_is() {
        let text = r#"{"specversion":"1.0","type":"keyledger.CreditsCharged.v1","data":{"type":"x"}}"#;
        assert_eq!(type_name(text), Some("CreditsCharged"));
        assert_eq!(type_name("{}"), None);
    }
}
