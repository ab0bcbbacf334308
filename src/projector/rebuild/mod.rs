//! Folding views again from the first event, beside those that are read: blue/green.
//!
//! In: the log, read and decoded once for all views that are rebuilt. Out: rows in schema `views_next`, which take the
//! place of those in `views` when they are level.
//!
//! Promise: queries see the old rows or the new ones, never half of them, and the live projector goes on until the
//! moment of the exchange, which is one SQL transaction a view. Killed in the middle, nothing has changed; the next rebuild
//! clears away what was left. Two at once: the later one goes on, the earlier one ends and says so. A view that cannot be
//! rebuilt keeps nothing from the others.
//!
//! The exchange writes only the rows that differ. Tables that others built SQL views on stay the same tables, and a
//! rebuild that finds nothing wrong changes nothing and says that too.

mod check;
mod next;
mod pass;

use keyledger_events::Position;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::tables::{Balance, Charges, KeyList, Notices, Reservations, Table, Usage, WriteError};
use super::view::View;
use crate::log::ReadError;
pub use check::{Checked, Difference, check_views};
use next::Next;
use pass::{PAGES_WAITING_MAX, Page, Pass};

/// Why a view was not rebuilt. It is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("the database cannot be reached: {0}")]
    Unreachable(#[from] sqlx::Error),
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error("event {position} cannot be folded: {why}")]
    DoesNotFit { position: Position, why: String },
    #[error("the rows up to event {position} do not fit: {why}")]
    RowsDoNotFit { position: Position, why: String },
    #[error("{view} has no checkpoint; run `keyledger migrate`")]
    NoCheckpoint { view: View },
    #[error("another rebuild of {view} has begun")]
    Superseded { view: View },
    #[error("the rebuild was cut short")]
    CutShort,
}

/// What a rebuild did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// Events folded, over all shards.
    pub events: u64,
    /// Rows that were removed or added because they differed from the log. None: the view was right.
    pub rows_changed: u64,
}

/// How it ended for each view.
pub type Outcomes<O> = Vec<(View, Result<O, RebuildError>)>;

/// What becomes of rows that were folded again.
trait Ending: 'static {
    type Outcome: Send + 'static;
    /// Whether the live view's place, at the beginning, is as far as the log is folded in one go.
    const STOPS_AT_LIVE: bool;

    fn end<T: Table>(next: Next<T>) -> impl Future<Output = Result<Self::Outcome, RebuildError>> + Send;
}

/// They take the place of the live ones.
struct TakeOver;

impl Ending for TakeOver {
    type Outcome = Rebuilt;
    const STOPS_AT_LIVE: bool = false;

    async fn end<T: Table>(next: Next<T>) -> Result<Rebuilt, RebuildError> {
        next.take_over().await
    }
}

/// Connections that read the log: one for the pass, one for the views that draw level.
const LOG_CONNECTIONS: u32 = 2;

/// Rebuilds a view, as the database's owner. Tells after every page how many events are read and how many there are.
pub async fn rebuild(
    database_url: &str,
    view: View,
    progress: impl FnMut(u64, u64) + Send,
) -> Result<Rebuilt, RebuildError> {
    let mut outcomes = rebuild_views(database_url, &[view], progress).await?;
    outcomes
        .pop()
        .map_or(Err(RebuildError::CutShort), |(_, outcome)| outcome)
}

/// Rebuilds views side by side in one pass over the log. An error is one that ended all of them.
pub async fn rebuild_views(
    database_url: &str,
    views: &[View],
    progress: impl FnMut(u64, u64) + Send,
) -> Result<Outcomes<Rebuilt>, RebuildError> {
    fold_again::<TakeOver>(database_url, views, progress).await
}

async fn fold_again<E: Ending>(
    database_url: &str,
    views: &[View],
    progress: impl FnMut(u64, u64) + Send,
) -> Result<Outcomes<E::Outcome>, RebuildError> {
    // A pool would go on trying for half a minute where there is no server.
    PgConnection::connect(database_url).await?.close().await?;
    let log_pool = PgPoolOptions::new()
        .max_connections(LOG_CONNECTIONS)
        .connect(database_url)
        .await?;
    let mut pass = Pass::over(log_pool.clone(), views).await?;
    // Tasks end with this set: when this future is dropped, their connections close, and Postgres rolls back.
    let mut building = JoinSet::new();
    let (begun, mut all_begun) = mpsc::channel(1);
    for view in views {
        let (send, pages) = mpsc::channel(PAGES_WAITING_MAX);
        pass.hand_to(send);
        let build = Build {
            database_url: database_url.to_owned(),
            log_pool: log_pool.clone(),
            begun: begun.clone(),
            pages,
        };
        match view {
            View::KeyList => build.spawn::<KeyList, E>(&mut building),
            View::Balance => build.spawn::<Balance, E>(&mut building),
            View::Charges => build.spawn::<Charges, E>(&mut building),
            View::Reservations => build.spawn::<Reservations, E>(&mut building),
            View::Usage => build.spawn::<Usage, E>(&mut building),
            View::Notices => build.spawn::<Notices, E>(&mut building),
        }
    }
    // Nobody ever sends: it ends when the last of them has let go. From here on a later rebuild comes after this one.
    drop(begun);
    all_begun.recv().await;
    // An error here ends the tasks before they could take a pass that was cut short for a whole one.
    pass.run(progress).await?;
    drop(pass);
    let mut outcomes = Vec::new();
    while let Some(ended) = building.join_next().await {
        outcomes.push(ended.map_err(|_| RebuildError::CutShort)?);
    }
    Ok(outcomes)
}

/// What one view's rebuild is given.
struct Build {
    database_url: String,
    log_pool: PgPool,
    /// Let go of when this view's tables are made.
    begun: mpsc::Sender<()>,
    pages: mpsc::Receiver<Page>,
}

impl Build {
    fn spawn<T: Table, E: Ending>(self, building: &mut JoinSet<(View, Result<E::Outcome, RebuildError>)>) {
        building.spawn(async move { (T::VIEW, self.build::<T, E>().await) });
    }

    async fn build<T: Table, E: Ending>(mut self) -> Result<E::Outcome, RebuildError> {
        let mut next = Next::<T>::begin(&self.database_url, self.log_pool).await?;
        if E::STOPS_AT_LIVE {
            next.stop_at_live().await?;
        }
        drop(self.begun);
        while let Some(page) = self.pages.recv().await {
            next.fold(page.shard, &page.events)?;
            next.write_when_large().await?;
        }
        E::end(next).await
    }
}

fn rows_do_not_fit(position: Position, error: WriteError) -> RebuildError {
    match error {
        WriteError::Database(error) => RebuildError::Unreachable(error),
        WriteError::DoesNotFit(why) => RebuildError::RowsDoNotFit { position, why },
    }
}
