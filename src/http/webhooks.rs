//! Who is told of what happens by webhook, and what became of each message.

use std::str::FromStr;

use axum::extract::State;
use keyledger_events::{AccountId, Timestamp, TokenId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answered, Failure, List};
use super::extract::{Allowed, IdempotencyKey, InPath, InQuery, Json, Manage, PathId, Read, Scope};
use super::look::read_cursor;
use super::words::Limit;
use super::{App, cursor, problems};
use crate::clock;
use crate::problem::{Problem, UNKNOWN_DELIVERY, UNKNOWN_WEBHOOK};
use crate::requests::Came;
use crate::webhooks::{AttemptMade, DeliveriesAway, Delivery, DeliverySearch, DeliveryState, Receiver};

/// A receiver's name in a path. Of any form: one that nobody has is not found.
#[derive(Debug)]
pub(super) struct ReceiverName(String);

/// A message's `webhook-id` in a path.
#[derive(Debug)]
pub(super) struct MessageId(String);

macro_rules! any_text {
    ($name:ident, $in_path:literal, $unknown:ident, $detail:literal) => {
        impl FromStr for $name {
            type Err = std::convert::Infallible;

            fn from_str(text: &str) -> Result<$name, std::convert::Infallible> {
                Ok($name(text.replace('\0', "")))
            }
        }

        impl PathId for $name {
            const NAME: &'static str = $in_path;

            fn unknown() -> Problem {
                Problem::new($unknown, $detail)
            }
        }
    };
}

any_text!(ReceiverName, "receiver", UNKNOWN_WEBHOOK, "no receiver has this name");
any_text!(
    MessageId,
    "message",
    UNKNOWN_DELIVERY,
    "the receiver has no delivery with this id"
);

impl From<DeliveriesAway> for Problem {
    fn from(error: DeliveriesAway) -> Problem {
        match error {
            DeliveriesAway::Unreachable(error) => {
                tracing::warn!(%error, "the delivery log cannot be asked");
                problems::unavailable()
            }
            DeliveriesAway::Corrupt(error) => {
                tracing::error!(%error, "the delivery log cannot be read");
                problems::internal()
            }
        }
    }
}

/// A receiver, as the config file names it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookBody {
    #[schema(example = "billing")]
    name: String,
    /// Without its query.
    #[schema(example = "https://billing.example.com/hooks/keyledger")]
    url: String,
    /// The kinds of message that it is told of.
    #[schema(example = json!(["credits.threshold_reached", "key.leaked"]))]
    events: Vec<String>,
    /// Messages that were not taken yet.
    #[schema(example = 0)]
    waiting: u64,
    /// Since when it takes nothing; `null` while it does.
    #[schema(value_type = Option<String>, format = DateTime)]
    failing_since: Option<Timestamp>,
    /// Attempts in a row that came to nothing.
    #[schema(example = 0)]
    failures: u32,
    /// When it is tried again.
    #[schema(value_type = Option<String>, format = DateTime)]
    retry_at: Option<Timestamp>,
}

impl From<Receiver> for WebhookBody {
    fn from(receiver: Receiver) -> WebhookBody {
        WebhookBody {
            name: receiver.name,
            url: receiver.url,
            events: receiver.kinds,
            waiting: receiver.waiting,
            failing_since: receiver.failing_since,
            failures: receiver.failures,
            retry_at: receiver.retry_at,
        }
    }
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DeliveryStateWord {
    /// It is tried until it is taken, for three days.
    Waiting,
    Delivered,
    /// Not taken within three days, or answered with 410. It can be replayed.
    GivenUp,
}

impl From<DeliveryState> for DeliveryStateWord {
    fn from(state: DeliveryState) -> DeliveryStateWord {
        match state {
            DeliveryState::Waiting => DeliveryStateWord::Waiting,
            DeliveryState::Delivered => DeliveryStateWord::Delivered,
            DeliveryState::GivenUp => DeliveryStateWord::GivenUp,
        }
    }
}

impl From<DeliveryStateWord> for DeliveryState {
    fn from(word: DeliveryStateWord) -> DeliveryState {
        match word {
            DeliveryStateWord::Waiting => DeliveryState::Waiting,
            DeliveryStateWord::Delivered => DeliveryState::Delivered,
            DeliveryStateWord::GivenUp => DeliveryState::GivenUp,
        }
    }
}

/// An attempt to deliver.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttemptBody {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Milliseconds.
    #[schema(example = 12)]
    took_ms: u32,
    /// Of the answer; `null` when there was none.
    #[schema(example = 200)]
    status: Option<u16>,
    /// Why there was no answer.
    error: Option<String>,
}

impl From<AttemptMade> for AttemptBody {
    fn from(attempt: AttemptMade) -> AttemptBody {
        AttemptBody {
            at: attempt.at,
            took_ms: attempt.took_ms,
            status: attempt.status,
            error: attempt.error,
        }
    }
}

/// A message to a receiver.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryBody {
    /// Its `webhook-id`: of an event in the log, that event's id.
    #[schema(example = "01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: String,
    #[schema(example = "billing")]
    receiver: String,
    #[schema(example = "credits.threshold_reached")]
    r#type: String,
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    state: DeliveryStateWord,
    #[schema(value_type = String, format = DateTime)]
    queued_at: Timestamp,
    /// Attempts so far.
    #[schema(example = 1)]
    attempts: u32,
    /// When it is tried next, unless the receiver is away until later.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_at: Option<Timestamp>,
    /// When it was delivered or given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    last_attempt: Option<AttemptBody>,
}

impl From<Delivery> for DeliveryBody {
    fn from(delivery: Delivery) -> DeliveryBody {
        DeliveryBody {
            id: delivery.message,
            receiver: delivery.receiver,
            r#type: delivery.kind,
            account: delivery.account,
            state: delivery.state.into(),
            queued_at: delivery.queued_at,
            attempts: delivery.attempts,
            next_at: delivery.next_at,
            ended_at: delivery.ended_at,
            last_attempt: delivery.last.map(AttemptBody::from),
        }
    }
}

/// A message, what it says, and every attempt.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WholeDeliveryBody {
    #[serde(flatten)]
    delivery: DeliveryBody,
    /// What is sent, to the letter.
    #[schema(value_type = Object)]
    body: Box<RawValue>,
    /// The first one first.
    attempts_made: Vec<AttemptBody>,
}

/// Of the deliveries of a receiver.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DeliveryPage {
    /// Only those in this state.
    #[param(value_type = Option<DeliveryStateWord>, inline)]
    state: Option<DeliveryStateWord>,
    /// Items at once: 1 to 200, 50 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, example = 50)]
    limit: Option<Limit>,
    /// Go on from here: the `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Which messages to send again.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayBody {
    /// Those that were queued at this moment or later.
    #[schema(value_type = String, format = DateTime, example = "2026-11-29T00:00:00Z")]
    from: Timestamp,
    /// And before this one.
    #[schema(value_type = String, format = DateTime, example = "2026-11-30T00:00:00Z")]
    to: Timestamp,
}

/// A message that is sent again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AgainBody {
    #[schema(example = "01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: String,
    #[schema(example = "billing")]
    receiver: String,
    /// From when on it is tried, for three days.
    #[schema(value_type = String, format = DateTime)]
    queued_at: Timestamp,
}

/// How many are sent again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReplayedBody {
    #[schema(example = 3)]
    replayed: u64,
}

/// Lists who is told of what happens, and how each of them stands.
///
/// 200 all receivers that a config file has named, by name.
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", responses(
    (status = 200, description = "All receivers.", body = List<WebhookBody>),
))]
pub(super) async fn list_webhooks(
    State(app): State<App>,
    _: Allowed<Read>,
) -> Result<Answered<List<WebhookBody>>, Failure> {
    let receivers = app.deliveries.receivers().await?;
    Ok(Answered::plain(List {
        items: receivers.into_iter().map(WebhookBody::from).collect(),
        next_cursor: None,
    }))
}

/// Lists a receiver's deliveries, the newest first. What was delivered is kept for 90 days.
///
/// 200 a page. 400 a cursor that is none. 404 no such receiver. 422 a parameter is not acceptable.
#[utoipa::path(get, path = "/v1/webhooks/{receiver}/deliveries", tag = "webhooks", params(
    ("receiver" = String, Path, description = "A receiver's name"), DeliveryPage
), responses(
    (status = 200, description = "A page.", body = List<DeliveryBody>),
))]
pub(super) async fn list_deliveries(
    State(app): State<App>,
    _: Allowed<Read>,
    InPath(receiver): InPath<ReceiverName>,
    InQuery(query): InQuery<DeliveryPage>,
) -> Result<Answered<List<DeliveryBody>>, Failure> {
    let scope = format!("deliveries {}", receiver.0);
    let limit = query.limit.unwrap_or(Limit::DEFAULT).get();
    let search = DeliverySearch {
        receiver: Some(receiver.0.clone()),
        state: query.state.map(DeliveryState::from),
        before: read_cursor(query.cursor.as_deref(), &scope)?,
        limit,
    };
    let mut found = app.deliveries.list(&search).await?;
    if found.is_empty() && !app.deliveries.knows(&receiver.0).await? {
        return Err(ReceiverName::unknown().into());
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| last.number);
    Ok(Answered::plain(List {
        items: found.into_iter().map(DeliveryBody::from).collect(),
        next_cursor: next.and_then(|next| cursor::write(&scope, &next)),
    }))
}

/// Shows a delivery, what it says, and every attempt.
///
/// 200 the delivery. 404 no such receiver or delivery.
#[utoipa::path(get, path = "/v1/webhooks/{receiver}/deliveries/{message}", tag = "webhooks", params(
    ("receiver" = String, Path, description = "A receiver's name"),
    ("message" = String, Path, description = "A message's `webhook-id`"),
), responses(
    (status = 200, description = "The delivery.", body = WholeDeliveryBody),
))]
pub(super) async fn show_delivery(
    State(app): State<App>,
    _: Allowed<Read>,
    InPath((receiver, message)): InPath<(ReceiverName, MessageId)>,
) -> Result<Answered<WholeDeliveryBody>, Failure> {
    let found = app.deliveries.one(&receiver.0, &message.0).await?;
    let (mut delivery, attempts) = found.ok_or_else(MessageId::unknown)?;
    let body = RawValue::from_string(std::mem::take(&mut delivery.body));
    Ok(Answered::plain(WholeDeliveryBody {
        delivery: delivery.into(),
        body: body.map_err(|_| problems::internal())?,
        attempts_made: attempts.into_iter().map(AttemptBody::from).collect(),
    }))
}

/// The moment of a request, and whether it came before: then the moment at which it did.
async fn moment<B: Serialize>(
    app: &App,
    key: &IdempotencyKey,
    (token, route): (TokenId, &'static str),
    asked: &B,
) -> Result<(Timestamp, bool), Problem> {
    let (account, now) = (AccountId::SYSTEM, clock::now());
    let Some((scope, fingerprint)) = key.hashes(Scope { token, account, route }, asked)? else {
        return Ok((now, false));
    };
    match app.requests.note(&scope, &fingerprint, [0; 16], now).await? {
        Came::First => Ok((now, false)),
        Came::Again { at, .. } => Ok((at, true)),
        Came::Otherwise => Err(problems::idempotency_mismatch()),
    }
}

/// Sends a message again, with the same id and body; one that waits is tried at once. Where the receiver is away, it is
/// tried when that is tried.
///
/// 200 it is sent again; with `Idempotent-Replayed: true` when this key came with this request before. 400 an
/// `Idempotency-Key` that cannot be taken. 404 no such receiver or delivery. 422 the key came with another request. 503 try
/// again, which is safe with the same key.
#[utoipa::path(post, path = "/v1/webhooks/{receiver}/deliveries/{message}/replay", tag = "webhooks", params(
    ("receiver" = String, Path, description = "A receiver's name"),
    ("message" = String, Path, description = "A message's `webhook-id`"),
    ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h"),
), responses(
    (status = 200, description = "It is sent again.", body = AgainBody),
))]
pub(super) async fn replay_delivery(
    State(app): State<App>,
    caller: Allowed<Manage>,
    InPath((receiver, message)): InPath<(ReceiverName, MessageId)>,
    key: IdempotencyKey,
) -> Result<Answered<AgainBody>, Failure> {
    let asked = (&receiver.0, &message.0);
    let (at, again) = moment(&app, &key, (caller.caller.token, "replay-delivery"), &asked).await?;
    if !app.deliveries.replay(&receiver.0, &message.0, at).await? {
        return Err(MessageId::unknown().into());
    }
    let body = AgainBody {
        id: message.0,
        receiver: receiver.0,
        queued_at: at,
    };
    Ok(Answered::plain(body).replayed(again))
}

/// Sends all messages to a receiver again that were queued in a span of time: after it lost what it had.
///
/// 200 how many; with `Idempotent-Replayed: true` when this key came with this request before. 400 an `Idempotency-Key` that
/// cannot be taken. 404 no such receiver. 422 a member is not acceptable, or the key came with another request. 503 try
/// again, which is safe with the same key.
#[utoipa::path(post, path = "/v1/webhooks/{receiver}/replay", tag = "webhooks", request_body = ReplayBody, params(
    ("receiver" = String, Path, description = "A receiver's name"),
    ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h"),
), responses(
    (status = 200, description = "They are sent again.", body = ReplayedBody),
))]
pub(super) async fn replay_deliveries(
    State(app): State<App>,
    caller: Allowed<Manage>,
    InPath(receiver): InPath<ReceiverName>,
    key: IdempotencyKey,
    Json(body): Json<ReplayBody>,
) -> Result<Answered<ReplayedBody>, Failure> {
    if body.to <= body.from {
        return Err(problems::invalid_body("to", "to: must be after from").into());
    }
    let asked = (&receiver.0, &body);
    let (at, again) = moment(&app, &key, (caller.caller.token, "replay-deliveries"), &asked).await?;
    let replayed = app
        .deliveries
        .replay_between(&receiver.0, (body.from, body.to), at)
        .await?;
    let replayed = replayed.ok_or_else(ReceiverName::unknown)?;
    Ok(Answered::plain(ReplayedBody { replayed }).replayed(again))
}
