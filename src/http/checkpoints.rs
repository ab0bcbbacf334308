//! Checkpoints and proofs as JSON, for programs that have no use for tiles.

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyledger_events::{Position, Shard};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answered, Failure};
use super::extract::{Allowed, InQuery, Read};
use super::look::read_cursor;
use super::place::Place;
use super::words::Limit;
use super::{App, cursor, problems};
use crate::audit::merkle::Hash;
use crate::audit::proof::{Proof, prove};
use crate::audit::tree::{SealedCheckpoint, StoreError, TreeError};
use crate::problem::Problem;

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        match error {
            StoreError::Unreachable(_) | StoreError::TimedOut { .. } => {
                tracing::warn!(%error, "the sealed tree could not be read");
                problems::unavailable()
            }
            StoreError::Corrupt { .. } => {
                tracing::error!(%error, "the sealed tree could not be read");
                problems::internal()
            }
        }
    }
}

impl From<TreeError> for Problem {
    fn from(error: TreeError) -> Problem {
        match error {
            TreeError::Log(error) => error.into(),
            TreeError::Store(error) => error.into(),
            TreeError::Beyond { .. } => problems::not_found(),
            TreeError::TileMissing { .. } | TreeError::EventMissing { .. } => {
                tracing::error!(%error, "the sealed tree is not whole; `keyledger audit log` says more");
                problems::internal()
            }
        }
    }
}

/// A signed statement of how a shard's log stands: its tree's size and root.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CheckpointBody {
    shard: u16,
    /// How many events are under it: the position of the last of them.
    size: u64,
    /// The root of the Merkle tree over them, as RFC 6962 has it, base64.
    #[schema(example = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")]
    root: String,
    /// The signed note, as C2SP `tlog-checkpoint` has it, with the signatures of witnesses.
    note: String,
    #[schema(example = "2026-11-24T14:03:07.123456Z")]
    made_at: String,
}

/// A page of checkpoints, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CheckpointsBody {
    items: Vec<CheckpointBody>,
    /// Send this as `?cursor=` for the next page; `null` when these are the last ones there are.
    next_cursor: Option<String>,
}

/// That an event is in the log, for whoever has the checkpoint's key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InclusionBody {
    position: u64,
    /// The leaf: SHA-256 of a zero byte and the event's canonical bytes, base64.
    leaf: String,
    /// The canonical bytes themselves.
    event: String,
    /// The hashes from the leaf up, as RFC 6962 section 2.1.1 has them, base64.
    path: Vec<String>,
    checkpoint: CheckpointBody,
}

/// That a later log begins with an earlier one.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConsistencyBody {
    from: CheckpointBody,
    to: CheckpointBody,
    /// The hashes of RFC 6962 section 2.1.2, base64.
    proof: Vec<String>,
}

fn body(shard: Shard, sealed: &SealedCheckpoint) -> CheckpointBody {
    CheckpointBody {
        shard: shard.0,
        size: sealed.size,
        root: STANDARD.encode(sealed.root),
        note: sealed.whole_note(),
        made_at: sealed.made_at.to_string(),
    }
}

fn texts(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| STANDARD.encode(hash)).collect()
}

fn in_this_log(app: &App, shard: Option<u16>) -> Result<(), Problem> {
    if shard.is_none_or(|shard| Shard(shard) == app.tree.shard()) {
        Ok(())
    } else {
        Err(problems::not_found())
    }
}

fn place(app: &App, position: u64) -> Place {
    Place {
        shard: app.tree.shard(),
        position: Position(position),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckpointPage {
    /// 0 unless said.
    shard: Option<u16>,
    /// Those of at least so many events; all unless said. Not together with `cursor`.
    #[param(minimum = 1)]
    from: Option<u64>,
    /// Items at once: 1 to 200, 50 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, example = 50)]
    limit: Option<Limit>,
    /// Go on from here: the `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists the checkpoints that were signed, the oldest first.
///
/// 200 a page. 400 a cursor that is none. 404 no such shard.
#[utoipa::path(get, path = "/v1/checkpoints", tag = "proof", params(CheckpointPage), responses(
    (status = 200, description = "A page.", body = CheckpointsBody),
    (status = 404, response = Problem),
))]
pub(super) async fn list_checkpoints(
    State(app): State<App>,
    _: Allowed<Read>,
    InQuery(query): InQuery<CheckpointPage>,
) -> Result<Answered<CheckpointsBody>, Failure> {
    const SCOPE: &str = "checkpoints";
    in_this_log(&app, query.shard)?;
    let after = match (query.from, read_cursor(query.cursor.as_deref(), SCOPE)?) {
        (Some(_), Some(_)) => return Err(problems::invalid_query("from", "from and cursor exclude each other").into()),
        (Some(from), None) => from.saturating_sub(1),
        (None, cursor) => cursor.unwrap_or(0),
    };
    let limit = query.limit.unwrap_or(Limit::DEFAULT).get();
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = app
        .tree
        .store()
        .checkpoints(after, limit + 1)
        .await
        .map_err(Problem::from)?;
    let more = found.len() > shown;
    found.truncate(shown);
    let next_cursor = found
        .last()
        .filter(|_| more)
        .and_then(|last| cursor::write(SCOPE, &last.size));
    let items = found.iter().map(|sealed| body(app.tree.shard(), sealed)).collect();
    Ok(Answered::plain(CheckpointsBody { items, next_cursor }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct OneShard {
    /// 0 unless said.
    shard: Option<u16>,
}

/// Shows the newest checkpoint.
///
/// 200 it. 404 no such shard, or nothing is sealed yet.
#[utoipa::path(get, path = "/v1/checkpoints/latest", tag = "proof", params(OneShard), responses(
    (status = 200, description = "The newest checkpoint.", body = CheckpointBody),
    (status = 404, response = Problem),
))]
pub(super) async fn latest_checkpoint(
    State(app): State<App>,
    _: Allowed<Read>,
    InQuery(query): InQuery<OneShard>,
) -> Result<Answered<CheckpointBody>, Failure> {
    in_this_log(&app, query.shard)?;
    let latest = newest(&app).await?;
    Ok(Answered::found(
        place(&app, latest.size),
        body(app.tree.shard(), &latest),
    ))
}

async fn newest(app: &App) -> Result<SealedCheckpoint, Problem> {
    app.tree.store().latest().await?.ok_or_else(problems::not_sealed)
}

/// The checkpoint of exactly that size.
async fn of_size(app: &App, field: &'static str, size: u64) -> Result<SealedCheckpoint, Problem> {
    let found = app.tree.store().covering(size).await?;
    found
        .filter(|sealed| sealed.size == size)
        .ok_or_else(|| problems::invalid_query(field, "is the size of no checkpoint; /v1/checkpoints lists them"))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct InclusionOf {
    /// 0 unless said.
    shard: Option<u16>,
    /// The event's position.
    #[param(minimum = 1)]
    position: u64,
    /// Under the checkpoint of this size; under the newest unless said.
    #[param(minimum = 1)]
    size: Option<u64>,
}

/// Proves that an event is in the log.
///
/// 200 the proof, with the event and a checkpoint. 404 no such shard, or no event there that is sealed. 422 `size` is of no checkpoint.
#[utoipa::path(get, path = "/v1/proofs/inclusion", tag = "proof", params(InclusionOf), responses(
    (status = 200, description = "The proof.", body = InclusionBody),
    (status = 404, response = Problem),
))]
pub(super) async fn prove_inclusion(
    State(app): State<App>,
    _: Allowed<Read>,
    InQuery(query): InQuery<InclusionOf>,
) -> Result<Answered<InclusionBody>, Failure> {
    in_this_log(&app, query.shard)?;
    let sealed = match query.size {
        Some(size) => of_size(&app, "size", size).await?,
        None => newest(&app).await?,
    };
    let place = place(&app, sealed.size);
    let proof = prove(&app.tree, Position(query.position), sealed)
        .await
        .map_err(Problem::from)?;
    let proof = proof.ok_or_else(problems::not_sealed)?;
    Ok(Answered::found(place, inclusion(app.tree.shard(), &proof)?))
}

fn inclusion(shard: Shard, proof: &Proof) -> Result<InclusionBody, Problem> {
    Ok(InclusionBody {
        position: proof.position.0,
        leaf: STANDARD.encode(proof.leaf),
        event: String::from_utf8(proof.event.clone()).map_err(|_| problems::internal())?,
        path: texts(&proof.path),
        checkpoint: body(shard, &proof.checkpoint),
    })
}

/// A proof as `GET /v1/proofs/inclusion` answers with it.
pub(crate) fn inclusion_json(shard: Shard, proof: &Proof) -> Option<String> {
    serde_json::to_string(&inclusion(shard, proof).ok()?).ok()
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsistencyOf {
    /// 0 unless said.
    shard: Option<u16>,
    /// The size of the earlier checkpoint.
    #[param(minimum = 1)]
    from: u64,
    /// The size of the later one; of the newest unless said.
    #[param(minimum = 1)]
    to: Option<u64>,
}

/// Proves that a later log begins with an earlier one.
///
/// 200 the proof, with both checkpoints. 404 no such shard, or nothing is sealed yet. 422 a size of no checkpoint.
#[utoipa::path(get, path = "/v1/proofs/consistency", tag = "proof", params(ConsistencyOf), responses(
    (status = 200, description = "The proof.", body = ConsistencyBody),
    (status = 404, response = Problem),
))]
pub(super) async fn prove_consistency(
    State(app): State<App>,
    _: Allowed<Read>,
    InQuery(query): InQuery<ConsistencyOf>,
) -> Result<Answered<ConsistencyBody>, Failure> {
    in_this_log(&app, query.shard)?;
    let to = match query.to {
        Some(size) => of_size(&app, "to", size).await?,
        None => newest(&app).await?,
    };
    let from = of_size(&app, "from", query.from).await?;
    if from.size > to.size {
        return Err(problems::invalid_query("from", "is at most `to`").into());
    }
    let proof = app.tree.consistency(from.size, to.size).await.map_err(Problem::from)?;
    let place = place(&app, to.size);
    let proof = ConsistencyBody {
        from: body(app.tree.shard(), &from),
        to: body(app.tree.shard(), &to),
        proof: texts(&proof),
    };
    Ok(Answered::found(place, proof))
}
