//! Waiting until a view has folded a position, so that anybody can read their own write.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyledger_events::Position;
use tokio::time::Instant;

use super::{Columns as _, ViewError, Views};

/// A view, by the name of its checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewName {
    KeyList,
    Balance,
    Charges,
    Reservations,
    Usage,
}

impl ViewName {
    const fn as_str(self) -> &'static str {
        match self {
            ViewName::KeyList => "key_list",
            ViewName::Balance => "balance",
            ViewName::Charges => "charges",
            ViewName::Reservations => "reservations",
            ViewName::Usage => "usage",
        }
    }
}

/// How far each view was when it was last asked: it does not go back, so whoever waits for less need not ask.
#[derive(Debug, Default)]
pub(super) struct Reached([AtomicU64; 5]);

impl Reached {
    fn of(&self, view: ViewName) -> &AtomicU64 {
        let [key_list, balance, charges, reservations, usage] = &self.0;
        match view {
            ViewName::KeyList => key_list,
            ViewName::Balance => balance,
            ViewName::Charges => charges,
            ViewName::Reservations => reservations,
            ViewName::Usage => usage,
        }
    }
}

/// The view did not get there in time.
#[derive(Debug, thiserror::Error)]
pub enum ViewBehind {
    #[error("the view stands at {at}, not yet at {wanted}")]
    Behind { at: Position, wanted: Position },
    #[error(transparent)]
    View(#[from] ViewError),
}

const LOOK_AGAIN_MIN: Duration = Duration::from_millis(2);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(25);

impl Views {
    /// How far a view is.
    pub async fn checkpoint(&self, view: ViewName) -> Result<Position, ViewError> {
        let row = sqlx::query("select position from views.checkpoints where projection = $1 and shard = $2")
            .bind(view.as_str())
            .bind(self.shard_column())
            .fetch_one(&self.pool)
            .await?;
        row.position("position")
    }

    async fn checkpoint_with_balance(&self, view: ViewName) -> Result<Position, ViewError> {
        let row = sqlx::query(
            "select min(position) as position from views.checkpoints
             where projection in ($1, 'balance') and shard = $2",
        )
        .bind(view.as_str())
        .bind(self.shard_column())
        .fetch_one(&self.pool)
        .await?;
        row.position("position")
    }

    /// Waits until a view is at a position or further, at most this long, and the balance with it: whether an account
    /// exists is the balance's to say, for every view.
    pub async fn wait_for(&self, view: ViewName, wanted: Position, limit: Duration) -> Result<(), ViewBehind> {
        let reached = self.reached.of(view);
        if reached.load(Ordering::Relaxed) >= wanted.0 {
            return Ok(());
        }
        let give_up_at = Instant::now() + limit;
        let mut pause = LOOK_AGAIN_MIN;
        loop {
            let at = self.checkpoint_with_balance(view).await?;
            reached.fetch_max(at.0, Ordering::Relaxed);
            if at >= wanted {
                return Ok(());
            }
            if Instant::now() + pause > give_up_at {
                return Err(ViewBehind::Behind { at, wanted });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_AGAIN_MAX);
        }
    }
}
