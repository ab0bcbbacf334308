//! Replay: what an account was at any moment or position.
//!
//! In: the account's events. Out: its state of then, in the rows that the views show of now.
//!
//! Promise: the state is the fold of the account's events up to the place that was asked for, by the folds that make the
//! views, so that it is what the views showed there. Marks along a long history are a shortcut and nothing else: without
//! one it takes longer, and a mark that cannot be read is passed over. With them it takes some hundred events.
//!
//! Not here: SQL, HTTP, other accounts.

mod keeper;
mod state;
mod steps;

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use keyledger_events::{AccountId, DecodeError, Position, Recorded, Seq, Timestamp};
use keyledger_projections::FoldError;

pub use keeper::{MarkKeeper, keep_marks};
pub use state::{AccountState, BalanceThen};
pub use steps::{Change, Step, changes};

use crate::log::{Log, ReadError, ReplayMark, Stored};

/// When to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// After the event at this position, and all before it.
    Position(Position),
    /// At this moment, what happened at it included.
    Moment(Timestamp),
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error("the event at {position} cannot be read: {error}")]
    Event { position: Position, error: DecodeError },
    #[error(transparent)]
    Fold(#[from] FoldError),
    #[error("a state cannot be written down: {0}")]
    Unwritten(#[from] std::io::Error),
}

/// Events read at once.
const PAGE: u32 = 1_000;
/// A mark stands after so many events at least.
const EVENTS_A_MARK: u64 = 1_000;
/// And after more where the state is large, so that marks never take more than this many bytes for each event.
const MARK_BYTES_AN_EVENT: u64 = 64;

/// An account as it was. `None`: it was not open yet, or there is no such account.
pub async fn state_at(log: &Log, account: AccountId, as_of: AsOf) -> Result<Option<AccountState>, ReplayError> {
    let last = match as_of {
        AsOf::Position(position) => log.seq_at_position(account, position).await?,
        AsOf::Moment(moment) => log.seq_at_moment(account, moment).await?,
    };
    let Some(last) = last else { return Ok(None) };
    let state = replayed(log, account, last, Marks::Left).await?;
    Ok(state.filter(|state| state.seq > Seq::START))
}

/// Whether a replay leaves marks for those that come after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    Left,
    /// Neither left nor used: the fold alone.
    Ignored,
}

/// An account after one of its events, from the nearest mark on.
pub async fn replayed(
    log: &Log,
    account: AccountId,
    last: Seq,
    marks: Marks,
) -> Result<Option<AccountState>, ReplayError> {
    let mut state = AccountState::nobody(account);
    if marks == Marks::Left
        && let Some(mark) = log.replay_mark(account, last).await?
    {
        match unpacked(&mark.state) {
            Ok(marked) if marked.account() == account && marked.seq == mark.seq => state = marked,
            Ok(_) | Err(_) => tracing::warn!(%account, seq = %mark.seq, "a mark cannot be read; reading the events"),
        }
    }
    let mut trail = Trail {
        last: state.seq,
        stride: EVENTS_A_MARK,
    };
    while state.seq < last {
        let wanted = u32::try_from(last.0 - state.seq.0).map_or(PAGE, |left| left.min(PAGE));
        let page = log.account_events(account, state.seq, wanted).await?;
        let mut events: Vec<Recorded> = page.iter().map(decoded).collect::<Result<_, _>>()?;
        log.open(&mut events).await?;
        if events.is_empty() {
            return Ok(None);
        }
        state.fold_all(&events)?;
        // After whole pages alone, so that whoever comes along leaves the same ones, and not one for each place looked at.
        if marks == Marks::Left && wanted == PAGE {
            trail.mark(log, &state).await?;
        }
    }
    Ok(Some(state))
}

/// The marks that one replay leaves.
struct Trail {
    /// The place of the last one.
    last: Seq,
    /// Events to the next one. A state whose size has to be learned again at each page would cost more than its events.
    stride: u64,
}

impl Trail {
    /// Leaves a mark, where it is time for one and the state is not too large for it yet.
    async fn mark(&mut self, log: &Log, state: &AccountState) -> Result<(), ReplayError> {
        let since = state.seq.0 - self.last.0;
        if since < self.stride {
            return Ok(());
        }
        let bytes = packed(state)?;
        self.stride = u64::try_from(bytes.len())
            .unwrap_or(u64::MAX)
            .div_ceil(MARK_BYTES_AN_EVENT)
            .max(EVENTS_A_MARK);
        if since < self.stride {
            return Ok(());
        }
        let mark = ReplayMark {
            seq: state.seq,
            state: bytes,
        };
        if let Err(error) = log.keep_replay_mark(state.account(), &mark).await {
            tracing::warn!(%error, account = %state.account(), "a mark for replays was not kept");
        }
        self.last = state.seq;
        Ok(())
    }
}

/// A state as a mark keeps it: JSON, deflated, since the rows of keys are much alike.
fn packed(state: &AccountState) -> std::io::Result<Vec<u8>> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&serde_json::to_vec(state)?)?;
    packed.finish()
}

fn unpacked(bytes: &[u8]) -> std::io::Result<AccountState> {
    let mut text = Vec::new();
    ZlibDecoder::new(bytes).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn decoded(stored: &Stored) -> Result<Recorded, ReplayError> {
    stored.decode().map_err(|error| ReplayError::Event {
        position: stored.position,
        error,
    })
}
