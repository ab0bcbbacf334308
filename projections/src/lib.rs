//! Pure folds from events to the rows of the views.
//!
//! In: the next events of one shard, in order. Out: what changes in the rows, gathered, so that a hundred uses of a key
//! are one change of one row.
//!
//! Promise: folding a log in any batches gives the same rows.
//!
//! Not here: SQL, checkpoints, and every rule about what may happen.

mod account_traits;
mod balance;
mod charges;
mod key_list;
#[cfg(test)]
mod laws;
mod notices;
mod plans;
mod reservations;
mod statement;
mod usage;

pub use account_traits::AccountTraits;
pub use balance::{AccountChange, AccountRow, BalanceChanges, BalanceRows, GrantChange, GrantRow};
pub use charges::{ChargeRow, ChargesChanges, ChargesRows};
pub use key_list::{Denied, KeyChange, KeyListChanges, KeyListRows, KeyRow};
pub use notices::{Notice, NoticeRow, NoticesChanges, NoticesRows};
pub use plans::{PlanChange, PlanRow};
pub use reservations::{ReservationRow, ReservationsChanges, ReservationsRows};
pub use statement::{Charged, Day, Granted, Moved, Movement, Refunded, Spent, Sums, Tally};
pub use usage::{NETWORKS_A_KEY_MAX, Networks, Released, UsageChanges, UsageId, UsageRows, UsageSums};

use keyledger_events::{Position, Recorded};

/// An event that does not fit the rows: the log is wrong, or this program is. The projection stops here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {position} cannot be folded: {why}")]
pub struct FoldError {
    pub position: Position,
    pub why: &'static str,
}

/// What a batch of events changes in one view.
pub trait Changes: Default {
    /// Folds the next event into the changes so far.
    fn fold(&mut self, recorded: &Recorded) -> Result<(), FoldError>;

    /// How many rows change, those of a list within a row not counted: what a batch costs to keep and to write.
    fn rows(&self) -> usize;
}

/// The rows of one view in memory: what Postgres holds, for proofs that it does.
pub trait Rows: Default {
    type Changes: Changes;

    /// Makes the changes. Errors where the SQL of the projector would match no row.
    fn apply(&mut self, changes: Self::Changes) -> Result<(), &'static str>;
}

/// Folds a whole log into rows.
pub fn replay<R: Rows>(events: &[Recorded]) -> Result<R, FoldError> {
    let mut rows = R::default();
    for recorded in events {
        let mut changes = R::Changes::default();
        changes.fold(recorded)?;
        rows.apply(changes).map_err(|why| FoldError {
            position: recorded.position,
            why,
        })?;
    }
    Ok(rows)
}

/// Adds to a sum of micro-credits or a count.
fn add(sum: &mut i64, amount: i64, at: Position) -> Result<(), FoldError> {
    *sum = sum.checked_add(amount).ok_or(FoldError {
        position: at,
        why: "a sum leaves its bounds",
    })?;
    Ok(())
}
