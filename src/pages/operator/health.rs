//! How the installation stands, shard by shard.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use keyledger_events::Timestamp;

use super::Operator;
use super::standing::{LookoutError, ProjectionStanding, ShardStanding};
use crate::clock;
use crate::pages::Pages;
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Frame, Root};
use crate::pages::moment::{Moment, thousands};

/// A reader of the log, as a line says how it stands.
struct Reader {
    name: String,
    position: String,
    behind: String,
    last: Option<Moment>,
    /// What is wrong, if anything is.
    wrong: Option<String>,
    since: Option<Moment>,
    level: bool,
}

struct Shard {
    number: u16,
    head: String,
    last: Option<Moment>,
    readers: Vec<Reader>,
}

#[derive(Template)]
#[template(path = "operator_health.html")]
struct HealthPage<'a> {
    frame: Frame<'a>,
    shards: Vec<Shard>,
    wrong: usize,
    asked: Moment,
}

impl From<LookoutError> for Fault {
    fn from(error: LookoutError) -> Fault {
        match error {
            LookoutError::Log(error) => error.into(),
            LookoutError::Views(error) => error.into(),
        }
    }
}

/// A moment, or none before the first event.
fn moment(at: Timestamp, now: Timestamp) -> Option<Moment> {
    (at != Timestamp::EPOCH).then(|| Moment::new(at, now))
}

fn relay(shard: &ShardStanding) -> Reader {
    let relay = &shard.relay;
    let away = relay
        .position
        .is_none()
        .then(|| "The bus cannot be asked. The views hear a moment later.".to_owned());
    Reader {
        name: "relay".to_owned(),
        position: relay.position.map_or("?".to_owned(), |at| thousands(at.0)),
        behind: relay.position.map_or("?".to_owned(), |at| thousands(shard.behind(at))),
        last: None,
        wrong: relay.fault.clone().or(away),
        since: None,
        level: relay.position.is_some_and(|at| shard.behind(at) == 0),
    }
}

fn projection(shard: &ShardStanding, of: &ProjectionStanding, now: Timestamp) -> Reader {
    Reader {
        name: of.name.clone(),
        position: thousands(of.checkpoint.0),
        behind: thousands(shard.behind(of.checkpoint)),
        last: moment(of.recorded_at, now),
        wrong: of.halted.as_ref().map(|halted| halted.reason.clone()),
        since: of.halted.as_ref().map(|halted| Moment::new(halted.since, now)),
        level: shard.behind(of.checkpoint) == 0,
    }
}

/// How everything stands. 200. 401 no operator. 503 the database cannot be asked.
pub(super) async fn show(State(pages): State<Pages>, operator: Operator, root: Root) -> Result<Response, Fault> {
    let standing = pages.lookout.look().await?;
    let now = clock::now();
    let shard = |shard: &ShardStanding| Shard {
        number: shard.shard.0,
        head: thousands(shard.head.position.0),
        last: moment(shard.head.recorded_at, now),
        readers: std::iter::once(relay(shard))
            .chain(shard.projections.iter().map(|of| projection(shard, of, now)))
            .collect(),
    };
    let shards: Vec<Shard> = standing.iter().map(shard).collect();
    let readers = shards.iter().flat_map(|shard| &shard.readers);
    let shown = HealthPage {
        frame: operator.frame(&pages, root, "health", "Health"),
        wrong: readers.filter(|reader| reader.wrong.is_some()).count(),
        shards,
        asked: Moment::new(now, now),
    };
    page(StatusCode::OK, &shown)
}
