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

use keyledger_events::{AccountId, DecodeError, Position, Recorded, Seq, Timestamp};
use keyledger_projections::FoldError;

pub use keeper::keep_marks;
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
    Unwritten(#[from] serde_json::Error),
}

/// Events read at once.
const PAGE: u32 = 1_000;
/// A mark stands after so many events at least.
const EVENTS_A_MARK: u64 = 1_000;
/// And after more where the state is large, so that marks never take more than this many bytes for each event.
const MARK_BYTES_AN_EVENT: u64 = 16;

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
        match serde_json::from_slice::<AccountState>(&mark.state) {
            Ok(marked) if marked.account() == account && marked.seq == mark.seq => state = marked,
            Ok(_) | Err(_) => tracing::warn!(%account, seq = %mark.seq, "a mark cannot be read; reading the events"),
        }
    }
    let mut marked = state.seq;
    while state.seq < last {
        let page = log.account_events(account, state.seq, PAGE).await?;
        let wanted = usize::try_from(last.0 - state.seq.0).unwrap_or(usize::MAX);
        let mut events: Vec<Recorded> = page.iter().take(wanted).map(decoded).collect::<Result<_, _>>()?;
        log.open(&mut events).await?;
        if events.is_empty() {
            return Ok(None);
        }
        state.fold_all(&events)?;
        if marks == Marks::Left && state.seq.0 - marked.0 >= EVENTS_A_MARK {
            marked = leave_mark(log, &state, marked).await?;
        }
    }
    Ok(Some(state))
}

/// Leaves a mark, where the state is not too large for one yet. Gives the place of the last mark.
async fn leave_mark(log: &Log, state: &AccountState, marked: Seq) -> Result<Seq, ReplayError> {
    let bytes = serde_json::to_vec(state)?;
    let since = state.seq.0 - marked.0;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > since.saturating_mul(MARK_BYTES_AN_EVENT) {
        return Ok(marked);
    }
    let mark = ReplayMark {
        seq: state.seq,
        state: bytes,
    };
    if let Err(error) = log.keep_replay_mark(state.account(), &mark).await {
        tracing::warn!(%error, account = %state.account(), "a mark for replays was not kept");
    }
    Ok(state.seq)
}

fn decoded(stored: &Stored) -> Result<Recorded, ReplayError> {
    stored.decode().map_err(|error| ReplayError::Event {
        position: stored.position,
        error,
    })
}
