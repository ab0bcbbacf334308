//! The projector: folds the log into the views, each projection by itself.
//!
//! In: events from the bus, and from the log whenever the bus has a gap, is silent or is down; heard and decoded once for
//! all projections. Out: rows, with the checkpoint beside them.
//!
//! Promise: rows and checkpoint change in one SQL transaction, which only succeeds if the checkpoint stands where the
//! fold began; so a crash, a duplicate or a second projector can lose work but cannot fold an event twice or skip one.
//! An event that cannot be folded stops its projection there, loudly.
//!
//! Not here: rules, and what the rows mean: that is the fold's.

mod feed;
mod halts;
mod rebuild;
mod source;
mod tables;
mod view;
mod worker;

use keyledger_events::{Position, Shard, Timestamp};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use rebuild::{Checked, Difference, RebuildError, Rebuilt, check_views, rebuild, rebuild_views};
pub use view::View;

use crate::bus::Bus;
use crate::log::Log;
use feed::Feed;
use source::Source;
use tables::{Balance, Charges, KeyList, Notices, Reservations, Usage};
use worker::Worker;

/// What a projector needs.
#[derive(Debug)]
pub struct ProjectorOptions {
    pub log: Log,
    /// Where the views are: a pool of the service's role.
    pub pool: PgPool,
    /// Without a bus it only hears later, by looking at the log.
    pub bus: Option<Bus>,
}

/// How one projection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectionStatus {
    pub view: View,
    pub checkpoint: Position,
    /// Time of the last event folded.
    pub recorded_at: Timestamp,
    /// Why it stopped, and at which position.
    pub halted: Option<String>,
}

/// A running projector. It ends with the token that it was started with.
#[derive(Debug, Clone)]
pub struct ProjectorHandle {
    projections: Vec<watch::Receiver<ProjectionStatus>>,
}

impl ProjectorHandle {
    pub fn status(&self) -> Vec<ProjectionStatus> {
        self.projections.iter().map(|status| status.borrow().clone()).collect()
    }
}

/// The projector's own name for its parts.
#[derive(Debug)]
pub struct Projector;

impl Projector {
    /// Starts a worker for each projection.
    pub fn start(options: ProjectorOptions, stop: CancellationToken) -> ProjectorHandle {
        let ProjectorOptions { log, pool, bus } = options;
        let feed = Feed::start(log.clone(), Source::new(log.clone(), bus), stop.clone());
        let start = Start {
            shard: log.shard(),
            pool,
            feed,
            stop,
        };
        let projections = vec![
            start.one::<KeyList>(),
            start.one::<Balance>(),
            start.one::<Charges>(),
            start.one::<Reservations>(),
            start.one::<Usage>(),
            start.one::<Notices>(),
        ];
        ProjectorHandle { projections }
    }
}

/// What every worker is given.
struct Start {
    pool: PgPool,
    shard: Shard,
    feed: Feed,
    stop: CancellationToken,
}

impl Start {
    fn one<T: tables::Table>(&self) -> watch::Receiver<ProjectionStatus> {
        let (tell, status) = watch::channel(ProjectionStatus {
            view: T::VIEW,
            checkpoint: Position::START,
            recorded_at: Timestamp::EPOCH,
            halted: None,
        });
        let worker = Worker::<T>::new(self.pool.clone(), self.shard, self.feed.clone(), tell);
        tokio::spawn(worker.run(self.stop.clone()));
        status
    }
}
