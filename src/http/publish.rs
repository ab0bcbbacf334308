//! Publishing price books, and looking at those that were.

use axum::extract::State;
use keyledger_events::{AccountId, Actor, Event, PricesPublished, PublishedPrice, Recorded, Seq, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answer::{Answered, Failure, List, refused};
use super::extract::{
    Allowed, Grant, IdempotencyKey, InPath, InQuery, Json, Page, PathId, Read, Scope, Wrong, from_json,
};
use super::place::Place;
use super::prices::PriceBookBody;
use super::{App, cursor, problems};
use crate::ledger::PublishPrices;
use crate::log::Stored;
use crate::prices::{Complaint, PriceBook, PriceEntry, QuantityEntry, SettleAt, publishable, read_published};
use crate::problem::Problem;

/// A book to publish, whole: what is not in it has no price any more.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishBody {
    /// From when on it holds; now, unless said. At most a minute ago, which means now.
    #[schema(value_type = Option<String>, format = DateTime, example = "2027-01-01T00:00:00Z")]
    valid_from: Option<Timestamp>,
    /// In the order in which they are searched: the first that matches decides. At most 1,000, and 60 KiB.
    #[schema(value_type = Vec<PriceEntryBody>)]
    prices: Vec<Box<RawValue>>,
}

/// A price, in the words of the config file's `[[prices]]`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PriceEntryBody {
    /// The name in events, statements and charts.
    #[schema(example = "ai_visibility")]
    endpoint: String,
    /// `ANY` for every method; `{name}` is one segment, `{*name}` the rest.
    #[serde(rename = "match")]
    #[schema(example = "GET /ai-visibility/{*rest}")]
    pattern: String,
    /// Credits a unit.
    #[schema(example = "0.5")]
    price: String,
    /// `request`, unless said.
    #[schema(example = "conversation")]
    unit: Option<String>,
    /// One a request, unless said.
    quantity: Option<QuantityBody>,
    /// Units that are held for before; needed where they are counted, and 1 where they are not.
    #[schema(example = 50)]
    quantity_max: Option<u64>,
    /// What becomes of units beyond those: `shortfall`, unless said, or `top-up`.
    #[schema(example = "top-up")]
    when_more: Option<String>,
    /// `path`: a key pays once a day for what stands at one path.
    #[schema(example = "path")]
    once_per: Option<String>,
    /// Calls a second of one key through the gateway.
    #[schema(example = 10)]
    rate_per_second: Option<u64>,
    /// Calls at once; as many as a second allows, unless said.
    #[schema(example = 20)]
    rate_burst: Option<u64>,
    /// `later`, unless said, or `at-once`.
    #[schema(example = "later")]
    settle: Option<String>,
    /// The gateway's upstream that answers.
    upstream: Option<String>,
}

/// Where the units of an answer are counted: one of both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QuantityBody {
    /// The name of a header of the answer.
    #[schema(example = "X-Result-Count")]
    header: Option<String>,
    /// A JSON pointer into its body: a number, or an array that is counted.
    #[schema(example = "/conversations")]
    json: Option<String>,
}

/// As the log, the bus and a process that decides for others take it in one piece, with room. A thousand prices of the usual
/// length have 120 KiB.
/// With its envelope an event is at most 65,535 bytes: what C2SP `tlog-tiles` has room for.
const BOOK_BYTES_MAX: usize = 60 << 10;
const PRICES_MAX: usize = 1_000;

fn in_prices(index: usize, field: Option<&str>, detail: &str) -> Problem {
    let field = field.map_or_else(
        || format!("prices[{index}]"),
        |field| format!("prices[{index}].{field}"),
    );
    problems::invalid_prices(&field, detail)
}

fn entry(index: usize, text: &RawValue) -> Result<PriceEntry, Problem> {
    let read: Result<PriceEntryBody, Wrong> = from_json(text.get().as_bytes());
    let body = read.map_err(|wrong| in_prices(index, wrong.field.as_deref(), &wrong.detail))?;
    let quantity = match body.quantity {
        None => QuantityEntry::Fixed,
        Some(QuantityBody {
            header: Some(name),
            json: None,
        }) => QuantityEntry::Header(name),
        Some(QuantityBody {
            header: None,
            json: Some(pointer),
        }) => QuantityEntry::Json(pointer),
        Some(_) => return Err(in_prices(index, Some("quantity"), "is one of `header` and `json`")),
    };
    let settle = body
        .settle
        .as_deref()
        .map_or(Some(SettleAt::default()), SettleAt::parse);
    Ok(PriceEntry {
        endpoint: body.endpoint,
        pattern: body.pattern,
        price: body.price,
        unit: body.unit.unwrap_or_else(|| "request".to_owned()),
        quantity,
        quantity_max: body.quantity_max,
        upstream: body.upstream,
        when_more: body.when_more,
        once_per: body.once_per,
        rate_per_second: body.rate_per_second,
        rate_burst: body.rate_burst,
        settle: settle.ok_or_else(|| in_prices(index, Some("settle"), "is \"at-once\" or \"later\""))?,
    })
}

/// Reads a book as the config file's is read, and says the first fault that there is.
fn read(app: &App, prices: &[Box<RawValue>]) -> Result<Vec<PublishedPrice>, Problem> {
    if prices.len() > PRICES_MAX {
        return Err(problems::invalid_prices("prices", "has at most 1000 entries"));
    }
    let entries = prices.iter().enumerate().map(|(index, text)| entry(index, text));
    let entries: Vec<PriceEntry> = entries.collect::<Result<_, _>>()?;
    if let Some(names) = &app.upstreams {
        for (index, entry) in entries.iter().enumerate() {
            if let Some(what) = names.fault(entry.upstream.as_deref()) {
                return Err(in_prices(index, Some("upstream"), what));
            }
        }
    }
    let prices = publishable(&entries).map_err(|complaints| match complaints.into_iter().next() {
        Some(Complaint { entry, field, what }) => in_prices(entry.saturating_sub(1), Some(field), &what),
        None => problems::internal(),
    })?;
    let bytes = serde_json::to_vec(&prices).map_err(|_| problems::internal())?;
    if bytes.len() > BOOK_BYTES_MAX {
        return Err(problems::invalid_prices("prices", "all together are at most 60 KiB"));
    }
    Ok(prices)
}

/// What names a repeated request.
#[derive(Serialize)]
struct Named<'a> {
    valid_from: Option<Timestamp>,
    prices: &'a [PublishedPrice],
}

/// Publishes a whole price book. From its moment on it holds for everything new, in every process alike, in the place of the
/// config file's prices and of all books that were published before; what is held already keeps its price. A book that
/// would hold from the same moment or a later one, and was published before, never holds.
///
/// 200 published; again with `Idempotent-Replayed: true` when this key came with this request before. 400 an
/// `Idempotency-Key` that cannot be taken. 409 ten books are to come already. 422 a price cannot be used: `field` names it,
/// such as `prices[3].match`; or `valid_from` is past, or the key came with another request. 503 nothing was written, or its
/// outcome is unknown: send it again with the same key.
#[utoipa::path(
    put, path = "/v1/prices", tag = "prices", request_body = PublishBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; remembered for 24 h")),
    responses((status = 200, description = "Published.", body = PriceBookBody), (status = 409, response = Problem))
)]
pub(super) async fn publish_prices(
    State(app): State<App>,
    caller: Allowed<Grant>,
    key: IdempotencyKey,
    Json(body): Json<PublishBody>,
) -> Result<Answered<PriceBookBody>, Failure> {
    let prices = read(&app, &body.prices)?;
    let scope = Scope {
        token: caller.caller.token,
        account: AccountId::SYSTEM,
        route: "prices",
    };
    let named = Named {
        valid_from: body.valid_from,
        prices: &prices,
    };
    let by = caller.by_command(key.command_id(scope, &named)?);
    let command = PublishPrices {
        prices: prices.clone(),
        valid_from: body.valid_from,
    };
    let answer = app.ledger.submit(command, by).await.map_err(refused)?;
    // Here at once; where it cannot be read just now, the ledger's word keeps the other book from being used.
    if let Err(error) = app.prices.refresh().await {
        tracing::debug!(%error, "a book that was published is read later");
    }
    let book = book_of(&prices, answer.reply.version)?;
    Ok(Answered::done(answer, |published| {
        PriceBookBody::published(published.version, published.valid_from, published.published_at, &book)
    }))
}

fn book_of(prices: &[PublishedPrice], version: u64) -> Result<PriceBook, Problem> {
    read_published(prices, version).map_err(|_| {
        tracing::error!(version, "a published price book cannot be read by this version");
        problems::internal()
    })
}

/// A book that was published, without its prices.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PriceVersionRow {
    #[schema(example = 3)]
    version: u64,
    /// A book that was published later and held from then on or before took its place.
    #[schema(value_type = String, format = DateTime)]
    valid_from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    published_at: Timestamp,
    #[schema(value_type = String, example = "tok_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    published_by: Actor,
    /// How many prices it has.
    #[schema(example = 12)]
    prices: usize,
    /// Where the log says so.
    #[schema(value_type = String, example = "0:812")]
    position: Place,
}

fn decoded(stored: &Stored) -> Result<Option<(Recorded, PricesPublished)>, Problem> {
    let mut recorded = stored.decode().map_err(|error| {
        tracing::error!(position = %stored.position, %error, "an event cannot be read");
        problems::internal()
    })?;
    Ok(if let Event::PricesPublished(published) = &mut recorded.event {
        let published = PricesPublished {
            prices: std::mem::take(&mut published.prices),
            ..*published
        };
        Some((recorded, published))
    } else {
        None
    })
}

/// Lists the books that were published, the oldest first.
///
/// 200 a page. 400 a cursor or a position that is none. 422 a limit out of bounds. 503 the log has not reached `after`.
#[utoipa::path(get, path = "/v1/prices/versions", tag = "prices", params(Page), responses(
    (status = 200, description = "A page.", body = List<PriceVersionRow>),
))]
pub(super) async fn list_price_versions(
    State(app): State<App>,
    _: Allowed<Read>,
    InQuery(page): InQuery<Page>,
) -> Result<Answered<List<PriceVersionRow>>, Failure> {
    const SCOPE: &str = "prices";
    let after: Seq = page.cursor(SCOPE)?.unwrap_or(Seq::START);
    let end = super::events::end_of_log(&app, page.after).await?;
    let mut stored = app.log.price_books(after, page.limit() + 1).await?;
    stored.retain(|event| event.position <= end.position);
    let limit = usize::try_from(page.limit()).unwrap_or(usize::MAX);
    let more = stored.len() > limit;
    stored.truncate(limit);
    let (mut items, mut last) = (Vec::with_capacity(stored.len()), after);
    for event in &stored {
        let Some((recorded, published)) = decoded(event)? else {
            continue;
        };
        last = recorded.seq;
        items.push(PriceVersionRow {
            version: published.version,
            valid_from: published.valid_from,
            published_at: recorded.time,
            published_by: recorded.actor,
            prices: published.prices.len(),
            position: Place {
                shard: recorded.shard,
                position: recorded.position,
            },
        });
    }
    let next_cursor = if more { cursor::write(SCOPE, &last) } else { None };
    Ok(Answered::found(end, List { items, next_cursor }))
}

/// A version in the path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version(u64);

impl std::str::FromStr for Version {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Version, Self::Err> {
        text.parse().map(Version)
    }
}

impl PathId for Version {
    const NAME: &'static str = "version";

    fn unknown() -> Problem {
        problems::unknown_prices()
    }
}

/// Events read at once while a version is looked for.
const LOOKED_AT: u32 = 8;

/// Shows a book that was published.
///
/// 200 the book. 404 no book has this version. 503 the log cannot be read.
#[utoipa::path(get, path = "/v1/prices/versions/{version}", tag = "prices",
    params(("version" = u64, Path, example = 3)),
    responses((status = 200, description = "The book.", body = PriceBookBody))
)]
pub(super) async fn show_price_version(
    State(app): State<App>,
    _: Allowed<Read>,
    InPath(Version(version)): InPath<Version>,
) -> Result<Answered<PriceBookBody>, Failure> {
    let end = super::events::end_of_log(&app, None).await?;
    // A book is an event of a history: no version stands before its own number.
    let mut after = Seq(version.saturating_sub(1));
    loop {
        let stored = app.log.price_books(after, LOOKED_AT).await?;
        if stored.is_empty() || version == 0 {
            return Err(problems::unknown_prices().into());
        }
        for event in &stored {
            match decoded(event)? {
                Some((recorded, published)) if published.version == version => {
                    let book = book_of(&published.prices, version)?;
                    let body = PriceBookBody::published(version, published.valid_from, recorded.time, &book);
                    return Ok(Answered::found(end, body));
                }
                Some((recorded, published)) if published.version < version => after = recorded.seq,
                Some(_) | None => return Err(problems::unknown_prices().into()),
            }
        }
    }
}
