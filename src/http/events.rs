//! The log itself: whole, an account's part, a key's part. The items are the stored documents, byte for byte.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use keyledger_events::{AccountId, KeyId, Position, Seq, Shard};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answered, Failure};
use super::as_of::AsOf;
use super::extract::{Allowed, InPath, InQuery, Page, Read};
use super::keys::{self, KeyBody};
use super::look::{in_this_log, read_cursor};
use super::place::Place;
use super::words::{FirstPosition, Limit};
use super::{App, cursor, event_stream, problems};
use crate::log::Stored;
use crate::problem::Problem;

/// A page of events, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventsBody {
    /// CloudEvents 1.0 documents, as they are stored, hashed and published.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Box<RawValue>>,
    /// Send this as `?cursor=` for the next page; `null` when these are the last events there are.
    next_cursor: Option<String>,
}

/// What happened to a key, or what it was.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum KeyHistoryBody {
    Events(EventsBody),
    Key(Box<KeyBody>),
}

/// Of the whole log.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LogPage {
    /// 0 unless said.
    #[param(value_type = Option<u16>, example = 0)]
    shard: Option<u16>,
    /// The first position to show; 1 unless said. Not together with `cursor`.
    #[param(value_type = Option<i64>, minimum = 1, example = 1)]
    from: Option<FirstPosition>,
    /// Items at once: 1 to 200, 50 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, example = 50)]
    limit: Option<Limit>,
    /// Go on from here: the `next_cursor` of the page before.
    cursor: Option<String>,
    /// Answer only from a log that has reached this place; a `Ledger-Position` that you were given, such as `0:812`.
    #[param(value_type = Option<String>, pattern = "^[0-9]+:[0-9]+$")]
    after: Option<Place>,
}

/// Where the log ends now: the answer is true there. 503 when the caller knows of a later place.
pub(super) async fn end_of_log(app: &App, after: Option<Place>) -> Result<Place, Problem> {
    let head = app.log.head().await?;
    if let Some(after) = after {
        in_this_log(app, after)?;
        if after.position > head.position {
            return Err(problems::view_behind());
        }
    }
    Ok(Place {
        shard: app.log.shard(),
        position: head.position,
    })
}

/// Writes a page of one event more than it shows, so that whether there is a next page needs no second question.
fn page<C: Serialize>(
    mut stored: Vec<Stored>,
    limit: u32,
    end: Place,
    scope: &str,
    next: impl Fn(&[Stored]) -> C,
) -> Result<Answered<EventsBody>, Problem> {
    // Events that came after the end was read belong to a later answer.
    stored.retain(|event| event.position <= end.position);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = stored.len() > limit;
    stored.truncate(limit);
    let next_cursor = if more {
        cursor::write(scope, &next(&stored))
    } else {
        None
    };
    let items = stored
        .into_iter()
        .map(|event| document(event.body))
        .collect::<Result<_, _>>()?;
    Ok(Answered::found(end, EventsBody { items, next_cursor }))
}

fn document(body: Vec<u8>) -> Result<Box<RawValue>, Problem> {
    String::from_utf8(body)
        .ok()
        .and_then(|text| RawValue::from_string(text).ok())
        .ok_or_else(|| {
            tracing::error!("the log holds an event that is not JSON");
            problems::internal()
        })
}

fn last(stored: &[Stored]) -> Position {
    stored.last().map_or(Position::START, |event| event.position)
}

/// Shows the log of a shard, the oldest event first.
///
/// With `Accept: text/event-stream` the answer has no end: every event after `Last-Event-ID`, or from `from` on, and then
/// those that come, each as it is stored, with its place as the message's `id` and its name as the message's `event`.
///
/// 200 a page, or a stream. 400 a cursor or a position that is none. 404 no such shard. 422 a parameter is not acceptable.
/// 503 the log has not reached `after`, or too many streams are open.
#[utoipa::path(get, path = "/v1/events", tag = "log", params(
    LogPage,
    ("Last-Event-ID" = Option<String>, Header, description = "Of a stream: the id of the last message that was received, such as `0:812`"),
), responses(
    (status = 200, description = "A page, or a stream.", content(
        (EventsBody = "application/json"),
        (String = "text/event-stream"),
    )),
    (status = 404, response = Problem),
))]
pub(super) async fn list_events(
    State(app): State<App>,
    caller: Allowed<Read>,
    headers: HeaderMap,
    InQuery(query): InQuery<LogPage>,
) -> Result<Response, Failure> {
    const SCOPE: &str = "events";
    if query.shard.is_some_and(|shard| Shard(shard) != app.log.shard()) {
        return Err(problems::not_found().into());
    }
    let after = match (query.from, read_cursor(query.cursor.as_deref(), SCOPE)?) {
        (Some(_), Some(_)) => return Err(problems::invalid_query("from", "from and cursor exclude each other").into()),
        (Some(from), None) => from.before(),
        (None, cursor) => cursor.unwrap_or(Position::START),
    };
    let end = end_of_log(&app, query.after).await?;
    if event_stream::is_wanted(&headers) {
        let after = event_stream::last_event(&headers, app.log.shard())?.unwrap_or(after);
        return Ok(event_stream::stream(&app, caller.shown(&headers)?, after).await?);
    }
    let limit = query.limit.unwrap_or(Limit::DEFAULT).get();
    let stored = app.log.read(after, limit + 1).await?;
    Ok(page(stored, limit, end, SCOPE, last)?.into_response())
}

/// Shows all events of an account, the oldest first.
///
/// 200 a page. 400 a cursor or a position that is none. 404 no such account. 422 a limit out of bounds. 503 the log has
/// not reached `after`.
#[utoipa::path(get, path = "/v1/accounts/{account}/events", tag = "log", params(Page), responses(
    (status = 200, description = "A page.", body = EventsBody),
))]
pub(super) async fn list_account_events(
    State(app): State<App>,
    _: Allowed<Read>,
    InPath(account): InPath<AccountId>,
    InQuery(query): InQuery<Page>,
) -> Result<Answered<EventsBody>, Failure> {
    let scope = format!("events {account}");
    let after: Seq = query.cursor(&scope)?.unwrap_or(Seq::START);
    let end = end_of_log(&app, query.after).await?;
    let stored = app.log.account_events(account, after, query.limit() + 1).await?;
    if stored.is_empty() && after == Seq::START {
        return Err(Problem::unknown_account().into());
    }
    // An account's events are numbered without a gap.
    let next = |shown: &[Stored]| Seq(after.0 + u64::try_from(shown.len()).unwrap_or_default());
    Ok(page(stored, query.limit(), end, &scope, next)?)
}

/// Of a key's history.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryPage {
    /// Items at once: 1 to 200, 50 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, example = 50)]
    limit: Option<Limit>,
    /// Go on from here: the `next_cursor` of the page before.
    cursor: Option<String>,
    /// Answer only from a log that has reached this place; a `Ledger-Position` that you were given, such as `0:812`.
    #[param(value_type = Option<String>, pattern = "^[0-9]+:[0-9]+$")]
    after: Option<Place>,
    /// Answer with the key instead, as it was at this time or after the event at this position, such as
    /// `2026-11-24T14:03:07Z` or `0:812`. Not together with `limit` or `cursor`.
    #[param(value_type = Option<String>)]
    as_of: Option<AsOf>,
}

/// Shows all events of a key, the oldest first: its making, its uses, what they cost, its end. With `as_of`, the key as it
/// was then.
///
/// 200 a page, or the key. 400 a cursor or a position that is none. 404 no such account or key, or not yet at `as_of`. 422 a
/// limit out of bounds, an `as_of` that is none or beside a page's parameters. 503 the log has not reached `after`.
#[utoipa::path(get, path = "/v1/accounts/{account}/keys/{key}/history", tag = "keys", params(HistoryPage), responses(
    (status = 200, description = "A page, or the key as it was.", body = KeyHistoryBody),
))]
pub(super) async fn key_history(
    State(app): State<App>,
    _: Allowed<Read>,
    InPath((account, key)): InPath<(AccountId, KeyId)>,
    InQuery(query): InQuery<HistoryPage>,
) -> Result<Answered<KeyHistoryBody>, Failure> {
    let scope = format!("history {account} {key}");
    if let Some(as_of) = query.as_of {
        if query.limit.is_some() || query.cursor.is_some() {
            return Err(problems::invalid_query("as_of", "as_of shows one key, not a page of its events").into());
        }
        end_of_log(&app, query.after).await?;
        return Ok(keys::key_then(&app, account, key, as_of)
            .await?
            .map(|key| KeyHistoryBody::Key(Box::new(key))));
    }
    let after = read_cursor(query.cursor.as_deref(), &scope)?.unwrap_or(Position::START);
    let limit = query.limit.unwrap_or(Limit::DEFAULT).get();
    let end = end_of_log(&app, query.after).await?;
    let stored = app.log.key_events(account, key, after, limit + 1).await?;
    if stored.is_empty() && after == Position::START {
        return Err(Problem::unknown_key().into());
    }
    Ok(page(stored, limit, end, &scope, last)?.map(KeyHistoryBody::Events))
}
