//! A round on its way: sent to the log, the log's answer still to come. Meanwhile the next round is decided on top of it.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::account::Account;
use super::round::Round;
use crate::log::{AppendError, Batch, Head, Log};

/// Completes when it is known whether the round's answers are true.
pub(super) struct Flight {
    pub round: Round,
    /// Copies of accounts whose snapshot is due, as this round leaves them.
    pub snapshots: Vec<Account>,
    proof: BoxFuture<'static, Result<Head, Disproof>>,
}

/// Why a round's answers are not true, or not known to be.
#[derive(Debug)]
pub(super) enum Disproof {
    /// Somebody else has appended. Nothing of the round was written.
    Behind,
    /// The log could not be reached. Nothing of the round was written.
    NotWritten(Box<dyn std::error::Error + Send + Sync>),
    /// The round may be in the log.
    Unknown(Box<dyn std::error::Error + Send + Sync>),
}

impl Flight {
    /// Sends the round before it returns, if the connection takes it.
    pub(super) fn start(log: Log, mut round: Round, snapshots: Vec<Account>) -> Flight {
        let batch = std::mem::take(&mut round.batch);
        let (base, tail) = (round.base, round.tail);
        let mut proof = async move { prove(&log, &batch, base, tail).await }.boxed();
        if let Some(proven) = (&mut proof).now_or_never() {
            proof = std::future::ready(proven).boxed();
        }
        Flight {
            round,
            snapshots,
            proof,
        }
    }
}

/// Waits for the log's word on the round, which stays inside.
impl Future for Flight {
    type Output = Result<Head, Disproof>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.proof.poll_unpin(context)
    }
}

/// Appends the batch. Without one, the answers are true if nobody has appended since they were decided.
async fn prove(log: &Log, batch: &Batch, base: Head, tail: Head) -> Result<Head, Disproof> {
    if batch.is_empty() {
        let seen = log.head().await;
        log.leave_turn().await;
        return match seen {
            Ok(now) if now.position == base.position => Ok(now),
            Ok(_) => Err(Disproof::Behind),
            Err(error) => Err(Disproof::NotWritten(error.into())),
        };
    }
    match log.append(batch).await {
        Ok(()) => Ok(tail),
        Err(AppendError::Behind { .. }) => Err(Disproof::Behind),
        Err(error @ AppendError::NotWritten(_)) => Err(Disproof::NotWritten(error.into())),
        Err(error @ AppendError::Unknown(_)) => Err(Disproof::Unknown(error.into())),
    }
}
