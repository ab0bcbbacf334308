//! The events of an export, cut where tiles end.

use std::collections::VecDeque;

use futures_util::Stream;
use futures_util::stream::try_unfold;
use keyledger_events::Position;

use super::super::file::{Scope, TILE};
use super::ExportError;
use crate::log::{Log, Stored};

/// Events of one tile.
#[derive(Debug)]
pub(super) struct Group {
    pub tile: u64,
    pub events: Vec<Stored>,
}

/// Events read at once: some tiles.
const PAGE: u32 = 2_048;

struct Reading {
    log: Log,
    scope: Scope,
    after: u64,
    last: u64,
    ahead: VecDeque<Stored>,
    over: bool,
}

/// The scope's events after a position up to another one. Nothing is said of positions that have none.
pub(super) fn groups(
    log: Log,
    scope: Scope,
    after: u64,
    last: u64,
) -> impl Stream<Item = Result<Group, ExportError>> + Send {
    let reading = Reading {
        log,
        scope,
        after,
        last,
        ahead: VecDeque::new(),
        over: after >= last,
    };
    try_unfold(reading, async |mut reading| {
        let group = reading.next().await?;
        Ok(group.map(|group| (group, reading)))
    })
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Group>, ExportError> {
        let mut events = Vec::new();
        let mut tile = None;
        loop {
            if self.ahead.is_empty() && !self.over {
                self.read().await?;
            }
            let Some(next) = self.ahead.front() else { break };
            let of = (next.position.0 - 1) / TILE;
            if *tile.get_or_insert(of) != of {
                break;
            }
            events.extend(self.ahead.pop_front());
        }
        Ok(tile.map(|tile| Group { tile, events }))
    }

    async fn read(&mut self) -> Result<(), ExportError> {
        let after = Position(self.after);
        let page = match self.scope {
            Scope::Shard { .. } => self.log.read(after, PAGE).await?,
            Scope::Account { account } => self.log.account_events_after(account, after, PAGE).await?,
            Scope::Key { account, key } => self.log.key_events(account, key, after, PAGE).await?,
        };
        // A shard's page ends at a position, and has fewer events where some are missing.
        let seen = match self.scope {
            Scope::Shard { .. } => self.after.saturating_add(u64::from(PAGE)),
            Scope::Account { .. } | Scope::Key { .. } => page.last().map_or(self.last, |event| event.position.0),
        };
        self.over = seen >= self.last;
        self.after = seen;
        let wanted = page.into_iter().filter(|event| event.position.0 <= self.last);
        self.ahead.extend(wanted);
        Ok(())
    }
}
